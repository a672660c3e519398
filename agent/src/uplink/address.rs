//! The scorer's address.
//!
//! In: text. Out: an [`Endpoint`], not connected. Never: resolves a name.

use tonic::transport::Endpoint;

/// The text is not the address of a scorer.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no address of a scorer: give http://HOST:PORT")]
pub struct BadAddress(String);

/// Parses it: plain HTTP, with a host.
pub fn check(scorer: &str) -> Result<Endpoint, BadAddress> {
    let bad = || BadAddress(scorer.to_owned());
    let endpoint = Endpoint::from_shared(scorer.to_owned()).map_err(|_not_a_uri| bad())?;
    let uri = endpoint.uri();
    if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
        return Err(bad());
    }
    Ok(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (scorer, good) in [
            ("http://127.0.0.1:7676", true),
            ("http://scorer.surprisal.svc:7676", true),
            ("http://[::1]:7676", true),
            ("127.0.0.1:7676", false),
            ("https://scorer:7676", false),
            ("http://", false),
            ("", false),
            ("not an address", false),
        ] {
            assert_eq!(check(scorer).is_ok(), good, "{scorer:?}");
        }
    }
}
