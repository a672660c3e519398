//! What a container's last named calls were about. *Pure.*
//!
//! In: names as its agent tells them, each of one call. Out: the name of a call, while it is among the last ones; what of a window
//! training did not see. Never: more than [`NAMES_MAX`] names or [`BYTES_MAX`] bytes of them.

use crate::containers::thread::ThreadId;
use crate::detect::names::{Kind, Seen};
use crate::detect::score::Score;
use crate::ingest::wire;
use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use surprisal_proto::{names, token::Token, v1};

/// Names kept of a container, at most. A name comes with its call, and a window is judged within seconds of its last call.
const NAMES_MAX: usize = 64;
/// Bytes of their texts, at most.
const BYTES_MAX: usize = 4 << 10;
/// Bytes that people see of a name, at most: windows that are kept hold on to them.
const SHOWN_MAX: usize = 128;
/// New names shown of a window, at most.
const NEW_MAX: usize = 3;

/// What one call was about.
#[derive(Clone, Debug)]
pub(super) struct Told {
    thread: ThreadId,
    pub(super) sequence: u64,
    pub(super) token: Token,
    /// The name itself.
    pub(super) text: Arc<str>,
    pub(super) relative: bool,
    /// As people see it, at most [`SHOWN_MAX`] bytes of it.
    pub(super) shown: Arc<str>,
}

impl Told {
    fn bytes(&self) -> usize {
        self.text.len() + if Arc::ptr_eq(&self.text, &self.shown) { 0 } else { self.shown.len() }
    }
}

impl From<wire::Name> for Told {
    fn from(name: wire::Name) -> Self {
        let wire::Name { container: _, tgid, tid, sequence, token, text, relative, shown } = name;
        let shown = if shown.len() > SHOWN_MAX { cut(&shown).into() } else { shown };
        Self { thread: ThreadId { tgid, tid }, sequence, token, text, relative, shown }
    }
}

fn cut(shown: &str) -> String {
    let end = shown.floor_char_boundary(SHOWN_MAX - '…'.len_utf8());
    format!("{}…", &shown[..end])
}

/// What of a window training did not see.
#[derive(Debug, Default)]
pub(super) struct News {
    /// The highest surprisal of its new names.
    pub(super) score: Score,
    /// In the order of [`Kind`], at most [`NEW_MAX`].
    pub(super) names: Vec<New>,
}

/// Something that a workload's calls were never about in training.
#[derive(Clone, Debug)]
pub(super) struct New {
    pub(super) kind: Kind,
    pub(super) token: Token,
    pub(super) sequence: u64,
    pub(super) shown: Arc<str>,
    /// Its surprisal.
    pub(super) nats: f64,
}

impl New {
    /// As the wire has it, of a training that listened so long.
    pub(super) fn message(&self, container_seconds: f64) -> v1::NewName {
        v1::NewName {
            did: self.kind.did().to_owned(),
            name: self.shown.to_string(),
            call: names::words(self.token),
            sequence: self.sequence,
            container_seconds,
            nats: self.nats,
        }
    }
}

/// The last names, oldest first.
#[derive(Debug, Default)]
pub(super) struct Names {
    last: VecDeque<Told>,
    bytes: usize,
}

impl Names {
    /// Takes one. Returns how many older ones had to go.
    pub(super) fn add(&mut self, told: Told) -> u64 {
        self.bytes += told.bytes();
        self.last.push_back(told);
        let mut forgotten = 0;
        while self.last.len() > NAMES_MAX || self.bytes > BYTES_MAX {
            let Some(told) = self.last.pop_front() else { break };
            self.bytes -= told.bytes();
            forgotten += 1;
        }
        forgotten
    }

    /// What that call was about, if it is still known. A thread's ids may be used again: the last one counts.
    pub(super) fn get(&self, thread: ThreadId, sequence: u64) -> Option<&Told> {
        self.last.iter().rev().find(|told| told.thread == thread && told.sequence == sequence)
    }

