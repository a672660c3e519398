//! Tests of scores and of what is kept.

use super::*;
use proptest::prelude::*;

#[test]
fn short_windows_are_padded_with_no_surprise() {
    for (calls, each, expect) in [(64, 2.0, 2.0), (16, 2.0, 2.0), (8, 2.0, 1.0), (1, 16.0, 1.0), (0, 0.0, 0.0)] {
        for novelty in [0.0, 0.5] {
            let different: Vec<_> = (0..calls).map(|n| Token(n as u16)).collect();
            let got = window(&vec![each; calls], &different, novelty).nats();
            let novelty = novelty * (calls as f64 / 16.0).min(1.0);
            assert!((got - expect - novelty).abs() < 1e-9, "{calls} calls: {got}");
        }
    }
    assert!(window(&[f32::NAN], &[Token(0)], 0.0).nats().is_infinite());
}

#[test]
fn a_turn_that_comes_again_weighs_less() {
    let tokens = |calls: &[u16]| calls.iter().copied().map(Token).collect::<Vec<_>>();
    let check = |calls: &[u16], expect: &[f64]| assert_eq!(weights(&tokens(calls)), expect, "{calls:?}");
    check(&[], &[]);
    check(&[1, 2, 3, 4], &[1.0, 1.0, 1.0, 1.0]);
    check(&[1, 1, 1, 1, 1], &[1.0, 1.0, 1.0, 0.5, 1.0 / 3.0]);
    check(&[1, 2, 1, 2, 1, 2], &[1.0, 1.0, 1.0, 1.0, 0.5, 0.5]);
    // Twenty surprising calls of their own, hidden among a loop, say as much as without it.
    let (odd, spam): (Vec<u16>, Vec<u16>) = ((10..30).collect(), vec![1; 44]);
    let nll: Vec<f32> = odd.iter().map(|_| 5.0).chain(spam.iter().map(|_| 0.0)).collect();
    let (alone, hidden) = (window(&nll[..20], &tokens(&odd), 0.0), window(&nll, &tokens(&[odd, spam].concat()), 0.0));
    assert!((alone.nats() - 5.0).abs() < 1e-9 && hidden.nats() > 3.5, "{hidden:?}");
    // A loop of surprising calls says little more than some of its turns.
    let spin = window(&[5.0; 64], &tokens(&[7; 64]), 0.0);
    assert!(spin.nats() > 1.5 && spin.nats() < 2.5, "{spin:?}");
}

#[test]
fn the_highest_of_thirty_seconds() {
    let at = Duration::from_millis;
    let mut recent = Recent::default();
    assert_eq!(recent.score(), None);
    for (ms, score) in [(0, 5.0), (100, 1.0), (200, 7.0), (300, 6.0), (20_000, 2.0)] {
        recent.add(at(ms), plain(score), || ms);
    }
    assert_eq!(top(&recent), "7@200 6@300 5@0");
    assert!(!recent.expire(at(30_999)));
    assert_eq!(top(&recent), "7@200 6@300 5@0");
    assert!(recent.expire(at(31_000)));
    assert_eq!(top(&recent), "2@20000");
    recent.expire(at(60_000));
    assert_eq!((recent.score(), recent.kept.capacity()), (None, 0));
}

/// The highest that are kept, as "score@evidence".
fn top(recent: &Recent<u64>) -> String {
    let mut all: Vec<_> = recent.kept().collect();
    all.sort_by(|a, b| b.0.nats().total_cmp(&a.0.nats()));
    all.truncate(EVIDENCE);
    all.iter().map(|(s, e)| format!("{}@{e}", s.nats())).collect::<Vec<_>>().join(" ")
}

/// A window of this score, that is not anomalous and shows nothing telling.
fn plain(score: f64) -> Worth {
    Score::new(score).into()
}

fn kinds(calls: &[&str]) -> Kinds {
    let of = |call: &&str| Kinds::of(surprisal_proto::names::parse(call).expect("a call"));
    calls.iter().map(of).fold(Kinds::default(), Kinds::either)
}

#[test]
fn what_is_anomalous_is_not_crowded_out_by_later_ones() {
    for (anomalous, expect) in [(false, 3), (true, 4)] {
        let mut recent = Recent::default();
        recent.add(Duration::ZERO, Worth { anomalous, ..plain(5.0) }, || 0);
        for second in 1..4 {
            recent.add(Duration::from_secs(second), plain(5.0), || second);
        }
        assert_eq!(recent.kept().count(), expect, "{anomalous}");
    }
}

