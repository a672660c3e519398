//! From scores of items to the figures of one method. *Pure.*
//!
//! In: items with their scores. Out: [`Figures`], at each grain. Never: a threshold that an attack or a judged item had a
//! say in.
//!
//! A *grain* is what is counted: `trace` for data sets of traces; for recordings `slot` (one second of one container, whose
//! score is its windows' highest, and which is an attack's if that went on in some part of it) and `window`. A server's
//! attack is a few windows among thousands of its normal load, so for recordings the slot is what a method is judged by.

use super::data::{Attack, DataSet, Item, Kind};
use super::lidds::{self, Detection};
use super::metrics::{self, Confusion};
use super::protocol::Scores;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How figures are made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Share of held-out normal items that may lie above the threshold.
    pub fpr: f64,
    /// Resamples of the AUC's interval.
    pub resamples: u32,
    /// Seed of the resamples.
    pub seed: u64,
}

/// What is counted as one.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Its score.
    pub score: f64,
    /// What attack it is; `None`: normal.
    pub family: Option<Arc<str>>,
    /// Recording, container and second; `None` for traces and windows.
    pub slot: Option<(u32, u32, u64)>,
    /// When the first of its windows that has its score began, nanoseconds since the Unix epoch; 0 for traces.
    pub at_ns: u64,
}

/// What is said of one attack family.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Family {
    /// Its items.
    pub items: u64,
    /// Share of them that is flagged.
    pub recall: Option<f64>,
    /// AUC of its items against all judged normal ones.
    pub auc: Option<f64>,
}

/// The figures of one method in one protocol at one grain. Rates are shares of 1; what is not defined is `null`.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// What is counted.
    pub grain: &'static str,
    /// Normal items judged.
    pub normal: u64,
    /// Attack items judged.
    pub attack: u64,
    /// Area under the ROC.
    pub auc: Option<f64>,
    /// Its 95 % bootstrap interval.
    pub auc_interval: Option<[f64; 2]>,
    /// Highest detection at a false positive rate of at most 0.1 %.
    #[serde(rename = "tpr_at_fpr_0.001")]
    pub tpr_at_fpr_0_001: Option<f64>,
    /// At most 1 %.
    #[serde(rename = "tpr_at_fpr_0.01")]
    pub tpr_at_fpr_0_01: Option<f64>,
    /// At most 5 %.
    #[serde(rename = "tpr_at_fpr_0.05")]
    pub tpr_at_fpr_0_05: Option<f64>,
    /// An item is flagged where its score lies above this; `null` where folds have different ones.
    pub threshold: Option<f64>,
    /// Held-out normal items that the threshold was chosen on; 0: it is the method's own.
    pub held_out: u64,
    /// They are too few for the share that may lie above: the threshold is the highest of them, and promises nothing.
    pub held_out_too_few: bool,
    /// At the threshold.
    pub fpr: Option<f64>,
    /// At the threshold.
    pub precision: Option<f64>,
    /// At the threshold.
    pub recall: Option<f64>,
    /// At the threshold.
    pub accuracy: Option<f64>,
    /// At the threshold.
    pub f1: Option<f64>,
    /// At the threshold.
    pub confusion: Confusion,
    /// By attack family.
    pub families: BTreeMap<String, Family>,
    /// Attacks found, false alarms and times; only of slots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detection: Option<Detection>,
    /// The same for windows; only beside slots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Box<Figures>>,
}

/// From items and their scores to units.
type Join = fn(&[&Item], &[f64], &[Attack]) -> Vec<Unit>;

/// Each item by itself.
pub fn each(items: &[&Item], scores: &[f64], _: &[Attack]) -> Vec<Unit> {
    let unit = |(item, score): (&&Item, &f64)| Unit {
        score: *score,
        family: item.family.clone(),
        slot: None,
        at_ns: item.place.map_or(0, |p| p.started_ns),
    };
    items.iter().zip(scores).map(unit).collect()
}

/// Windows joined to slots, in the order of recording, container and second. Items without a place are left out.
pub fn slots(items: &[&Item], scores: &[f64], attacks: &[Attack]) -> Vec<Unit> {
    let mut slots: BTreeMap<(u32, u32, u64), (f64, u64)> = BTreeMap::new();
    for (item, score) in items.iter().zip(scores) {
        let Some(place) = item.place else { continue };
        let key = (place.recording, place.container, place.started_ns / 1_000_000_000);
        let highest = slots.entry(key).or_insert((*score, place.started_ns));
        if (*score, highest.1) > (highest.0, place.started_ns) {
            *highest = (*score, place.started_ns);
        }
    }
    let unit = |(key, (score, at_ns)): ((u32, u32, u64), (f64, u64))| {
        let (recording, container, second) = key;
        let attack = attacks.iter().find(|a| a.in_second(recording, container, second));
        Unit { score, family: attack.map(|a| a.family.clone()), slot: Some(key), at_ns }
    };
    slots.into_iter().map(unit).collect()
}

