//! Tests of `figures`.

use super::*;
use crate::evaluate::data::Set;
use crate::evaluate::data::tests::{trace, traces};
use crate::evaluate::data::{DataSet, Place};

const OPTIONS: Options = Options { fpr: 0.25, resamples: 100, seed: 1 };

fn said(held_out: &[f64], judged: &[f64]) -> Scores {
    Scores { held_out: held_out.to_vec(), judged: judged.to_vec(), ..Scores::default() }
}

#[test]
fn the_threshold_is_held_out_normals_and_nobody_elses() {
    let train = (0..20).map(|n| trace(Set::NormalTrain, n, None, &[1])).collect();
    let test = vec![
        trace(Set::NormalTest, 1, None, &[1]),
        trace(Set::NormalTest, 2, None, &[1]),
        trace(Set::Attack, 1, Some("a"), &[1]),
        trace(Set::Attack, 2, Some("b"), &[1]),
        trace(Set::Attack, 3, Some("b"), &[1]),
    ];
    let data = traces(train, test);
    let f = normal_only(&data, &said(&[1.0, 2.0, 3.0, 4.0], &[2.0, 3.5, 3.0, 5.0, 6.0]), OPTIONS);
    assert_eq!((f.grain, f.threshold, f.held_out, f.normal, f.attack), ("trace", Some(3.0), 4, 2, 3));
    assert_eq!((f.fpr, f.precision, f.recall, f.accuracy), (Some(0.5), Some(2.0 / 3.0), Some(2.0 / 3.0), Some(0.6)));
    let families: Vec<_> = f.families.iter().map(|(n, f)| (n.as_str(), f.items, f.recall, f.auc)).collect();
    assert_eq!(families, [("a", 1, Some(0.0), Some(0.5)), ("b", 2, Some(1.0), Some(1.0))]);
    assert!(f.detection.is_none() && f.window.is_none());
    // Whatever the attacks score, the threshold stays.
    let other = normal_only(&data, &said(&[1.0, 2.0, 3.0, 4.0], &[9.0, 9.0, 0.0, 0.0, 0.0]), OPTIONS);
    assert_eq!((other.threshold, other.recall, other.fpr), (Some(3.0), Some(0.0), Some(1.0)));
}

fn window(set: Set, container: u32, ms: u64, family: Option<&str>) -> Item {
    let place = Place { recording: u32::from(set != Set::NormalTrain), container, started_ns: ms * 1_000_000 };
    Item { place: Some(place), ..trace(set, 0, family, &[1]) }
}

fn attack(container: Option<u32>, from_ms: u64, to_ms: u64) -> Attack {
    Attack { family: "a".into(), recording: 1, container, span: (from_ms * 1_000_000, to_ms * 1_000_000) }
}

#[test]
fn a_slot_is_a_container_second_and_has_its_highest_score() {
    let items = [
        window(Set::Attack, 0, 1000, None),
        window(Set::Attack, 0, 1900, None),
        window(Set::Attack, 0, 2000, None),
        window(Set::Attack, 1, 1500, None),
        window(Set::Attack, 0, 1100, None),
    ];
    let items: Vec<&Item> = items.iter().collect();
    let shown = |attacks: &[Attack]| {
        let slot = |u: Unit| (u.slot.expect("a slot"), u.score, u.family.is_some(), u.at_ns / 1_000_000);
        slots(&items, &[3.0, 1.0, 2.0, 7.0, 3.0], attacks).into_iter().map(slot).collect::<Vec<_>>()
    };
    let expect = |attacked: [bool; 3]| {
        [((1, 0, 1), 3.0, attacked[0], 1000), ((1, 0, 2), 2.0, attacked[1], 2000), ((1, 1, 1), 7.0, attacked[2], 1500)]
    };
    assert_eq!(shown(&[]), expect([false; 3]));
    // Of milliseconds, in which no window began.
    assert_eq!(shown(&[attack(Some(0), 1950, 1960)]), expect([true, false, false]));
    assert_eq!(shown(&[attack(None, 1950, 2100)]), expect([true; 3]));
    assert_eq!(shown(&[attack(Some(1), 2000, 2100), attack(Some(0), 2900, 3000)]), expect([false, true, false]));
}

#[test]
fn recordings_have_both_grains() {
    let train = [0, 1000, 2000, 8000, 8500, 9000, 10_000].map(|ms| window(Set::NormalTrain, 0, ms, None)).to_vec();
    let test = vec![
        window(Set::NormalTest, 0, 0, None),
        window(Set::NormalTest, 0, 100, None),
        window(Set::Attack, 0, 5000, Some("a")),
        window(Set::Attack, 0, 5100, Some("a")),
    ];
    let attack = Attack { family: "a".into(), recording: 1, container: None, span: (4_000_000_000, 6_000_000_000) };
    let data = DataSet { kind: Kind::Recordings, attacks: vec![attack], normal_container_seconds: 10.0, ..traces(train, test) };
    let f = normal_only(&data, &said(&[1.0, 5.0, 2.0, 3.0], &[1.0, 2.0, 9.0, 0.0]), Options { fpr: 0.34, ..OPTIONS });
    // Held-out slots: 5, 2, 3; windows: 1, 5, 2, 3.
    assert_eq!((f.grain, f.threshold, f.held_out, f.normal, f.attack), ("slot", Some(3.0), 3, 1, 1));
    assert!(!f.held_out_too_few);
    let strict = normal_only(&data, &said(&[1.0, 5.0, 2.0, 3.0], &[1.0, 2.0, 9.0, 0.0]), Options { fpr: 0.01, ..OPTIONS });
    assert_eq!((strict.held_out_too_few, strict.threshold), (true, Some(5.0)));
    assert_eq!((f.auc, f.recall, f.fpr), (Some(1.0), Some(1.0), Some(0.0)));
    assert_eq!(f.detection.as_ref().map(|d| (d.attacks, d.detected)), Some((1, 1)));
    let w = f.window.expect("windows too");
    assert_eq!((w.grain, w.threshold, w.held_out, w.normal, w.attack), ("window", Some(3.0), 4, 2, 2));
    assert_eq!((w.auc, w.recall), (Some(0.5), Some(0.5)));
}

#[test]
fn folds_may_decide_differently() {
    let items = [trace(Set::NormalTest, 1, None, &[1]), trace(Set::Attack, 1, Some("a"), &[1])];
    let items: Vec<&Item> = items.iter().collect();
    for (decisions, threshold, recall) in [(vec![0.5, 0.5], Some(0.5), 1.0), (vec![0.5, 0.8], None, 0.0)] {
        let scores = Scores { judged: vec![0.1, 0.7], decisions, ..Scores::default() };
        let f = labelled_cv(&items, &scores, OPTIONS);
        assert_eq!((f.threshold, f.recall, f.fpr, f.auc, f.held_out), (threshold, Some(recall), Some(0.0), Some(1.0), 0));
    }
}
