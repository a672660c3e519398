//! What a call does to what it is about, and names that compare. *Pure.*
//!
//! In: a call, its name. Out: a [`Kind`]; a name without what differs from run to run: digits are one `#`, a peer is its kind and port
//! ("outside:443"), since pods' addresses change. Never: whether a name is new.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use surprisal_proto::token::{Token, describe, named::runs_a_program};

/// What a call does to what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Runs it.
    Run,
    /// Writes, makes, moves or removes it.
    Change,
    /// Talks to it.
    Talk,
    /// Lets others talk to it there.
    Listen,
    /// Opens it to read.
    Read,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Run, Self::Change, Self::Talk, Self::Listen, Self::Read];

    /// Of a call that has a name.
    pub fn of(token: Token) -> Self {
        let words = describe(token);
        let says = |word: &str| words.as_slice().contains(&word);
        match token.nr() {
            nr if runs_a_program(nr) => Self::Run,
            // connect, sendto
            42 | 44 => Self::Talk,
            // bind
            49 => Self::Listen,
            // open, openat; openat2 does not say how
            2 | 257 if !["write", "read-write", "create", "truncate or append"].into_iter().any(says) => Self::Read,
            437 => Self::Read,
            _ => Self::Change,
        }
    }

    /// What was done to it.
    pub fn did(self) -> &'static str {
        match self {
            Self::Run => "ran",
            Self::Change => "changed",
            Self::Talk => "talked to",
            Self::Listen => "listened at",
            Self::Read => "read",
        }
    }
}

/// A name without what differs from run to run.
pub(super) fn fold(kind: Kind, text: &str, relative: bool) -> String {
    if matches!(kind, Kind::Talk | Kind::Listen)
        && let Ok(address) = text.parse::<SocketAddr>()
    {
        return format!("{}:{}", place(address.ip()), address.port());
    }
    let mut folded = String::with_capacity(text.len() + 2);
    if relative {
        folded.push_str("./");
    }
    for c in text.chars() {
        match c {
            '0'..='9' if folded.ends_with('#') => {}
            '0'..='9' => folded.push('#'),
            c => folded.push(c),
        }
    }
    folded
}

/// Where an address is, as far as it says so itself.
fn place(ip: IpAddr) -> &'static str {
    let (loopback, here) = match ip {
        IpAddr::V4(ip) => (ip.is_loopback(), ip.is_private() || ip.is_link_local() || ip.is_unspecified()),
        IpAddr::V6(ip) => (ip.is_loopback(), ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified()),
    };
    match (loopback, here) {
        (true, _) => "loopback",
        (_, true) => "private",
        _ => "outside",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use surprisal_proto::names;

    fn token(call: &str) -> Token {
        names::parse(call).expect("a call")
    }

    #[test]
    fn kinds() {
        for (call, kind) in [
            ("execve", Kind::Run),
            ("openat:1", Kind::Read),
            ("openat:2", Kind::Change),
            ("openat:15", Kind::Change),
            ("openat2", Kind::Read),
            ("unlink", Kind::Change),
            ("memfd_create:1", Kind::Change),
            ("connect", Kind::Talk),
            ("sendto", Kind::Talk),
            ("bind", Kind::Listen),
        ] {
            assert_eq!(Kind::of(token(call)), kind, "{call}");
        }
    }

    #[test]
    fn folded() {
        for (kind, name, relative, folded) in [
            (Kind::Read, "/proc/17/stat", false, "/proc/#/stat"),
            (Kind::Read, "etc/passwd", true, "./etc/passwd"),
            (Kind::Talk, "10.0.0.3:6379", false, "private:6379"),
            (Kind::Talk, "[::1]:53", false, "loopback:53"),
            (Kind::Talk, "8.8.8.8:53", false, "outside:53"),
            (Kind::Talk, "unix:/run/x.sock", false, "unix:/run/x.sock"),
            (Kind::Change, "10.0.0.3:6379", false, "#.#.#.#:#"),
        ] {
            assert_eq!(fold(kind, name, relative), folded);
        }
    }
}
