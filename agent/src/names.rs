//! What a call was about, in words.
//!
//! In: the bytes that the kernel side read ([`Raw`]), of which a container chose every one. Out: a [`Name`] that can be printed, stored and
//! sent: escaped, bounded, without what looks like a secret. Pure. Never: looks at a file or at an address that is named.
//!
//! | module | in | out |
//! |---|---|---|
//! | `text` | bytes | text without control characters |
//! | `secret` | text | text in which long random parts and values of queries are "…" |
//! | `address` | a `struct sockaddr` | `10.0.0.3:4444`, `[::1]:53`, `unix:/run/x.sock` |

mod address;
mod secret;
mod text;

use surprisal_proto::{names, token::Token};

/// Bytes of a name's text, at most: nearly all that 256 bytes become when each is escaped.
pub const TEXT_MAX: usize = 1024;

/// A name as the kernel side told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// The call.
    pub token: u16,
    /// The bytes of a path, or of a `struct sockaddr`.
    pub text: Vec<u8>,
    /// What a program that runs calls itself.
    pub argv0: Vec<u8>,
    /// `text` is an address.
    pub address: bool,
    /// `text` goes on.
    pub truncated: bool,
    /// It was read at the thread's next call.
    pub late: bool,
}

/// What a call was about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name {
    /// A path, an address, a memfd's name. Never empty, no control characters, at most [`TEXT_MAX`] bytes.
    pub text: String,
    /// What a program calls itself, where that is not the last part of its path; else empty. At most 256 bytes.
    pub argv0: String,
    /// A path that does not begin at the root.
    pub relative: bool,
    /// It goes on.
    pub truncated: bool,
    /// It was read at the thread's next call: another thread may have changed it.
    pub late: bool,
}

impl Raw {
    /// In words. `None`: it names nothing (an empty path, an address of another family).
    pub fn read(&self) -> Option<Name> {
        if self.address {
            let text = address::read(&self.text)?;
            return Some(Name { text: cut(text), ..Name::default() });
        }
        if self.text.is_empty() {
            return None;
        }
        let path = text::escape(&self.text);
        let argv0 = text::escape(&self.argv0);
        let memfd = names::call(Token(self.token)) == "memfd_create";
        let says_the_same = path.rsplit('/').next() == argv0.rsplit('/').next();
        let whole = if memfd { format!("memfd:{}", secret::hide(&path)) } else { secret::hide(&path) };
        let text = cut(whole.clone());
        Some(Name {
            truncated: self.truncated || text != whole,
            text,
            argv0: if says_the_same { String::new() } else { secret::hide(&argv0) },
            late: self.late,
            relative: !memfd && !self.text.starts_with(b"/"),
        })
    }
}

/// At most [`TEXT_MAX`] bytes of it.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_MAX));
    text
}

#[cfg(test)]
mod tests;
