//! How often there would be a false alarm in a day, from minutes in which there was none or a few. *Pure.*
//!
//! In: what was said of each server in normal time. Out: a [`Rate`]. Never: a bare 0: what was not seen in minutes has a bound.
//!
//! Two answers, for what they are worth:
//! 1. *As they came*: alarms over container-time, with the one-sided upper 95 % bound of a Poisson mean (3.0 for none).
//! 2. *By the tail*: a container's score, looked at every 30 s, is the highest of 30 s; maxima follow a Gumbel distribution
//!    where single scores have an exponential tail. It is fitted by moments for each server, and asked how often its threshold
//!    is passed. Gumbel, *Statistics of Extremes* (1958), chapters 5 and 6.

use crate::experiment::poisson;
use surprisal_e2e::attacks::range::{LOOK, Normal};

/// Maxima that a fit needs at least.
const ENOUGH: usize = 3;
const EULER: f64 = 0.577_215_664_901_532_9;

/// False alarms a container-day.
pub(super) struct Rate {
    /// Seen.
    pub(super) alarms: u32,
    /// Container-hours in which they were.
    pub(super) hours: f64,
    /// By the tails of the servers' scores; none: too few of them.
    pub(super) by_tail: Option<f64>,
}

impl Rate {
    pub(super) fn of(normal: &[Normal]) -> Self {
        let seconds: f64 = normal.iter().map(|n| n.time.as_secs_f64()).sum();
        let tails: Vec<_> = normal.iter().filter_map(|n| beyond(&n.maxima, n.threshold)).collect();
        let looks = 86_400.0 / LOOK.as_secs_f64();
        let by_tail = (!tails.is_empty()).then(|| looks * tails.iter().sum::<f64>() / tails.len() as f64);
        Self { alarms: normal.iter().map(|n| n.alarms).sum(), hours: seconds / 3600.0, by_tail }
    }

    /// Alarms seen over the time that was watched, with no assumption but that the rest of the day is like it.
    pub(super) fn per_day(&self) -> f64 {
        f64::from(self.alarms) / self.hours * 24.0
    }

    /// The rate that would show so few alarms in one of twenty such experiments.
    pub(super) fn upper(&self) -> f64 {
        poisson::upper(self.alarms) / self.hours * 24.0
    }

    pub(super) fn words(&self) -> String {
        let tail = self.by_tail.map_or("too little was seen for the tail of the scores".to_owned(), |rate| {
            format!("{rate:.2} a container-day by a Gumbel tail of the scores, seen every {} s", LOOK.as_secs())
        });
        format!(
            "{} false alarms in {:.3} container-hours: {:.1} a container-day as they came, at most {:.0} with 95 % confidence (Poisson); {tail}.",
            self.alarms,
            self.hours,
            self.per_day(),
            self.upper()
        )
    }
}

/// Share of maxima beyond `threshold`, by a Gumbel distribution with the mean and deviation of `maxima`.
fn beyond(maxima: &[f64], threshold: f64) -> Option<f64> {
    if maxima.len() < ENOUGH {
        return None;
    }
    let n = maxima.len() as f64;
    let mean = maxima.iter().sum::<f64>() / n;
    let variance = maxima.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / (n - 1.0);
    // Scores that are all the same have no tail.
    let scale = (variance.sqrt() * 6f64.sqrt() / std::f64::consts::PI).max(1e-6);
    let location = mean - EULER * scale;
    Some(-(-(-(threshold - location) / scale).exp()).exp_m1())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_tail_of_maxima() {
        assert_eq!(beyond(&[1.0, 2.0], 3.0), None);
        // Mean 2, deviation 1: scale 0.779697, location 1.549946.
        let share = |threshold| beyond(&[1.0, 2.0, 3.0], threshold).expect("three maxima");
        for (threshold, expect) in [(1.549_946, 0.632_121), (5.0, 0.011_906), (9.0, 7.08e-5)] {
            assert!((share(threshold) / expect - 1.0).abs() < 2e-3, "{threshold}: {}", share(threshold));
        }
        assert!(beyond(&[1.0; 9], 2.0).is_some_and(|share| share < 1e-9));
    }

    #[test]
    fn what_was_not_seen_has_a_bound() {
        let normal = Normal {
            server: "redis".to_owned(),
            time: Duration::from_hours(12),
            alarms: 0,
            highest: 1.0,
            highest_call: String::new(),
            threshold: 2.0,
            maxima: Vec::new(),
        };
        let rate = Rate::of(&[normal.clone(), normal]);
        assert!((rate.upper() - 2.995_732).abs() < 1e-5 && rate.per_day() == 0.0 && rate.by_tail.is_none());
    }
}
