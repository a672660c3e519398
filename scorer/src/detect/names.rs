//! What a workload's calls were about in training: programs, files, peers. *Pure.*
//!
//! In: names of calls. Out: [`Known`] names of a workload, which its profile keeps, and whether another name is new for it. Never: a
//! score.
//!
//! Names are compared without what differs from run to run: digits are one `#`, a peer is its kind and port ("outside:443"), since pods'
//! addresses change. In a directory where training saw many names, one more is nothing new.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use surprisal_proto::token::{Token, describe, named::runs_a_program};

/// Names kept of a workload, at most, all kinds together.
const NAMES_MAX: usize = 8192;
/// Bytes of them, at most.
const BYTES_MAX: usize = 512 << 10;
/// So many names in one directory: its names come and go.
const MANY: usize = 16;

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

/// What training saw, and for how long.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// The names.
    pub known: Known,
    /// Container-seconds recorded.
    pub container_seconds: f64,
}

/// The names that training saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Known {
    /// By kind, folded.
    names: BTreeMap<Kind, BTreeSet<String>>,
    /// There were more than there is room for: then none is new.
    overflowed: bool,
    /// The recordings could say names at all.
    heard: bool,
}

impl Known {
    /// Training saw this name, as its recording spells it.
    pub fn add(&mut self, token: Token, text: &str, relative: bool) {
        self.heard = true;
        let (count, bytes) = self.size();
        let kind = Kind::of(token);
        let folded = fold(kind, text, relative);
        if self.names.get(&kind).is_some_and(|names| names.contains(&folded)) {
            return;
        }
        if count >= NAMES_MAX || bytes + folded.len() > BYTES_MAX {
            self.overflowed = true;
            return;
        }
        self.names.entry(kind).or_default().insert(folded);
    }

    /// Takes another's names, as if they were one workload's.
    pub fn merge(&mut self, other: Self) {
        self.heard |= other.heard;
        self.overflowed |= other.overflowed;
        for (kind, names) in other.names {
            self.names.entry(kind).or_default().extend(names);
        }
        let (count, bytes) = self.size();
        self.overflowed |= count > NAMES_MAX || bytes > BYTES_MAX;
    }

    /// Whether a call does to this what none of the workload's did in training. `false` too where training could not tell.
    pub fn is_new(&self, kind: Kind, text: &str, relative: bool) -> bool {
        if !self.heard || self.overflowed {
            return false;
        }
        let folded = fold(kind, text, relative);
        let Some(names) = self.names.get(&kind) else { return true };
        if names.contains(&folded) {
            return false;
        }
        // A program that was never run is new, wherever it lies.
        let Some((directory, _)) = folded.rsplit_once('/').filter(|_| matches!(kind, Kind::Change | Kind::Read)) else {
            return true;
        };
        let beside = |name: &&String| name.rsplit_once('/').is_some_and(|(of, _)| of == directory);
        names.range(format!("{directory}/")..).take_while(|name| name.starts_with(directory)).filter(beside).count() < MANY
    }

    /// Names kept.
    pub fn len(&self) -> usize {
        self.size().0
    }

    /// Whether training saw none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn size(&self) -> (usize, usize) {
        self.names.values().flatten().fold((0, 0), |(count, bytes), name| (count + 1, bytes + name.len()))
    }
}

/// A name without what differs from run to run.
fn fold(kind: Kind, text: &str, relative: bool) -> String {
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
    fn what_training_saw_is_not_new() {
        let mut known = Known::default();
        assert!(!known.is_new(Kind::Run, "/bin/sh", false), "training could not tell");
        for (call, name) in [
            ("execve", "/usr/bin/redis-server"),
            ("openat:1", "/proc/17/stat"),
            ("openat:1", "/etc/passwd"),
            ("openat:15", "/data/temp-12.rdb"),
            ("connect", "10.0.0.3:6379"),
            ("connect", "unix:/run/x.sock"),
        ] {
            known.add(token(call), name, false);
        }
        for (kind, name, new) in [
            (Kind::Run, "/usr/bin/redis-server", false),
            (Kind::Run, "/bin/sh", true),
            (Kind::Read, "/proc/99/stat", false),
            (Kind::Read, "/etc/shadow", true),
            // Read is not written.
            (Kind::Change, "/etc/passwd", true),
            (Kind::Change, "/data/temp-99.rdb", false),
            (Kind::Talk, "10.9.9.9:6379", false),
            (Kind::Talk, "10.0.0.3:4444", true),
            (Kind::Talk, "8.8.8.8:6379", true),
            (Kind::Talk, "unix:/run/x.sock", false),
            (Kind::Talk, "unix:/run/docker.sock", true),
            (Kind::Listen, "0.0.0.0:4444", true),
        ] {
            assert_eq!(known.is_new(kind, name, false), new, "{kind:?} {name}");
        }
        assert!(known.is_new(Kind::Read, "etc/passwd", true), "a relative one is another");
    }

    #[test]
    fn where_names_come_and_go_one_more_is_nothing_new() {
        let mut known = Known::default();
        for n in 0..MANY as u8 {
            known.add(token("openat:15"), &format!("/spool/mail-{}", char::from(b'a' + n)), false);
            known.add(token("execve"), &format!("/hooks/{}", char::from(b'a' + n)), false);
        }
        assert!(!known.is_new(Kind::Change, "/spool/mail-zz", false));
        assert!(known.is_new(Kind::Change, "/spool/deeper/x", false));
        assert!(known.is_new(Kind::Change, "/spool2/x", false));
        assert!(known.is_new(Kind::Run, "/hooks/zz", false), "a program is new wherever it lies");
    }

    #[test]
    fn bounded_and_then_silent() {
        let mut known = Known::default();
        for n in 0..=NAMES_MAX {
            let letters: String = n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
            known.add(token("openat:1"), &letters, false);
        }
        assert_eq!((known.len(), known.overflowed), (NAMES_MAX, true));
        assert!(!known.is_new(Kind::Run, "/bin/sh", false));
        let kept = serde_json::to_string(&known).expect("JSON");
        assert_eq!(serde_json::from_str::<Known>(&kept).expect("what was kept"), known);
    }

    #[test]
    fn merged_as_one() {
        let (mut a, mut b) = (Known::default(), Known::default());
        b.add(token("execve"), "/bin/sh", false);
        a.merge(b);
        assert!(!a.is_new(Kind::Run, "/bin/sh", false) && a.is_new(Kind::Run, "/bin/x", false));
    }
}
