//! Names of calls, for people and for recordings.
//!
//! In: a [`Token`]. Out: its name, with its class as a number (`openat:15`, lossless) or in words
//! (`openat (read-write, create)`). Never: guesses; what has no name is `syscall_N`.

use crate::token::{self, NR_FOREIGN, NR_UNKNOWN, Token};
use std::borrow::Cow;
use syscalls::x86_64::Sysno;

const FOREIGN: &str = "foreign_abi_call";
const UNKNOWN: &str = "unknown_call";

/// The call's name: `openat`, `syscall_470`, `foreign_abi_call`.
#[must_use]
pub fn call(token: Token) -> Cow<'static, str> {
    match token.nr() {
        NR_FOREIGN => FOREIGN.into(),
        NR_UNKNOWN => UNKNOWN.into(),
        nr => Sysno::new(usize::from(nr)).map_or_else(|| format!("syscall_{nr}").into(), |s| s.name().into()),
    }
}

/// The token as recordings spell it: `read`, `openat:15`. [`parse`] reads it back.
#[must_use]
pub fn spell(token: Token) -> String {
    match token.class() {
        0 => call(token).into_owned(),
        class => format!("{}:{class}", call(token)),
    }
}

/// The token in words: `read`, `openat (read-write, create)`, `fcntl (get flags)`. A class that the call cannot have, as a damaged
/// recording may say it, is a number.
#[must_use]
pub fn words(token: Token) -> String {
    let name = call(token);
    let words = token::describe(token);
    match (token.class(), words.as_slice()) {
        (0, _) => name.into_owned(),
        (class, []) => format!("{name} (class {class})"),
        (_, words) => format!("{name} ({})", words.join(", ")),
    }
}

/// What [`parse`] could not read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a system call of this recording's ABI")]
pub struct UnknownCall(pub String);

/// Reads what [`spell`] wrote.
pub fn parse(text: &str) -> Result<Token, UnknownCall> {
    let unknown = || UnknownCall(text.to_owned());
    let (name, class) = match text.split_once(':') {
        Some((name, class)) => (name, class.parse::<u8>().ok().filter(|c| (1..64).contains(c)).ok_or_else(unknown)?),
        None => (text, 0),
    };
    let nr = match name {
        FOREIGN => NR_FOREIGN,
        UNKNOWN => NR_UNKNOWN,
        _ => match name.strip_prefix("syscall_") {
            Some(nr) => nr.parse::<u16>().ok().filter(|n| *n < NR_UNKNOWN).ok_or_else(unknown)?,
            None => name.parse::<Sysno>().ok().map(|s| s.id() as u16).ok_or_else(unknown)?,
        },
    };
    Ok(Token::new(nr, class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_spelled_losslessly() {
        for raw in 0..=u16::MAX {
            let token = Token(raw);
            assert_eq!(parse(&spell(token)), Ok(token), "{}", spell(token));
        }
    }

    #[test]
    fn numbers_and_names_agree_with_the_kernel() {
        for (nr, name) in
            [(0, "read"), (59, "execve"), (257, "openat"), (321, "bpf"), (435, "clone3"), (1022, FOREIGN), (1023, UNKNOWN)]
        {
            assert_eq!(call(Token::new(nr, 0)), name);
        }
        // The rules of `token` are written by number; these are the calls they mean.
        let ruled: Vec<_> = (0..512u16)
            .filter(|nr| token::RULES[usize::from(*nr)] & !token::RULE_NAMED != 0)
            .map(|nr| call(Token::new(nr, 0)).into_owned())
            .collect();
        assert_eq!(
            ruled.join(" "),
            "open mmap mprotect ioctl madvise dup2 socket socketpair clone kill fcntl ptrace setuid setgid prctl tkill tgkill keyctl \
             openat unshare dup3 setns memfd_create bpf pkey_mprotect"
        );
    }

    #[test]
    fn refuses_what_is_no_call() {
        for text in ["", "reed", "read:", "read:0", "read:64", "read:x", "syscall_", "syscall_99999"] {
            assert_eq!(parse(text), Err(UnknownCall(text.to_owned())));
        }
    }
}
