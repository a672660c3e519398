//! How data sets number and name calls. *Pure.*
//!
//! In: a word. Out: a token, and back. Never: a guess at what a word means.

use clap::ValueEnum;
use surprisal_proto::names;
use surprisal_proto::token::{NR_FOREIGN, Token};

/// How calls are numbered and named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Abi {
    /// 64-bit x86, as recordings have it.
    #[default]
    #[value(name = "x86-64")]
    #[serde(rename = "x86-64")]
    X86_64,
    /// 32-bit x86, as ADFA-LD has it.
    I386,
}

impl Abi {
    /// As the command line spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86-64",
            Self::I386 => "i386",
        }
    }

    /// A call by number or by name. With i386 the token's number is the i386 one: methods need to tell calls
    /// apart, and a translation would lose those that x86-64 does not have.
    pub fn parse(self, word: &str) -> Option<Token> {
        let call = |nr: u16| (nr < NR_FOREIGN).then(|| Token::new(nr, 0));
        if word.bytes().all(|b| b.is_ascii_digit()) {
            return call(word.parse().ok()?);
        }
        match self {
            Self::X86_64 => names::parse(word).ok(),
            Self::I386 => match word.strip_prefix("syscall_") {
                Some(number) => call(number.parse().ok()?),
                None => call(word.parse::<syscalls::x86::Sysno>().ok()?.id() as u16),
            },
        }
    }

    /// The call's name.
    pub fn call(self, token: Token) -> String {
        match self {
            Self::X86_64 => names::words(token),
            Self::I386 => syscalls::x86::Sysno::new(usize::from(token.nr()))
                .map_or_else(|| format!("syscall_{}", token.nr()), |s| s.name().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_numbers_or_names_of_the_abi() {
        for (abi, word, expect) in [
            (Abi::X86_64, "59", Some(Token(59))),
            (Abi::X86_64, "execve", Some(Token(59))),
            (Abi::X86_64, "openat:15", Some(Token::new(257, 15))),
            (Abi::X86_64, "socketcall", None),
            (Abi::I386, "execve", Some(Token(11))),
            (Abi::I386, "socketcall", Some(Token(102))),
            (Abi::I386, "11", Some(Token(11))),
            (Abi::I386, "syscall_11", Some(Token(11))),
            (Abi::I386, "openat:15", None),
            (Abi::I386, "1021", Some(Token(1021))),
            (Abi::I386, "1022", None),
            (Abi::X86_64, "65536", None),
            (Abi::X86_64, "-1", None),
            (Abi::X86_64, "0x3b", None),
        ] {
            assert_eq!(abi.parse(word), expect, "{word} of {}", abi.name());
        }
        assert_eq!((Abi::I386.call(Token(102)), Abi::X86_64.call(Token(59))), ("socketcall".into(), "execve".into()));
    }
}