#[test]
fn what_tells_is_kept_until_the_same_is_told_again() {
    let at = Duration::from_millis;
    let telling = |score, anomalous, calls: &[&str]| Worth { score: Score::new(score), anomalous, kinds: kinds(calls) };
    let mut recent = Recent::default();
    let ids = |recent: &Recent<u64>| recent.kept().map(|(_, id)| *id).filter(|id| *id < 100).collect::<Vec<_>>();
    let high = |recent: &mut Recent<u64>, ms| (0..9).for_each(|n| recent.add(at(ms), plain(9.0 + f64::from(n)), || 100));
    high(&mut recent, 0);
    recent.add(at(100), telling(2.0, true, &["execve", "connect"]), || 1);
    recent.add(at(200), telling(1.0, false, &["execve", "connect"]), || 2);
    high(&mut recent, 300);
    assert_eq!(ids(&recent), [1, 2]);
    // Below the threshold a connection alone is not enough, and what is told anew is told by the latest.
    recent.add(at(400), telling(1.0, false, &["connect"]), || 3);
    recent.add(at(500), telling(1.5, false, &["execve"]), || 4);
    assert_eq!(ids(&recent), [1, 4]);
    recent.add(at(600), telling(2.1, true, &["execve"]), || 5);
    assert_eq!(ids(&recent), [1, 5]);
    recent.add(at(700), telling(2.0, true, &["connect"]), || 6);
    assert_eq!(ids(&recent), [5, 6]);
    recent.expire(at(31_000));
    assert_eq!(ids(&recent), [0; 0]);
}

proptest! {
    #[test]
    fn stays_small_and_keeps_the_highest(windows in prop::collection::vec((0u64..500, 0.0f64..20.0, any::<bool>()), 1..300), rising in any::<bool>()) {
        let mut recent = Recent::default();
        let (mut now, mut all) = (0, Vec::<(u64, f64)>::new());
        for (wait, score, anomalous) in windows {
            now += wait;
            // The worst case for what is kept is a score that falls all the time; the usual one is not.
            let score = if rising { score } else { 1e6 - now as f64 + score / 100.0 };
            all.push((now, score));
            recent.add(Duration::from_millis(now), Worth { anomalous: anomalous && rising, ..plain(score) }, || ());
            prop_assert!(recent.kept.len() <= HIGHEST && recent.seconds.len() <= 31);
            let mut expect: Vec<_> = all.iter().filter(|(at, _)| at / 1000 + 30 >= now / 1000).map(|(_, s)| *s).collect();
            expect.sort_by(|a, b| b.total_cmp(a));
            prop_assert_eq!(recent.score().map(Score::nats), expect.first().copied());
            // What is shown is what is highest.
            let mut kept: Vec<_> = recent.kept().map(|(s, ())| s.nats()).collect();
            kept.sort_by(|a, b| b.total_cmp(a));
            if all.len() < HIGHEST {
                prop_assert_eq!(&kept[..kept.len().min(EVIDENCE)], &expect[..expect.len().min(EVIDENCE)]);
            }
            prop_assert_eq!(kept.first().copied(), expect.first().copied());
        }
    }

    /// Whatever comes, in whatever order: the highest is there, of each kind an anomalous window if there was one, and of those that
    /// change a process any window at all; and it stays small.
    #[test]
    fn every_kind_that_was_shown_is_kept(windows in prop::collection::vec((0u64..1500, 0.0f64..20.0, any::<bool>(), prop::collection::vec(0usize..11, 0..3)), 1..300)) {
        const CALLS: [&str; 11] =
            ["execve", "bpf:6", "ptrace:17", "setuid:1", "mount", "memfd_create:2", "connect", "dup2:2", "openat:15", "clone:1", "kill:10"];
        let mut recent = Recent::default();
        let (mut now, mut all) = (0, Vec::<(u64, Worth)>::new());
        for (wait, score, falling, which) in windows {
            now += wait;
            let score = if falling { 1e6 - now as f64 } else { score };
            let kinds = kinds(&which.into_iter().map(|at| CALLS[at]).collect::<Vec<_>>());
            let worth = Worth { score: Score::new(score), anomalous: score > 10.0, kinds };
            all.push((now, worth));
            recent.add(Duration::from_millis(now), worth, || worth);
            let recently: Vec<_> = all.iter().filter(|(at, _)| at / 1000 + 30 >= now / 1000).map(|(_, w)| *w).collect();
            let union = |windows: &mut dyn Iterator<Item = Worth>| windows.fold(Kinds::default(), |kinds, w| kinds.either(w.kinds));
            let kept = || recent.kept().map(|(_, w)| *w);
            prop_assert!(recent.kept.len() <= KEPT);
            prop_assert_eq!(
                union(&mut kept().filter(|w| w.anomalous)),
                union(&mut recently.iter().copied().filter(|w| w.anomalous))
            );
            let process = |kinds: Kinds| kinds.both(Kinds::PROCESS);
            prop_assert_eq!(process(union(&mut kept())), process(union(&mut recently.iter().copied())));
            let highest = |w: &Worth| w.score.nats().to_bits();
            prop_assert_eq!(kept().map(|w| highest(&w)).max(), recently.iter().map(highest).max());
        }
    }
}
