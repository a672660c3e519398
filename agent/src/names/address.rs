//! A `struct sockaddr` in words.
//!
//! In: its bytes, as the call was given them. Out: an address that people read. Pure.
//!
//! Layouts: `include/uapi/linux/in.h`, `in6.h` and `un.h`.

use super::{secret, text};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// In words; `None`: another family, too short, or a socket without a name.
pub(super) fn read(bytes: &[u8]) -> Option<String> {
    let (family, rest) = bytes.split_first_chunk::<2>()?;
    match u16::from_ne_bytes(*family) {
        1 => unix(rest),
        2 => {
            let (port, rest) = rest.split_first_chunk::<2>()?;
            let address = Ipv4Addr::from(*rest.first_chunk::<4>()?);
            Some(SocketAddr::new(IpAddr::V4(address), u16::from_be_bytes(*port)).to_string())
        }
        10 => {
            let (port, rest) = rest.split_first_chunk::<2>()?;
            let address = Ipv6Addr::from(*rest.get(4..)?.first_chunk::<16>()?);
            // An IPv4 peer of a socket that speaks both is that peer.
            Some(SocketAddr::new(address.to_canonical(), u16::from_be_bytes(*port)).to_string())
        }
        _ => None,
    }
}

fn unix(path: &[u8]) -> Option<String> {
    let until_zero = |bytes: &[u8]| bytes.split(|b| *b == 0).next().unwrap_or_default().to_vec();
    let name = match path {
        [] | [0] => return None,
        // An abstract one, whose zeros are part of it; those at its end are mostly the padding of a fixed size.
        [0, name @ ..] => {
            let end = name.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
            format!("@{}", text::escape(&name[..end]))
        }
        path => text::escape(&until_zero(path)),
    };
    Some(format!("unix:{}", secret::hide(&name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let family = |n: u16| n.to_ne_bytes().to_vec();
        let v4 = |port: u16, address: [u8; 4]| [family(2), port.to_be_bytes().to_vec(), address.to_vec(), vec![0; 8]].concat();
        let v6 = |port: u16, address: Ipv6Addr| {
            [family(10), port.to_be_bytes().to_vec(), vec![0; 4], address.octets().to_vec(), vec![0; 4]].concat()
        };
        let unix = |path: &[u8]| [family(1), path.to_vec()].concat();
        for (bytes, expect) in [
            (v4(4444, [10, 0, 3, 7]), Some("10.0.3.7:4444")),
            (v4(0, [0, 0, 0, 0]), Some("0.0.0.0:0")),
            (v6(53, Ipv6Addr::LOCALHOST), Some("[::1]:53")),
            (v6(80, Ipv4Addr::new(1, 2, 3, 4).to_ipv6_mapped()), Some("1.2.3.4:80")),
            (unix(b"/run/docker.sock\0garbage"), Some("unix:/run/docker.sock")),
            (unix(b"/run/\x1b\n"), Some("unix:/run/\\x1b\\n")),
            (unix(b"\0bus\0\0\0"), Some("unix:@bus")),
            (unix(&[b'x'; 108]), Some(format!("unix:{}", "x".repeat(108)).leak())),
            (unix(b""), None),
            (unix(b"\0"), None),
            (family(16), None),
            (v4(1, [1, 2, 3, 4])[..6].to_vec(), None),
            (v6(1, Ipv6Addr::LOCALHOST)[..20].to_vec(), None),
            (vec![2], None),
        ] {
            assert_eq!(read(&bytes).as_deref(), expect, "{bytes:?}");
        }
    }
}
