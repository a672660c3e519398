//! What a container's last named calls were about. *Pure.*
//!
//! In: names as its agent tells them, each of one call. Out: the name of a call, while it is among the last ones. Never: more than
//! [`NAMES_MAX`] names or [`BYTES_MAX`] bytes of them.

use crate::containers::thread::ThreadId;
use std::collections::VecDeque;
use std::sync::Arc;

/// Names kept of a container, at most. A name comes with its call, and a window is judged within seconds of its last call.
const NAMES_MAX: usize = 64;
/// Bytes of their texts, at most.
const BYTES_MAX: usize = 4 << 10;

/// The last names, oldest first.
#[derive(Debug, Default)]
pub(super) struct Names {
    last: VecDeque<(ThreadId, u64, Arc<str>)>,
    bytes: usize,
}

impl Names {
    /// Call `sequence` of a thread was about this. Returns how many older names had to go.
    pub(super) fn add(&mut self, thread: ThreadId, sequence: u64, text: Arc<str>) -> u64 {
        self.bytes += text.len();
        self.last.push_back((thread, sequence, text));
        let mut forgotten = 0;
        while self.last.len() > NAMES_MAX || self.bytes > BYTES_MAX {
            let Some((.., text)) = self.last.pop_front() else { break };
            self.bytes -= text.len();
            forgotten += 1;
        }
        forgotten
    }

    /// What that call was about, if it is still known. A thread's ids may be used again: the last one counts.
    pub(super) fn get(&self, thread: ThreadId, sequence: u64) -> Option<Arc<str>> {
        let is_it = |(of, number, _): &&(ThreadId, u64, Arc<str>)| *of == thread && *number == sequence;
        self.last.iter().rev().find(is_it).map(|(.., text)| Arc::clone(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ThreadId = ThreadId { tgid: 1, tid: 1 };
    const B: ThreadId = ThreadId { tgid: 1, tid: 2 };

    #[test]
    fn a_name_is_of_one_call() {
        let mut names = Names::default();
        for (thread, sequence, text) in [(A, 1, "/a"), (B, 1, "/b"), (A, 2, "/c"), (A, 1, "/again")] {
            assert_eq!(names.add(thread, sequence, text.into()), 0);
        }
        for (thread, sequence, expect) in [(A, 1, Some("/again")), (A, 2, Some("/c")), (B, 1, Some("/b")), (B, 2, None)] {
            assert_eq!(names.get(thread, sequence).as_deref(), expect);
        }
    }

    #[test]
    fn the_oldest_go_by_number_and_by_bytes() {
        let mut names = Names::default();
        let forgotten: u64 = (0..200).map(|n| names.add(A, n, "/x".into())).sum();
        assert_eq!((forgotten, names.last.len(), names.bytes), (136, NAMES_MAX, 2 * NAMES_MAX));
        assert_eq!((names.get(A, 135), names.get(A, 136).as_deref()), (None, Some("/x")));
        for n in 0..20 {
            names.add(B, n, "y".repeat(1000).into());
            assert!(names.bytes <= BYTES_MAX);
        }
        assert_eq!((names.last.len(), names.get(B, 15), names.get(B, 16).is_some()), (4, None, true));
        // One that is too long alone is not kept.
        assert_eq!(names.add(A, 1, "z".repeat(BYTES_MAX + 1).into()), 5);
        assert_eq!((names.last.len(), names.bytes), (0, 0));
    }
}
