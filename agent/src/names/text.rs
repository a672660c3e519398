//! Bytes that anybody chose, as text that harms nobody.
//!
//! In: bytes. Out: text without control characters, from which the bytes can be told. Pure.

use std::fmt::Write as _;

/// UTF-8 as it is, but for control characters (`\n`, `\x1b`, `\u{202e}`), backslashes and what is not UTF-8 (`\xff`).
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                // As a byte where it is one: at most four characters for each byte.
                c if c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\r') => {
                    let _infallible = write!(text, "\\x{:02x}", c as u32);
                }
                c if c.is_control() || turns_text(c) => text.extend(c.escape_default()),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _infallible = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Characters that change how the text around them is shown: bidirectional controls, and line ends of Unicode.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_harmless_stays_and_the_rest_is_escaped() {
        for (bytes, expect) in [
            (&b"/etc/passwd"[..], "/etc/passwd"),
            ("/tmp/ü–x".as_bytes(), "/tmp/ü–x"),
            (b"/tmp/a\nb\x1b[31m", "/tmp/a\\nb\\x1b[31m"),
            (b"/tmp/\xff\xfe", "/tmp/\\xff\\xfe"),
            (b"a\\n", "a\\\\n"),
            ("/tmp/\u{202e}txt.exe".as_bytes(), "/tmp/\\u{202e}txt.exe"),
            (b"", ""),
        ] {
            assert_eq!(escape(bytes), expect);
        }
    }
}
