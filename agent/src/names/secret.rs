//! What looks like a secret is not told.
//!
//! In: text. Out: the same, with "…" for values in a query string, and for long runs of what nobody spells: 32 or more hexadecimal digits,
//! 40 or more of base64 with digits and both cases. Pure.
//!
//! Container ids, hashes and build ids go with them, which also makes names of such files equal.

/// Hexadecimal digits in a row that are a secret: those of a 128-bit key.
const HEX: usize = 32;
/// Characters of base64 in a row that are one: those of 240 bits.
const BASE64: usize = 40;
/// What stands for one.
const HIDDEN: char = '…';

/// Without secrets.
pub(super) fn hide(text: &str) -> String {
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let mut hidden = runs(path);
    if let Some(query) = query {
        hidden.push('?');
        for (n, pair) in query.split('&').enumerate() {
            if n > 0 {
                hidden.push('&');
            }
            match pair.split_once('=') {
                Some((name, value)) if !value.is_empty() => hidden.extend([&runs(name), "=", &HIDDEN.to_string()]),
                _ => hidden.push_str(&runs(pair)),
            }
        }
    }
    hidden
}

/// Without long random runs.
fn runs(text: &str) -> String {
    let mut hidden = String::with_capacity(text.len());
    let in_a_run = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '_' | '-' | '=');
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !in_a_run(c)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        if is_secret(run) {
            hidden.push(HIDDEN);
        } else {
            hidden.push_str(run);
        }
        let next = after.find(in_a_run).unwrap_or(after.len());
        let (between, after) = after.split_at(next);
        hidden.push_str(between);
        rest = after;
    }
    hidden
}

fn is_secret(run: &str) -> bool {
    let longest_hex = run.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max().unwrap_or(0);
    let has = |is: fn(&u8) -> bool| run.as_bytes().iter().any(is);
    longest_hex >= HEX
        || run.len() >= BASE64 && has(u8::is_ascii_digit) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets() {
        let hex = "0123456789abcdef".repeat(2);
        let base64 = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY3ODkw";
        for (text, expect) in [
            ("/etc/passwd".to_owned(), "/etc/passwd"),
            (format!("/var/lib/x/{hex}/y"), "/var/lib/x/…/y"),
            (format!("/run/cri-containerd-{hex}{hex}.scope"), "/run/….scope"),
            (format!("/s/{base64}=="), "/s/…"),
            (
                format!("/s/{}", "a-long-name-of-words-that-somebody-spelled-out"),
                "/s/a-long-name-of-words-that-somebody-spelled-out",
            ),
            ("/x?token=abc&n=1&flag&empty=".to_owned(), "/x?token=…&n=…&flag&empty="),
            ("/lib/x86_64-linux-gnu/libcrypto.so.3".to_owned(), "/lib/x86_64-linux-gnu/libcrypto.so.3"),
            (String::new(), ""),
        ] {
            assert_eq!(hide(&text), expect, "{text}");
        }
    }
}
