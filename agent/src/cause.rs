//! An error and its causes, as text.
//!
//! In: an error. Out: one line. Never: writes it anywhere.

use std::error::Error;

/// An error and all that caused it, in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Some foreign errors repeat their source.
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn the_whole_chain_once() {
        let inner = Layer("no space", None);
        let repeated = Layer("cannot write: no space", Some(Box::new(inner)));
        assert_eq!(chain(&Layer("recording", Some(Box::new(repeated)))), "recording: cannot write: no space");
    }
}
