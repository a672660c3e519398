//! Held-out scores, and what is read off them. *Pure.*
//!
//! In: scores of windows, stretch by stretch. Out: quantiles, and the tail above them. Never: a threshold.
//!
//! Own code: a quantile here is a score that occurred, the least that a share does not exceed. `hdrhistogram` puts values into
//! buckets, `statrs` interpolates: either would move thresholds.

use crate::detect::score::Score;
use crate::judge::calibration::tail::Tail;

/// Share of the sample that the tail is fitted on, and windows that it needs at least.
const TAIL: f64 = 0.05;
const TAIL_WINDOWS: f64 = 10.0;

/// Scores in ascending order; at least one.
pub(super) struct Sample {
    pub(super) sorted: Vec<f64>,
}

impl Sample {
    pub(super) fn new(stretches: &[Vec<Score>]) -> Option<Self> {
        let mut sorted: Vec<_> = stretches.iter().flatten().map(|s| s.nats()).collect();
        sorted.sort_by(f64::total_cmp);
        (!sorted.is_empty()).then_some(Self { sorted })
    }

    pub(super) fn len(&self) -> f64 {
        self.sorted.len() as f64
    }

    /// The least score that at least a share `q` of windows does not exceed.
    pub(super) fn quantile(&self, q: f64) -> f64 {
        let rank = (q * self.len()).ceil().max(1.0) as usize;
        self.sorted[rank.min(self.sorted.len()) - 1]
    }

    pub(super) fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    pub(super) fn mean(&self) -> f64 {
        self.sorted.iter().sum::<f64>() / self.len()
    }

    /// Windows at or above a score.
    pub(super) fn above(&self, nats: f64) -> f64 {
        (self.sorted.len() - self.sorted.partition_point(|s| *s < nats)) as f64
    }

    /// Where the tail begins, (quantile, score): at the sample's upper part, or where ties end there.
    pub(super) fn start_of_tail(&self) -> (f64, f64) {
        let share = TAIL.max(TAIL_WINDOWS / self.len()).min(1.0);
        let from = self.quantile(1.0 - share);
        let above = self.above(from.next_up());
        (if above > 0.0 { 1.0 - above / self.len() } else { 1.0 - share }, from)
    }

    pub(super) fn tail(&self, from_q: f64, from: f64, index: f64, to_q: f64) -> Tail {
        let mut excesses: Vec<_> =
            self.sorted.iter().rev().take_while(|s| **s > from).map(|s| s - from).filter(|e| e.is_finite()).collect();
        let clusters = excesses.len() as f64 * index;
        let tail = Tail::fit(from_q, from, &mut excesses, clusters);
        let standard_error = tail.error((1.0 - to_q) / (1.0 - from_q), clusters);
        Tail { standard_error, ..tail }
    }
}
