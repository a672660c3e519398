//! Each thread's calls in order, each call once, with what is missing.
//!
//! In: [`Calls`] as the kernel copied them: in order, but a peek may repeat what a chunk brings again.
//! Out: [`Fresh`] calls without repetition, and how many calls are missing before each. Pure: no clock but the caller's.
//!
//! The kernel numbers the calls of a thread from 0, so repetitions and losses show in the numbers alone.
//!
//! **Invariant:** for each thread, calls delivered + gaps = number after its last delivered call. Once threads had to be
//! forgotten, an unknown thread may be one of them: then no gap is reported before its first call.

use crate::decode::Calls;
use std::collections::HashMap;

/// An ended thread is remembered for this long: a peek of it may still be on its way, nanoseconds.
const TOMBSTONE_NS: u64 = 2_000_000_000;

/// Most memory that a remembered thread takes: an entry of the table, which is at least 7/16 full.
pub const THREAD_BYTES: usize = (size_of::<(u32, u64)>() + size_of::<Thread>() + 1) * 16 / 7;

/// New calls of one thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// Number of `tokens[0]` in its thread.
    pub first_seq: u64,
    /// Calls missing directly before it.
    pub gap: u64,
    /// The calls; empty only when `last` is set.
    pub tokens: Vec<u16>,
    /// The thread has ended.
    pub last: bool,
    /// When an earlier record of the same buffer came that did not have these calls yet: they were made after that, by the
    /// caller's clock. The record's own time is that of the buffer's first call. `None`: this is the buffer's first record.
    pub after_ns: Option<u64>,
}

/// The threads of one container.
#[derive(Debug, Default)]
pub struct Sequencer {
    threads: HashMap<(u32, u64), Thread>,
    /// Calls passed on.
    pub delivered: u64,
    /// Calls found missing.
    pub missing: u64,
    /// Calls that were repetitions.
    pub repeated: u64,
    /// Threads forgotten before they ended; more than none: an unknown thread may be in its middle.
    pub forgotten: u64,
}

#[derive(Debug)]
struct Thread {
    next: u64,
    seen_ns: u64,
    ended: bool,
}

impl Sequencer {
    /// For a container whose threads have run for a while without being heard: what they did before is not missing.
    pub fn in_the_middle() -> Self {
        Self { forgotten: 1, ..Self::default() }
    }

    /// Takes a record at time `now_ns` (any clock that only goes forward). `None`: nothing in it is new.
    pub fn accept(&mut self, calls: &mut Calls, now_ns: u64) -> Option<Fresh> {
        let id = (calls.tid, calls.born_ns);
        let next = if self.forgotten > 0 { calls.first_seq } else { 0 };
        let thread = self.threads.entry(id).or_insert(Thread { next, seen_ns: now_ns, ended: false });
        let seen_ns = std::mem::replace(&mut thread.seen_ns, now_ns);
        let mut tokens = std::mem::take(&mut calls.tokens);
        let until = calls.first_seq + tokens.len() as u64;
        if thread.ended || (until <= thread.next && !calls.last) {
            self.repeated += tokens.len() as u64;
            return None;
        }
        let known = thread.next.saturating_sub(calls.first_seq).min(tokens.len() as u64);
        tokens.drain(..known as usize);
        let first_seq = calls.first_seq + known;
        let gap = first_seq.saturating_sub(thread.next);
        thread.next = thread.next.max(until);
        thread.ended = calls.last;
        self.repeated += known;
        self.missing += gap;
        self.delivered += tokens.len() as u64;
        Some(Fresh { first_seq, gap, tokens, last: calls.last, after_ns: (known > 0).then_some(seen_ns) })
    }

    /// Threads remembered, tombstones included.
    pub fn len(&self) -> usize {
        self.threads.len()
    }

    /// Whether no thread is remembered.
    pub fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// Forgets threads that ended a while ago.
    pub fn sweep(&mut self, now_ns: u64) {
        self.threads.retain(|_, t| !t.ended || now_ns.saturating_sub(t.seen_ns) < TOMBSTONE_NS);
    }

