use super::*;
use proptest::prelude::*;

fn raw(call: &str, text: &[u8], argv0: &[u8]) -> Raw {
    let token = names::parse(call).expect("a call").0;
    Raw { token, text: text.to_vec(), argv0: argv0.to_vec(), address: false, truncated: false, late: false }
}

#[test]
fn names_in_words() {
    for (raw, text, argv0, relative) in [
        (raw("execve", b"/bin/bash", b"bash"), "/bin/bash", "", false),
        (raw("execve", b"/bin/bash", b"/usr/bin/bash"), "/bin/bash", "", false),
        (raw("execve", b"/bin/busybox", b"sh"), "/bin/busybox", "sh", false),
        (raw("execve", b"/bin/x", b"[kworker/0:1]"), "/bin/x", "[kworker/0:1]", false),
        (raw("openat:1", b"conf/x", b""), "conf/x", "", true),
        (raw("openat:1", b"../../etc/shadow", b""), "../../etc/shadow", "", true),
        (raw("memfd_create:1", b"x", b""), "memfd:x", "", false),
    ] {
        let name = raw.read().expect("a name");
        assert_eq!((name.text.as_str(), name.argv0.as_str(), name.relative), (text, argv0, relative));
    }
    assert_eq!(raw("openat:1", b"", b"").read(), None);
    let address = Raw { address: true, ..raw("connect", b"\x02\0\x11\x5c\x0a\0\x03\x07", b"") };
    assert_eq!(address.read().expect("a name").text, "10.0.3.7:4444");
}

proptest! {
    /// Whatever a container writes: bounded, and nothing that steers a terminal.
    #[test]
    fn any_bytes_are_harmless(
        text in prop::collection::vec(any::<u8>(), 0..256),
        argv0 in prop::collection::vec(any::<u8>(), 0..64),
        token: u16,
        address: bool,
        truncated: bool,
    ) {
        if let Some(name) = (Raw { token, text, argv0, address, truncated, late: false }).read() {
            prop_assert!(!name.text.is_empty() && name.text.len() <= TEXT_MAX && name.argv0.len() <= 256);
            prop_assert!(!name.text.chars().chain(name.argv0.chars()).any(char::is_control));
        }
    }
}
