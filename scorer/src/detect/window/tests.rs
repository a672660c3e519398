//! Tests of `window`.

use super::*;
use proptest::prelude::*;

fn tokens(range: std::ops::Range<u64>) -> Vec<Token> {
    range.map(|n| Token((n % 400) as u16)).collect()
}

/// Runs as (first sequence, gap, calls, quiet before it, last), cut; shown as `first+len` with `^` for a
/// thread's start, `<n` for the context's length, and `gap dropped/lost`.
fn check(runs: &[(u64, u64, u64, bool, bool)], expect: &str) {
    let mut cutter = Cutter::default();
    let mut out = Vec::new();
    for (first, gap, n, quiet, last) in runs {
        let calls = tokens(*first..first + n);
        if *quiet {
            out.extend(cutter.flush().map(Cut::Window));
        }
        cutter.push(Run { first_sequence: *first, gap: *gap, started_ns: 0, calls: &calls, last: *last }, &mut out);
    }
    let shown: Vec<_> = out
        .iter()
        .map(|cut| match cut {
            Cut::Gapped { dropped, lost } => format!("gap {dropped}/{lost}"),
            Cut::Window(w) => {
                let end = w.first_sequence + w.calls.len() as u64;
                assert_eq!(w.calls, tokens(w.first_sequence..end));
                assert_eq!(w.context, tokens(w.first_sequence - w.context.len() as u64..w.first_sequence));
                let start = if w.from_start { "^" } else { "" };
                format!("{start}{}+{}<{}", w.first_sequence, w.calls.len(), w.context.len())
            }
        })
        .collect();
    assert_eq!(format!("{} | {}", shown.join(" "), cutter.pending()), expect);
}

#[test]
fn cuts_by_the_rule() {
    // Full windows, and a rest that waits.
    check(&[(0, 0, 130, false, false)], "^0+64<0 64+64<16 | 2");
    // The rest is cut at the thread's end, with or without a call in the last run.
    check(&[(0, 0, 70, false, true)], "^0+64<0 64+6<16 | 0");
    check(&[(0, 0, 3, false, false), (3, 0, 0, false, true)], "^0+3<0 | 0");
    // Quiet for a second: cut there; a thread's start is remembered while all of it is in the context.
    check(&[(0, 0, 3, false, false), (3, 0, 64, true, false)], "^0+3<0 ^3+64<3 | 0");
    check(&[(0, 0, 3, false, false), (3, 0, 61, false, false)], "^0+64<0 | 0");
    check(&[(0, 0, 20, false, false), (20, 0, 3, true, false)], "^0+20<0 | 3");
    // A loss known by count, by a jump, and by both.
    check(&[(0, 0, 10, false, false), (15, 5, 80, false, false)], "gap 10/5 31+64<16 | 0");
    check(&[(0, 0, 10, false, false), (40, 0, 20, false, false)], "gap 10/30 | 4");
    check(&[(0, 0, 10, false, false), (40, 12, 16, false, false)], "gap 10/30 | 0");
    // A thread that was not seen from its start.
    check(&[(100, 0, 20, false, true)], "116+4<16 | 0");
    check(&[(7, 7, 20, false, true)], "23+4<16 | 0");
    // The thread id is used again.
    check(&[(0, 0, 10, false, false), (0, 0, 5, false, true)], "^0+10<0 ^0+5<0 | 0");
    // Numbers that go back are no order to trust.
    check(&[(0, 0, 30, false, false), (10, 0, 20, false, false)], "gap 30/0 | 4");
    // Nothing at all.
    check(&[(0, 0, 0, false, true)], " | 0");
}

#[test]
fn hostile_numbers_do_not_overflow() {
    let mut cutter = Cutter::default();
    let mut out = Vec::new();
    for (first_sequence, gap, started_ns) in [(u64::MAX, 0, u64::MAX), (0, u64::MAX, 0), (u64::MAX - 3, 9, u64::MAX), (1, 0, 1)] {
        cutter.push(Run { first_sequence, gap, started_ns, calls: &[Token(1); 100], last: false }, &mut out);
    }
    assert!(out.len() >= 4);
}

proptest! {
    /// Without loss, every call is scored exactly once and in order, however the runs were split.
    #[test]
    fn every_call_once(parts in prop::collection::vec((0u64..200, any::<bool>()), 1..20)) {
        let mut cutter = Cutter::default();
        let mut out = Vec::new();
        let mut at = 0;
        for (n, quiet) in parts {
            if quiet {
                out.extend(cutter.flush().map(Cut::Window));
            }
            cutter.push(Run { first_sequence: at, gap: 0, started_ns: 0, calls: &tokens(at..at + n), last: false }, &mut out);
            at += n;
        }
        out.extend(cutter.flush().map(Cut::Window));
        let mut next = 0;
        for cut in out {
            let Cut::Window(w) = cut else { panic!("a gap where there is none") };
            prop_assert_eq!(w.first_sequence, next);
            next += w.calls.len() as u64;
            prop_assert!((1..=CALLS).contains(&w.calls.len()) && w.context.len() <= CONTEXT);
            prop_assert!(w.from_start || w.context.len() == CONTEXT);
            prop_assert_eq!(w.calls, tokens(w.first_sequence..next));
        }
        prop_assert_eq!(next, at);
    }

    /// With losses, no window spans one, and calls are scored or accounted for as not scored.
    #[test]
    fn no_window_spans_a_gap(parts in prop::collection::vec((0u64..200, 0u64..3), 1..20)) {
        let mut cutter = Cutter::default();
        let mut out = Vec::new();
        let (mut at, mut holes) = (0, Vec::new());
        let (mut calls, mut only_context) = (0, 0);
        for (n, gap) in parts {
            at += gap;
            if gap > 0 {
                holes.push(at);
            }
            only_context +=
                cutter.push(Run { first_sequence: at, gap, started_ns: 0, calls: &tokens(at..at + n), last: false }, &mut out);
            at += n;
            calls += n as usize;
        }
        out.extend(cutter.flush().map(Cut::Window));
        let gone: usize = out.iter().map(|cut| match cut {
            Cut::Window(w) => w.calls.len(),
            Cut::Gapped { dropped, .. } => *dropped as usize,
        }).sum();
        prop_assert_eq!(gone + only_context, calls);
        for cut in out {
            if let Cut::Window(w) = cut {
                let from = w.first_sequence - w.context.len() as u64;
                let to = w.first_sequence + w.calls.len() as u64;
                prop_assert!(holes.iter().all(|hole| *hole <= from || *hole >= to));
            }
        }
    }
}