    /// Forgets the `n` threads that have been silent for longest; returns how many that were.
    pub fn forget(&mut self, n: usize) -> usize {
        let before = self.threads.len();
        let Some(last) = n.min(before).checked_sub(1) else { return 0 };
        let mut seen: Vec<u64> = self.threads.values().map(|t| t.seen_ns).collect();
        let (_, bound, _) = seen.select_nth_unstable(last);
        let bound = *bound;
        let older = seen.iter().filter(|ns| **ns < bound).count();
        let mut of_the_bound = n - older;
        self.threads.retain(|_, t| {
            let goes = t.seen_ns < bound || (t.seen_ns == bound && of_the_bound > 0);
            of_the_bound -= usize::from(t.seen_ns == bound && goes);
            !goes
        });
        let gone = before - self.threads.len();
        self.forgotten += gone as u64;
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn calls(first_seq: u64, tokens: &[u16], peek: bool, last: bool) -> Calls {
        Calls {
            container: 1,
            tgid: 2,
            tid: 3,
            born_ns: 4,
            comm: [0; 16],
            first_seq,
            start_ns: 0,
            tokens: tokens.to_vec(),
            peek,
            last,
            by_exec: false,
        }
    }

    /// Records in, (first number, gap, tokens) out.
    #[track_caller]
    fn check(records: &[(u64, &[u16])], expect: &[(u64, u64, &[u16])]) {
        let mut s = Sequencer::default();
        let got: Vec<_> =
            records.iter().filter_map(|(seq, tokens)| s.accept(&mut calls(*seq, tokens, false, false), 0)).collect();
        let got: Vec<_> = got.iter().map(|f| (f.first_seq, f.gap, f.tokens.as_slice())).collect();
        assert_eq!(got, expect);
    }

    #[test]
    fn repetitions_are_dropped_and_gaps_are_counted() {
        check(&[(0, &[1, 2]), (2, &[3])], &[(0, 0, &[1, 2]), (2, 0, &[3])]);
        // A peek saw the first two, the chunk brings them again.
        check(&[(0, &[1, 2]), (0, &[1, 2, 3, 4])], &[(0, 0, &[1, 2]), (2, 0, &[3, 4])]);
        // A peek that was overtaken by the chunk.
        check(&[(0, &[1, 2, 3]), (0, &[1, 2])], &[(0, 0, &[1, 2, 3])]);
        // A lost chunk; and a lost beginning.
        check(&[(0, &[1]), (5, &[6, 7])], &[(0, 0, &[1]), (5, 4, &[6, 7])]);
        check(&[(4, &[5])], &[(4, 4, &[5])]);
        // Lost in part: a peek had reported the beginning of the chunk that was refused.
        check(&[(0, &[1, 2]), (6, &[7])], &[(0, 0, &[1, 2]), (6, 4, &[7])]);
    }

    #[test]
    fn an_ended_thread_is_not_reborn_by_a_late_peek() {
        let mut s = Sequencer::default();
        let end = s.accept(&mut calls(0, &[1, 2], false, true), 0);
        assert_eq!(end, Some(Fresh { first_seq: 0, gap: 0, tokens: vec![1, 2], last: true, after_ns: None }));
        assert_eq!(s.accept(&mut calls(0, &[1], true, false), 1), None);
        let mut reborn = calls(0, &[9], false, false);
        reborn.born_ns = 5;
        assert_eq!(s.accept(&mut reborn, 2).map(|f| f.tokens), Some(vec![9]));
        s.sweep(TOMBSTONE_NS + 1);
        assert_eq!(s.len(), 1);
    }

    #[test]
    fn calls_are_no_older_than_the_record_that_did_not_have_them() {
        let mut s = Sequencer::default();
        let mut after = |seq, tokens: &[u16], now| s.accept(&mut calls(seq, tokens, true, false), now).map(|f| f.after_ns);
        assert_eq!(after(0, &[1], 10), Some(None));
        assert_eq!(after(0, &[1, 2], 20), Some(Some(10)));
        // Nothing new at 30: what comes later is later than that.
        assert_eq!(after(0, &[1, 2], 30), None);
        assert_eq!(after(0, &[1, 2, 3], 40), Some(Some(30)));
        // The next buffer has a time of its own.
        assert_eq!(after(3, &[4], 50), Some(None));
    }

    #[test]
    fn the_longest_silent_are_forgotten_and_nothing_is_made_up_of_it() {
        let mut s = Sequencer::default();
        let thread = |tid: u32, first_seq: u64| Calls { tid, ..calls(first_seq, &[1, 2], false, false) };
        for tid in 0..10 {
            s.accept(&mut thread(tid, 0), 100 - u64::from(tid / 2));
        }
        assert_eq!((s.forget(0), s.forget(5), s.len(), s.forgotten), (0, 5, 5, 5));
        let told = |s: &mut Sequencer, tid| s.accept(&mut thread(tid, 2), 200).map(|f| (f.first_seq, f.gap, f.tokens.len()));
        assert_eq!(told(&mut s, 9), Some((2, 0, 2)), "forgotten: it goes on where it is");
        assert_eq!(told(&mut s, 0), Some((2, 0, 2)), "known");
        assert_eq!((s.missing, s.forget(100), s.len()), (0, 6, 0));
    }

    #[test]
    fn the_end_is_told_even_without_calls() {
        let mut s = Sequencer::default();
        s.accept(&mut calls(0, &[1], true, false), 0);
        assert_eq!(
            s.accept(&mut calls(0, &[1], false, true), 0),
            Some(Fresh { first_seq: 1, gap: 0, tokens: vec![], last: true, after_ns: Some(0) })
        );
    }

    proptest! {
        /// However chunks are cut, peeked at and lost: what comes out is in order, without repetition, and adds up.
        #[test]
        fn delivered_and_missing_add_up(lens in prop::collection::vec((1usize..20, any::<bool>(), 0usize..20), 1..30)) {
            let (mut s, mut seq, mut out, mut lost) = (Sequencer::default(), 0u64, Vec::new(), 0u64);
            for (len, refused, peeked) in lens {
                let tokens: Vec<u16> = (seq..seq + len as u64).map(|n| n as u16).collect();
                let peeked = peeked.min(len);
                if peeked > 0 {
                    out.extend(s.accept(&mut calls(seq, &tokens[..peeked], true, false), 0));
                }
                if refused {
                    lost += (len - peeked) as u64;
                } else {
                    out.extend(s.accept(&mut calls(seq, &tokens, false, false), 0));
                }
                seq += len as u64;
            }
            out.extend(s.accept(&mut calls(seq, &[], false, true), 0));
            let mut next = 0;
            for fresh in &out {
                prop_assert_eq!(fresh.first_seq, next + fresh.gap);
                for (i, token) in fresh.tokens.iter().enumerate() {
                    prop_assert_eq!(u64::from(*token), fresh.first_seq + i as u64);
                }
                next = fresh.first_seq + fresh.tokens.len() as u64;
            }
            prop_assert_eq!((s.delivered + s.missing, s.missing), (seq, lost));
        }
    }
}
