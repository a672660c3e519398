//! What training hears of names. *Pure.*
//!
//! In: names of calls in the order of the recordings, each with how many windows were cut before it. Out: [`Known`] names, those that
//! came late apart from those that came early. Never: more than [`NAMES_MAX`] names or [`BYTES_MAX`] bytes.

use crate::detect::names::kind::{Kind, fold};
use crate::detect::names::known::{BYTES_MAX, Known, NAMES_MAX};
use std::collections::BTreeMap;
use surprisal_proto::token::Token;

/// The names of one workload's recordings.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// By kind, folded: how many windows there were before it was heard first.
    first: BTreeMap<Kind, BTreeMap<String, u64>>,
    bytes: usize,
    /// There were more than there is room for.
    overflowed: bool,
    /// The recordings could say names at all.
    any: bool,
}

impl Heard {
    /// A call had this name, as its recording spells it, when so many windows had been cut.
    pub fn add(&mut self, token: Token, text: &str, relative: bool, windows: u64) {
        self.any = true;
        let kind = Kind::of(token);
        self.put(kind, fold(kind, text, relative), windows);
    }

    /// Adds what was heard of another part of the workload, before which there were so many windows.
    pub fn merge(&mut self, other: Self, windows: u64) {
        self.any |= other.any;
        self.overflowed |= other.overflowed;
        for (kind, names) in other.first {
            for (name, at) in names {
                self.put(kind, name, at.saturating_add(windows));
            }
        }
    }

    fn put(&mut self, kind: Kind, name: String, windows: u64) {
        let count: usize = self.first.values().map(BTreeMap::len).sum();
        let names = self.first.entry(kind).or_default();
        if names.contains_key(&name) {
            return;
        }
        if count >= NAMES_MAX || self.bytes + name.len() > BYTES_MAX {
            self.overflowed = true;
            return;
        }
        self.bytes += name.len();
        names.insert(name, windows);
    }

    /// What a profile keeps, of recordings with so many windows in all: a name that was heard first in their second half is a newcomer.
    pub fn known(&self, windows: u64) -> Known {
        let half = windows / 2;
        let (mut names, mut newcomers) = (BTreeMap::new(), BTreeMap::new());
        for (kind, first) in &self.first {
            let late = |late: bool| first.iter().filter(move |(_, at)| (**at >= half) == late).map(|(name, _)| name.clone());
            names.insert(*kind, late(false).collect());
            newcomers.insert(*kind, late(true).collect());
        }
        Known::new(names, newcomers, if self.any { windows - half } else { 0 }, self.overflowed)
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
    fn late_names_are_newcomers() {
        let mut heard = Heard::default();
        heard.add(token("execve"), "/bin/a", false, 0);
        heard.add(token("execve"), "/bin/b", false, 50);
        heard.add(token("execve"), "/bin/a", false, 90);
        let known = heard.known(100);
        assert_eq!(known.kinds().next(), Some((Kind::Run, 2, 1)));
    }

    #[test]
    fn merged_in_the_order_of_the_recordings() {
        let (mut a, mut b) = (Heard::default(), Heard::default());
        a.add(token("execve"), "/bin/a", false, 10);
        b.add(token("execve"), "/bin/a", false, 0);
        b.add(token("execve"), "/bin/b", false, 5);
        a.merge(b, 100);
        let known = a.known(200);
        assert_eq!(known.kinds().next(), Some((Kind::Run, 2, 1)));
    }

    #[test]
    fn bounded_and_then_silent() {
        let mut heard = Heard::default();
        for n in 0..=NAMES_MAX {
            let letters: String = n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
            heard.add(token("openat:1"), &letters, false, 0);
        }
        let known = heard.known(1000);
        assert_eq!(known.len(), NAMES_MAX);
        assert_eq!(known.surprisal(Kind::Run, "/bin/sh", false), None, "it cannot tell");
    }
}