/// What decides at one grain.
enum Rule<'a> {
    /// One threshold, chosen on this many held-out units.
    Threshold(Option<f64>, u64),
    /// For each unit its own.
    Decisions(&'a [f64]),
}

fn at_grain(grain: &'static str, units: &[Unit], rule: &Rule<'_>, options: Options) -> Figures {
    let limit = |n: usize| match rule {
        Rule::Threshold(t, _) => *t,
        Rule::Decisions(d) => d.get(n).copied(),
    };
    let flagged: Vec<bool> = units.iter().enumerate().map(|(n, u)| limit(n).is_some_and(|t| u.score > t)).collect();
    let scores = |attack: bool| units.iter().filter(|u| u.family.is_some() == attack).map(|u| u.score).collect::<Vec<_>>();
    let (normal, attack) = (scores(false), scores(true));
    let roc = metrics::roc(&normal, &attack);
    let confusion = Confusion::count(units.iter().zip(&flagged).map(|(u, f)| (u.family.is_some(), *f)));
    let threshold = match rule {
        Rule::Threshold(t, _) => *t,
        Rule::Decisions(d) => d.first().copied().filter(|first| d.iter().all(|t| t.total_cmp(first).is_eq())),
    };
    let mut members: BTreeMap<Arc<str>, (Vec<f64>, u64)> = BTreeMap::new();
    for (unit, flagged) in units.iter().zip(&flagged) {
        if let Some(family) = &unit.family {
            let (scores, found) = members.entry(family.clone()).or_default();
            scores.push(unit.score);
            *found += u64::from(*flagged);
        }
    }
    let family = |(scores, found): (Vec<f64>, u64)| Family {
        items: scores.len() as u64,
        recall: Some(found as f64 / scores.len() as f64),
        auc: metrics::auc(&normal, &scores),
    };
    let held_out = if let Rule::Threshold(_, n) = rule { *n } else { 0 };
    Figures {
        grain,
        normal: normal.len() as u64,
        attack: attack.len() as u64,
        auc: metrics::auc(&normal, &attack),
        auc_interval: metrics::auc_interval(&normal, &attack, options.resamples, options.seed),
        tpr_at_fpr_0_001: metrics::tpr_at(&roc, 0.001),
        tpr_at_fpr_0_01: metrics::tpr_at(&roc, 0.01),
        tpr_at_fpr_0_05: metrics::tpr_at(&roc, 0.05),
        threshold,
        held_out,
        held_out_too_few: matches!(rule, Rule::Threshold(..)) && held_out as f64 * options.fpr + 1e-9 < 1.0,
        fpr: confusion.fpr(),
        precision: confusion.precision(),
        recall: confusion.recall(),
        accuracy: confusion.accuracy(),
        f1: confusion.f1(),
        confusion,
        families: members.into_iter().map(|(name, m)| (name.to_string(), family(m))).collect(),
        detection: None,
        window: None,
    }
}

/// Figures of the normal-only protocol.
pub fn normal_only(data: &DataSet, scores: &Scores, options: Options) -> Figures {
    let out = data.held_out();
    let held: Vec<&Item> = data.train.iter().zip(out).filter(|(_, held)| *held).map(|(i, _)| i).collect();
    let judged: Vec<&Item> = data.test.iter().collect();
    let grain = |name, units: Join| {
        let normal: Vec<f64> = units(&held, &scores.held_out, &[]).iter().map(|u| u.score).collect();
        let rule = Rule::Threshold(metrics::threshold(&normal, options.fpr), normal.len() as u64);
        let units = units(&judged, &scores.judged, &data.attacks);
        (at_grain(name, &units, &rule, options), units)
    };
    match data.kind {
        Kind::Traces => grain("trace", each).0,
        Kind::Recordings => {
            let (mut figures, units) = grain("slot", slots);
            figures.detection = detection(&units, &data.attacks, figures.threshold, data.normal_container_seconds);
            figures.window = Some(Box::new(grain("window", each).0));
            figures
        }
    }
}

fn detection(units: &[Unit], attacks: &[Attack], threshold: Option<f64>, seconds: f64) -> Option<Detection> {
    Some(lidds::detection(units, attacks, threshold?, seconds))
}

/// Figures of the labelled, cross-validated protocol.
pub fn labelled_cv(items: &[&Item], scores: &Scores, options: Options) -> Figures {
    at_grain("trace", &each(items, &scores.judged, &[]), &Rule::Decisions(&scores.decisions), options)
}

#[cfg(test)]
mod tests {
    use super::super::data::Set;
    use super::super::data::tests::{trace, traces};
    use super::super::data::{DataSet, Place};
    use super::*;

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
        let data =
            DataSet { kind: Kind::Recordings, attacks: vec![attack], normal_container_seconds: 10.0, ..traces(train, test) };
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
}
