//! Tests of which windows are shown.

use super::*;
use crate::detect::evidence::Evidence;
use crate::detect::model::{Encoded, Judged};
use crate::detect::score::{self, EVIDENCE, Recent, Worth};
use crate::detect::vocab::Vocabulary;
use crate::detect::window::{CALLS, Window};
use std::time::Duration;
use surprisal_proto::names;

/// Windows as (score, telling calls, process, thread), the threshold 2; shows those that are chosen as "process+thread=score".
fn check(windows: &[(f64, &str, &str, u32)], expect: &str) {
    let windows = windows.iter().map(|w| (Score::new(w.0), *w)).collect();
    let taken = choose(windows, Threshold::try_from(2.0).expect("positive"), 3, |(_, calls, process, tid)| {
        let of = |call| Kinds::of(names::parse(call).expect("a call"));
        (calls.split_whitespace().map(of).fold(Kinds::default(), Kinds::either), *process, *tid)
    });
    let shown = taken.iter().map(|(score, (_, _, process, tid))| format!("{process}{tid}={}", score.nats()));
    assert_eq!(shown.collect::<Vec<_>>().join(" "), expect);
}

#[test]
fn windows_of_other_processes_and_threads_come_first_where_scores_are_close() {
    // The same thread three times, another thread, another process.
    let sh = |score| (score, "", "sh", 1);
    check(&[sh(9.0), sh(8.0), sh(7.0), (6.0, "", "sh", 2), (5.0, "", "cat", 3)], "sh1=9 sh2=6 cat3=5");
    // What scores less than half is not close: then the score alone counts.
    check(&[sh(9.0), sh(8.0), sh(7.0), (4.4, "", "cat", 3)], "sh1=9 sh1=8 sh1=7");
    check(&[sh(1.0), sh(0.2), (0.4, "", "cat", 3)], "sh1=1 cat3=0.4 sh1=0.2");
    check(&[sh(f64::NAN), sh(2.0)], "sh1=inf sh1=2");
    check(&[], "");
}

#[test]
fn the_most_telling_calls_of_all_windows_are_shown_and_come_first() {
    let plain = |score| (score, "", "spin", 1);
    // Barely above the threshold, among plain windows that score more.
    check(&[plain(9.0), plain(8.0), plain(7.0), (2.0, "execve", "sh", 2)], "sh2=2 spin1=9 spin1=8");
    // The most telling ones, each of another kind.
    check(
        &[plain(9.0), (5.0, "kill:10", "a", 2), (4.0, "connect", "b", 3), (3.0, "connect", "c", 4), (2.5, "setuid:1", "d", 5)],
        "d5=2.5 b3=4 spin1=9",
    );
    // What the highest shows need not be shown again: another process comes next.
    let sh = |score| (score, "execve", "sh", 1);
    check(&[sh(9.0), sh(8.0), sh(7.0), (6.0, "", "cat", 2)], "sh1=9 sh1=8 cat2=6");
    check(&[(9.0, "execve", "sh", 1), (3.0, "execve connect", "sh", 1)], "sh1=9 sh1=3");
}

#[test]
fn below_the_threshold_only_what_changes_a_process_counts() {
    let plain = |score| (score, "", "spin", 1);
    check(&[plain(9.0), plain(8.0), plain(7.0), (0.5, "execve", "sh", 2)], "sh2=0.5 spin1=9 spin1=8");
    check(&[plain(9.0), plain(8.0), plain(7.0), (0.5, "connect", "sh", 2)], "spin1=9 spin1=8 spin1=7");
    // One above goes before one below, however high.
    check(&[plain(9.0), (1.9, "execve", "sh", 2), (2.0, "execve", "sh", 3)], "sh3=2 sh2=1.9 spin1=9");
    // And a more telling one before one above.
    check(&[(9.0, "connect", "nc", 1), (1.0, "execve", "sh", 2)], "sh2=1 nc1=9");
}

/// A window of these never-seen calls, each of so many nats.
fn window(calls: &[String], nats: f32) -> Evidence {
    let calls: Vec<_> = calls.iter().map(|name| names::parse(name).expect("a call")).collect();
    let vocabulary = Vocabulary::new([]);
    let window = Window { first_sequence: 0, started_ns: 0, from_start: true, context: vec![], calls };
    let judged = Judged { nll: vec![nats; window.calls.len()], top: Vec::new() };
    let score = score::window(&judged.nll, &window.calls, 0.0);
    Evidence::of(&window, &Encoded::new(&window, &vocabulary), &judged, (score, 0.0), &vocabulary)
}

/// Adds these windows, each `apart` from the one before; says which call comes first in what is shown, and the window's score.
fn alarm(windows: &[&Evidence], apart: Duration) -> (String, f64) {
    let threshold = Threshold::try_from(4.0).expect("positive");
    let mut recent = Recent::default();
    for (n, window) in windows.iter().enumerate() {
        let worth = Worth { score: window.score, anomalous: window.score.nats() >= 4.0, kinds: window.kinds() };
        recent.add(apart * n as u32, worth, || *window);
    }
    let shown = choose(recent.kept().collect(), threshold, EVIDENCE, |e| (e.kinds(), "p", 1));
    let highest = windows.iter().map(|w| w.score.nats()).fold(0.0, f64::max);
    assert!(shown.iter().any(|(score, _)| score.nats() >= highest), "{shown:?}");
    let (score, first) = &shown[0];
    (first.to_proto().surprises[0].call.clone(), score.nats())
}

/// Of calls that change nothing: different ones, so that none weighs less than another.
fn plain(nats: f32) -> Evidence {
    let calls: Vec<_> = (1..=CALLS).map(|n| format!("syscall_{}", 470 + n)).collect();
    window(&calls, nats)
}

#[test]
fn a_planted_execve_comes_first_whenever_it_came() {
    let padded = |n: usize, nats| {
        let calls: Vec<_> = (1..n).map(|n| format!("kill:{n}")).chain(["execve".to_owned()]).collect();
        window(&calls, nats)
    };
    // A shell's first window, barely above the threshold; and one that was over so soon that its window stays below it.
    for (planted, above) in [(padded(CALLS, 4.1), true), (padded(5, 8.0), false)] {
        assert_eq!(planted.score.nats() >= 4.0, above, "{:?}", planted.score);
        let others: Vec<_> = (0..60).map(|n| plain(6.0 + (n * 37 % 60) as f32 / 10.0)).collect();
        for at in 0..=others.len() {
            for apart in [0, 40, 400] {
                let mut windows: Vec<&Evidence> = others.iter().collect();
                windows.insert(at, &planted);
                assert_eq!(
                    alarm(&windows, Duration::from_millis(apart)),
                    ("execve".to_owned(), planted.score.nats()),
                    "{at} {apart}"
                );
            }
        }
    }
}

#[test]
fn and_in_every_order_of_a_few() {
    let mut windows = [plain(9.0), plain(8.0), plain(7.0), window(&["execve".to_owned()], 13.0), plain(6.0), plain(5.0)];
    let mut orders = 0;
    permute(&mut windows, 0, &mut |windows| {
        orders += 1;
        let order: Vec<&Evidence> = windows.iter().collect();
        for apart in [0, 400] {
            assert_eq!(alarm(&order, Duration::from_millis(apart)).0, "execve");
        }
    });
    assert_eq!(orders, 720);
}

fn permute<T>(items: &mut [T], from: usize, each: &mut dyn FnMut(&[T])) {
    if from == items.len() {
        return each(items);
    }
    for at in from..items.len() {
        items.swap(from, at);
        permute(items, from + 1, each);
        items.swap(from, at);
    }
}
