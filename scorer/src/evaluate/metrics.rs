//! Figures of merit for scores. *Pure.*
//!
//! In: scores of normal and of attack items, higher is stranger. Out: ROC, AUC with an interval, detection at
//! a false positive rate, a confusion matrix. Never: a choice of threshold ([`threshold`] is given normal scores only).
//!
//! Quantiles are own code, a line each: they must be exact (`hdrhistogram` puts values into buckets) and as numpy has them (`statrs`
//! interpolates otherwise).
//!
//! An item is *flagged* where its score lies above the threshold, never where it equals it: methods that count
//! unseen things give many items the same score, and the threshold must be able to lie beyond all of them.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::Serialize;

/// What a threshold does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// Attack items flagged.
    pub true_positives: u64,
    /// Normal items flagged.
    pub false_positives: u64,
    /// Normal items not flagged.
    pub true_negatives: u64,
    /// Attack items not flagged.
    pub false_negatives: u64,
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl Confusion {
    /// Counts items, each (attack, flagged).
    pub fn count(items: impl IntoIterator<Item = (bool, bool)>) -> Self {
        let mut c = Self::default();
        for (attack, flagged) in items {
            *match (attack, flagged) {
                (true, true) => &mut c.true_positives,
                (false, true) => &mut c.false_positives,
                (false, false) => &mut c.true_negatives,
                (true, false) => &mut c.false_negatives,
            } += 1;
        }
        c
    }

    /// Share of normal items that are flagged; `None` without normal items.
    pub fn fpr(&self) -> Option<f64> {
        ratio(self.false_positives, self.false_positives + self.true_negatives)
    }

    /// Share of flagged items that are attacks; `None` where nothing is flagged.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.true_positives, self.true_positives + self.false_positives)
    }

    /// Share of attack items that are flagged; `None` without attack items.
    pub fn recall(&self) -> Option<f64> {
        ratio(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// Share of items that are flagged if and only if they are attacks.
    pub fn accuracy(&self) -> Option<f64> {
        let right = self.true_positives + self.true_negatives;
        ratio(right, right + self.false_positives + self.false_negatives)
    }

    /// Harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN).
    pub fn f1(&self) -> Option<f64> {
        ratio(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)
    }
}

/// A point of a ROC: what is flagged by "score ≥ `from`", equal scores together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Least score flagged; infinite for the first point, which flags nothing.
    pub from: f64,
    /// False positive rate.
    pub fpr: f64,
    /// True positive rate.
    pub tpr: f64,
}

/// Distinct scores from high to low, each with how many normal and attack items have it.
fn steps(normal: &[f64], attack: &[f64]) -> Vec<(f64, u64, u64)> {
    let mut all: Vec<_> = normal.iter().map(|s| (*s, false)).chain(attack.iter().map(|s| (*s, true))).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut steps: Vec<(f64, u64, u64)> = Vec::new();
    for (score, attack) in all {
        match steps.last_mut() {
            // Equal, as they are sorted; 0 and -0 are.
            Some(last) if last.0 <= score => {}
            _ => steps.push((score, 0, 0)),
        }
        if let Some(last) = steps.last_mut() {
            last.1 += u64::from(!attack);
            last.2 += u64::from(attack);
        }
    }
    steps
}

/// The ROC, from (0, 0) to (1, 1), one point for each distinct score. Empty without normal or without attack items.
pub fn roc(normal: &[f64], attack: &[f64]) -> Vec<Point> {
    if normal.is_empty() || attack.is_empty() {
        return Vec::new();
    }
    let mut points = vec![Point { from: f64::INFINITY, fpr: 0.0, tpr: 0.0 }];
    let (mut fp, mut tp) = (0, 0);
    for (from, n, a) in steps(normal, attack) {
        fp += n;
        tp += a;
        points.push(Point { from, fpr: fp as f64 / normal.len() as f64, tpr: tp as f64 / attack.len() as f64 });
    }
    points
}

/// The highest true positive rate of a ROC's points whose false positive rate does not exceed `fpr`; nothing is
/// interpolated. `None` for an empty ROC.
pub fn tpr_at(roc: &[Point], fpr: f64) -> Option<f64> {
    roc.iter().take_while(|p| p.fpr <= fpr).last().map(|p| p.tpr)
}

/// Pairs (normal, attack) in which the attack's score is higher, ties counted half; doubled, so that it is whole.
fn wins(steps: impl Iterator<Item = (u64, u64)>) -> u64 {
    let (mut attacks_above, mut wins) = (0, 0);
    for (normal, attack) in steps {
        wins += normal * (2 * attacks_above + attack);
        attacks_above += attack;
    }
    wins
}

/// Area under the ROC, as the Mann-Whitney statistic: the share of pairs (normal, attack) in which the attack's
/// score is higher, ties counted half. `None` without normal or without attack items.
pub fn auc(normal: &[f64], attack: &[f64]) -> Option<f64> {
    let pairs = 2 * normal.len() as u64 * attack.len() as u64;
    ratio(wins(steps(normal, attack).into_iter().map(|(_, n, a)| (n, a))), pairs)
}

/// 95 % percentile interval of the AUC: normal and attack items are drawn anew, with replacement and each kind by
/// itself, `resamples` times (stratified bootstrap). It takes items as independent; windows of one
/// recording are not, so that for them it is too narrow. `None` where there is no AUC, or no resample.
pub fn auc_interval(normal: &[f64], attack: &[f64], resamples: u32, seed: u64) -> Option<[f64; 2]> {
    if normal.is_empty() || attack.is_empty() || resamples == 0 {
        return None;
    }
    let steps = steps(normal, attack);
    // The step of every item, so that a resample is a histogram over steps and needs no sorting.
    let place = |score: f64| steps.partition_point(|s| s.0 > score);
    let (normal, attack): (Vec<usize>, Vec<usize>) =
        (normal.iter().map(|s| place(*s)).collect(), attack.iter().map(|s| place(*s)).collect());
    let mut rng = StdRng::seed_from_u64(seed);
    let mut counts = vec![(0u64, 0u64); steps.len()];
    let pairs = 2.0 * normal.len() as f64 * attack.len() as f64;
    let mut aucs: Vec<f64> = (0..resamples)
        .map(|_| {
            counts.fill((0, 0));
            for _ in 0..normal.len() {
                counts[normal[rng.random_range(0..normal.len())]].0 += 1;
            }
            for _ in 0..attack.len() {
                counts[attack[rng.random_range(0..attack.len())]].1 += 1;
            }
            wins(counts.iter().copied()) as f64 / pairs
        })
        .collect();
    aucs.sort_by(f64::total_cmp);
    Some([quantile(&aucs, 0.025), quantile(&aucs, 0.975)])
}

/// A quantile of sorted values, interpolated between neighbours as `numpy.quantile` does by default.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (low, share) = (at.floor() as usize, at.fract());
    match sorted.get(low + 1) {
        Some(high) if share > 0.0 => sorted[low] + share * (high - sorted[low]),
        _ => sorted[low],
    }
}

/// The least of these normal scores above which no more than the share `fpr` of them lies; `None` without scores.
pub fn threshold(normal: &[f64], fpr: f64) -> Option<f64> {
    let mut scores = normal.to_vec();
    scores.sort_by(|a, b| b.total_cmp(a));
    // A share of n that is whole in decimal must not become one less in binary.
    let may_lie_above = (fpr * scores.len() as f64 + 1e-9).floor() as usize;
    scores.get(may_lie_above.min(scores.len().saturating_sub(1))).copied()
}

#[cfg(test)]
mod tests;