    /// What a window of a thread is about that training did not see.
    pub(super) fn new_in(&self, thread: ThreadId, window: Range<u64>, seen: &Seen) -> News {
        let of_it = self.last.iter().filter(|told| told.thread == thread && window.contains(&told.sequence));
        let new = |told: &Told| {
            let kind = Kind::of(told.token);
            let nats = seen.known.surprisal(kind, &told.text, told.relative)?;
            Some(New { kind, token: told.token, sequence: told.sequence, shown: Arc::clone(&told.shown), nats })
        };
        let mut names: Vec<_> = of_it.filter_map(new).collect();
        let highest = names.iter().map(|new| new.nats).fold(0.0, f64::max);
        names.sort_by_key(|new| (new.kind, new.sequence));
        // The same again is nothing new; a sort by name would lose which came first.
        let mut said = HashSet::new();
        names.retain(|new| said.insert((new.kind, Arc::clone(&new.shown))));
        names.truncate(NEW_MAX);
        News { score: Score::new(highest), names }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::names::Heard;

    const A: ThreadId = ThreadId { tgid: 1, tid: 1 };
    const B: ThreadId = ThreadId { tgid: 1, tid: 2 };

    fn told(thread: ThreadId, sequence: u64, call: &str, text: &str) -> Told {
        let token = names::parse(call).expect("a call");
        let text: Arc<str> = text.into();
        Told { thread, sequence, token, shown: Arc::clone(&text), text, relative: false }
    }

    fn shown(names: &Names, thread: ThreadId, sequence: u64) -> Option<&str> {
        names.get(thread, sequence).map(|told| &*told.shown)
    }

    #[test]
    fn a_name_is_of_one_call() {
        let mut names = Names::default();
        for (thread, sequence, text) in [(A, 1, "/a"), (B, 1, "/b"), (A, 2, "/c"), (A, 1, "/again")] {
            assert_eq!(names.add(told(thread, sequence, "open:1", text)), 0);
        }
        for (thread, sequence, expect) in [(A, 1, Some("/again")), (A, 2, Some("/c")), (B, 1, Some("/b")), (B, 2, None)] {
            assert_eq!(shown(&names, thread, sequence), expect);
        }
    }

    #[test]
    fn the_oldest_go_by_number_and_by_bytes() {
        let mut names = Names::default();
        let forgotten: u64 = (0..200).map(|n| names.add(told(A, n, "open:1", "/x"))).sum();
        assert_eq!((forgotten, names.last.len(), names.bytes), (136, NAMES_MAX, 2 * NAMES_MAX));
        assert_eq!((shown(&names, A, 135), shown(&names, A, 136)), (None, Some("/x")));
        for n in 0..20 {
            names.add(told(B, n, "open:1", &"y".repeat(1000)));
            assert!(names.bytes <= BYTES_MAX);
        }
        assert_eq!((names.last.len(), shown(&names, B, 15), shown(&names, B, 16).is_some()), (4, None, true));
        // One that is too long alone is not kept.
        assert_eq!(names.add(told(A, 1, "open:1", &"z".repeat(BYTES_MAX + 1))), 5);
        assert_eq!((names.last.len(), names.bytes), (0, 0));
    }

    #[test]
    fn what_is_new_programs_first() {
        let mut heard = Heard::default();
        heard.add(names::parse("openat:1").expect("a call"), "/etc/passwd", false, 0);
        let seen = Seen { known: heard.known(999), container_seconds: 60.0 };
        let mut names = Names::default();
        for (sequence, call, text) in [
            (10, "openat:1", "/etc/passwd"),
            (11, "openat:1", "/etc/shadow"),
            (12, "connect", "1.2.3.4:4444"),
            (13, "execve", "/bin/bash"),
            (14, "connect", "1.2.3.4:4444"),
            (99, "execve", "/bin/later"),
        ] {
            names.add(told(A, sequence, call, text));
        }
        names.add(told(B, 12, "execve", "/bin/other"));
        let new = |window| {
            let new = names.new_in(A, window, &seen);
            new.names.into_iter().map(|new| format!("{} {}", new.kind.did(), new.shown)).collect::<Vec<_>>()
        };
        assert_eq!(new(10..20), ["ran /bin/bash", "talked to 1.2.3.4:4444", "read /etc/shadow"]);
        assert_eq!(new(10..11), Vec::<String>::new());
        for n in 0..20 {
            names.add(told(B, 100 + n, "execve", &format!("/bin/{}", char::from(b'a' + n as u8))));
        }
        let all = names.new_in(B, 0..1000, &seen);
        assert_eq!(all.names.len(), NEW_MAX);
        assert!((all.score.nats() - (501.0f64 / 0.5).ln()).abs() < 1e-9);
        assert!((all.score.nats() - all.names[0].nats).abs() < 1e-9);
    }
}
