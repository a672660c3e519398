//! From scores of items to the figures of one method. *Pure.*
//!
//! In: items with their scores. Out: [`Figures`], at each grain. Never: a threshold that an attack or a judged item had a
//! say in.
//!
//! A *grain* is what is counted: `trace` for data sets of traces; for recordings `slot` (one second of one container, whose
//! score is its windows' highest, and which is an attack's if that went on in some part of it) and `window`. A server's
//! attack is a few windows among thousands of its normal load, so for recordings the slot is what a method is judged by.

use crate::evaluate::data::{Attack, DataSet, Item, Kind};
use crate::evaluate::lidds::{self, Detection};
use crate::evaluate::metrics::{self, Confusion};
use crate::evaluate::protocol::Scores;
use crate::evaluate::unit::{Unit, each, slots};
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
mod tests;
