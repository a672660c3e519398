//! Tests of `score`.

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
        recent.add(at(ms), Score::new(score), false, || ms);
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

#[test]
fn what_is_lasting_is_not_crowded_out_by_later_ones() {
    for (lasting, expect) in [(false, 3), (true, 4)] {
        let mut recent = Recent::default();
        recent.add(Duration::ZERO, Score::new(5.0), lasting, || 0);
        for second in 1..4 {
            recent.add(Duration::from_secs(second), Score::new(5.0), false, || second);
        }
        assert_eq!(recent.kept().count(), expect, "{lasting}");
    }
}

proptest! {
    #[test]
    fn stays_small_and_keeps_the_highest(windows in prop::collection::vec((0u64..500, 0.0f64..20.0, any::<bool>()), 1..300), rising in any::<bool>()) {
        let mut recent = Recent::default();
        let (mut now, mut all) = (0, Vec::<(u64, f64)>::new());
        for (wait, score, lasting) in windows {
            now += wait;
            // The worst case for what is kept is a score that falls all the time; the usual one is not.
            let score = if rising { score } else { 1e6 - now as f64 + score / 100.0 };
            all.push((now, score));
            recent.add(Duration::from_millis(now), Score::new(score), lasting && rising, || ());
            prop_assert!(recent.kept.len() <= KEPT && recent.seconds.len() <= 31);
            let mut expect: Vec<_> = all.iter().filter(|(at, _)| at / 1000 + 30 >= now / 1000).map(|(_, s)| *s).collect();
            expect.sort_by(|a, b| b.total_cmp(a));
            prop_assert_eq!(recent.score().map(Score::nats), expect.first().copied());
            // What is shown is what is highest.
            let mut kept: Vec<_> = recent.kept().map(|(s, ())| s.nats()).collect();
            kept.sort_by(|a, b| b.total_cmp(a));
            if all.len() < KEPT {
                prop_assert_eq!(&kept[..kept.len().min(EVIDENCE)], &expect[..expect.len().min(EVIDENCE)]);
            }
            prop_assert_eq!(kept.first().copied(), expect.first().copied());
        }
    }
}
