//! The line between normal and anomalous, drawn from held-out normal windows. *Pure.*
//!
//! In: scores of held-out windows, how many windows a container makes a day, a false-alarm budget.
//! Out: a [`Calibration`]. Never: an attack's score; a threshold is not tuned on what it should find.
//!
//! 1. The budget (false alarms per container-day) over the windows per container-day is the share of normal
//!    windows that may lie above the threshold; 1 minus it is the quantile that is needed.
//! 2. Where at least [`ENOUGH`] held-out windows lie beyond that quantile, it is read off the sample.
//!    Otherwise the sample's upper part is taken as the start of an exponential tail, which is followed
//!    to the quantile; the calibration says that it is `extrapolated`.
//! 3. The threshold is never below the highest score of any normal window at hand, plus a margin. Windows that
//!    were trained on count because what happens once (a start) is in training only, and will happen again;
//!    windows whose context is forgotten count because an agent that is restarted takes up all threads in their
//!    middle, on all nodes. The margin is the surprisal of one call that training never saw, in the shortest window:
//!    a recording of minutes does not show every call that a server makes in a day, and one new call by itself
//!    is no attack.
//! 4. It is never above half the surprisal of a never-seen call: a window half of which training never saw
//!    is always an alarm, whatever a heavy tail says.

use crate::score::Score;
use crate::window::SHORTEST;
use serde::{Deserialize, Serialize};

/// Held-out windows that must lie beyond a quantile for it to be read off the sample.
pub const ENOUGH: f64 = 10.0;
/// Share of the sample that the tail is fitted on, and windows that it needs at least.
const TAIL: f64 = 0.05;
const TAIL_WINDOWS: usize = 10;
/// Quantiles that are kept.
const KEPT: [f64; 10] = [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0];

/// A threshold: nats a call, finite and above 0.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Threshold(f64);

/// Not a threshold.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("a threshold is a finite number of nats above 0, not {0}")]
pub struct NotAThreshold(pub f64);

impl TryFrom<f64> for Threshold {
    type Error = NotAThreshold;
    fn try_from(nats: f64) -> Result<Self, NotAThreshold> {
        if nats.is_finite() && nats > 0.0 { Ok(Self(nats)) } else { Err(NotAThreshold(nats)) }
    }
}

impl From<Threshold> for f64 {
    fn from(t: Threshold) -> f64 {
        t.0
    }
}

impl std::str::FromStr for Threshold {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let nats: f64 = text.parse().map_err(|_source| format!("{text:?} is no number"))?;
        Self::try_from(nats).map_err(|e| e.to_string())
    }
}

impl Threshold {
    /// Nats a call.
    pub fn nats(self) -> f64 {
        self.0
    }
}

/// Where the threshold in force comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Calibrated on held-out windows.
    Quantiles,
    /// Set for the workload.
    Profile,
    /// Set for all workloads.
    Global,
}

impl Source {
    /// As the wire spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quantiles => "quantiles",
            Self::Profile => "profile",
            Self::Global => "global",
        }
    }
}

/// The threshold in force: the workload's own, else the global one, else the calibrated one.
pub fn in_force(own: Option<Threshold>, global: Option<Threshold>, calibrated: Threshold) -> (Threshold, Source) {
    match (own, global) {
        (Some(t), _) => (t, Source::Profile),
        (None, Some(t)) => (t, Source::Global),
        (None, None) => (calibrated, Source::Quantiles),
    }
}

/// A quantile of held-out window scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantile {
    /// 0 to 1.
    pub q: f64,
    /// Nats a call.
    pub score: f64,
}

/// The exponential tail that was followed beyond the sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// Quantile where it begins.
    pub from_q: f64,
    /// Score there, nats a call.
    pub from: f64,
    /// Mean excess over it, nats a call.
    pub mean_excess: f64,
}

/// A threshold, and all that it stands on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Held-out windows.
    pub windows: u64,
    /// Their mean score, nats a call.
    pub mean: f64,
    /// Quantiles of their scores, ascending.
    pub quantiles: Vec<Quantile>,
    /// Windows that one container makes a day, by the recording's rate.
    pub windows_per_container_day: f64,
    /// False alarms per container-day that the threshold stands for.
    pub false_alarm_budget: f64,
    /// The quantile that the budget needs.
    pub needed_quantile: f64,
    /// What was followed beyond the sample; absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
    /// The needed quantile is beyond the sample.
    pub extrapolated: bool,
    /// Highest score of any normal window at hand, nats a call.
    pub highest: f64,
    /// Added to it for the least threshold, nats a call.
    pub margin: f64,
    /// The greatest threshold, nats a call.
    pub ceiling: f64,
    /// The threshold.
    pub threshold: Threshold,
}

/// Why there is no calibration.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum CalibrationError {
    /// There is nothing to calibrate on.
    #[error("no held-out windows to calibrate on")]
    NoWindows,
    /// A parameter is out of range.
    #[error("{what} must be finite and above 0, not {value}")]
    OutOfRange {
        /// Which.
        what: &'static str,
        /// Its value.
        value: f64,
    },
}

/// What a calibration is made for.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Windows that one container makes a day.
    pub windows_per_container_day: f64,
    /// False alarms per container-day.
    pub budget: f64,
    /// Typical surprisal of a call that training never saw, nats.
    pub unseen_nats: f64,
    /// Highest score of normal windows that are not in the sample: trained on, or with their context forgotten.
    pub highest: Score,
}

/// Draws the line. `scores`: held-out windows' scores, each with how often it occurred.
pub fn calibrate(scores: &[(Score, u64)], ask: Ask) -> Result<Calibration, CalibrationError> {
    for (what, value) in [
        ("windows per container-day", ask.windows_per_container_day),
        ("the false-alarm budget", ask.budget),
        ("the surprisal of an unseen call", ask.unseen_nats),
    ] {
        if !(value.is_finite() && value > 0.0) {
            return Err(CalibrationError::OutOfRange { what, value });
        }
    }
    let sample = Sample::new(scores).ok_or(CalibrationError::NoWindows)?;
    let needed = (1.0 - ask.budget / ask.windows_per_container_day).max(0.0);
    let beyond = sample.total as f64 * (1.0 - needed);
    let extrapolated = beyond < ENOUGH;
    let tail = extrapolated.then(|| sample.tail());
    let quantile = match tail {
        None => sample.quantile(needed),
        Some(t) => t.from + t.mean_excess * ((1.0 - t.from_q) / (1.0 - needed)).ln().max(0.0),
    };
    let margin = ask.unseen_nats / SHORTEST as f64;
    let ceiling = ask.unseen_nats / 2.0;
    let highest = sample.max().max(ask.highest.nats());
    let nats = quantile.max(highest + margin).min(ceiling);
    Ok(Calibration {
        windows: sample.total,
        mean: sample.mean(),
        quantiles: KEPT.iter().map(|q| Quantile { q: *q, score: sample.quantile(*q) }).collect(),
        windows_per_container_day: ask.windows_per_container_day,
        false_alarm_budget: ask.budget,
        needed_quantile: needed,
        tail,
        extrapolated,
        // JSON has no infinity.
        highest: highest.min(f64::MAX),
        margin,
        ceiling,
        threshold: Threshold(nats),
    })
}

/// Scores in ascending order, each with how often it and those below it occurred.
struct Sample {
    sorted: Vec<(f64, u64)>,
    total: u64,
}

impl Sample {
    fn new(scores: &[(Score, u64)]) -> Option<Self> {
        let mut sorted: Vec<_> = scores.iter().filter(|(_, n)| *n > 0).map(|(s, n)| (s.nats(), *n)).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut total = 0u64;
        for (_, n) in &mut sorted {
            total = total.saturating_add(*n);
            *n = total;
        }
        (total > 0).then_some(Self { sorted, total })
    }

    /// The least score that at least a share `q` of windows does not exceed.
    fn quantile(&self, q: f64) -> f64 {
        let rank = (q * self.total as f64).ceil().max(1.0) as u64;
        let at = self.sorted.partition_point(|(_, upto)| *upto < rank);
        self.sorted[at.min(self.sorted.len() - 1)].0
    }

    fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    fn counts(&self) -> impl Iterator<Item = (f64, f64)> {
        let before = std::iter::once(0).chain(self.sorted.iter().map(|(_, upto)| *upto));
        self.sorted.iter().zip(before).map(|((score, upto), before)| (*score, (upto - before) as f64))
    }

    fn mean(&self) -> f64 {
        self.counts().map(|(s, n)| s * n).sum::<f64>() / self.total as f64
    }

    /// The upper part's mean excess: the exponential's one parameter (peaks over threshold, shape 0).
    fn tail(&self) -> Tail {
        let share = TAIL.max(TAIL_WINDOWS as f64 / self.total as f64).min(1.0);
        let from_q = 1.0 - share;
        let from = self.quantile(from_q);
        let (sum, n) =
            self.counts().filter(|(s, _)| *s > from).fold((0.0, 0.0), |(sum, n), (s, k)| (sum + (s - from) * k, n + k));
        // Where many windows tie at the tail's start, fewer than `share` lie above it: begin where they do.
        let from_q = if n > 0.0 { 1.0 - n / self.total as f64 } else { from_q };
        Tail { from_q, from, mean_excess: if n > 0.0 { sum / n } else { 0.0 } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UNSEEN: f64 = 12.0;

    fn ask(windows_per_container_day: f64) -> Ask {
        Ask { windows_per_container_day, budget: 1.0, unseen_nats: UNSEEN, highest: Score::new(0.0) }
    }

    fn run(scores: &[f64], day: f64) -> Calibration {
        calibrate(&scores.iter().map(|s| (Score::new(*s), 1)).collect::<Vec<_>>(), ask(day)).expect("a sample")
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    }

    #[test]
    fn reads_the_quantile_off_a_sample_that_suffices() {
        let scores: Vec<_> = (1..=1000).map(|n| f64::from(n) / 1000.0).collect();
        let c = run(&scores, 50.0);
        near(c.needed_quantile, 0.98);
        assert!(!c.extrapolated && c.tail.is_none());
        // The quantile is 0.98; the maximum and the margin lie above it.
        near(c.threshold.nats(), 1.0 + UNSEEN / 16.0);
        near(c.mean, 0.5005);
        near(c.quantiles[3].q, 0.5);
        near(c.quantiles[3].score, 0.5);
    }

    #[test]
    fn follows_the_tail_beyond_it() {
        // An exponential sample with mean 0.2: its quantiles are known, -0.2 ln(1-q).
        let scores: Vec<_> = (0..1000).map(|n| -0.2 * (1.0 - (f64::from(n) + 0.5) / 1000.0).ln()).collect();
        let c = run(&scores, 1e7);
        assert!(c.extrapolated);
        let expect = 0.2 * 1e7f64.ln();
        assert!((c.threshold.nats() - expect).abs() < 0.25 * expect, "{} is far from {expect}", c.threshold.nats());
        assert!(c.threshold.nats() > *scores.last().expect("some") + c.margin);
    }

    #[test]
    fn stays_between_the_maximum_and_the_ceiling() {
        // No tail at all.
        near(run(&[0.1; 100], 1e9).threshold.nats(), 0.1 + UNSEEN / 16.0);
        // A tail without end.
        near(run(&(0..100).map(f64::from).collect::<Vec<_>>(), 1e9).threshold.nats(), UNSEEN / 2.0);
        // A start that was learned less well than the loop.
        let c = calibrate(&[(Score::new(0.1), 100)], Ask { highest: Score::new(2.0), ..ask(1e9) }).expect("a sample");
        near(c.threshold.nats(), 2.0 + UNSEEN / 16.0);
        // One window.
        near(run(&[0.5], 1e9).threshold.nats(), 0.5 + UNSEEN / 16.0);
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        assert_eq!(calibrate(&[], ask(1e6)), Err(CalibrationError::NoWindows));
        assert_eq!(calibrate(&[(Score::new(1.0), 0)], ask(1e6)), Err(CalibrationError::NoWindows));
        for bad in [0.0, -1.0, f64::INFINITY] {
            let what = "windows per container-day";
            assert_eq!(calibrate(&[(Score::new(1.0), 1)], ask(bad)), Err(CalibrationError::OutOfRange { what, value: bad }));
        }
        for bad in ["0", "-1", "NaN", "inf", "x", ""] {
            assert!(bad.parse::<Threshold>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nearest_override_wins() {
        let t = |n: f64| Threshold::try_from(n).expect("positive");
        assert_eq!(in_force(Some(t(1.0)), Some(t(2.0)), t(3.0)), (t(1.0), Source::Profile));
        assert_eq!(in_force(None, Some(t(2.0)), t(3.0)), (t(2.0), Source::Global));
        assert_eq!(in_force(None, None, t(3.0)), (t(3.0), Source::Quantiles));
    }

    proptest! {
        #[test]
        fn counts_stand_for_repetitions(scores in prop::collection::vec((0.0f64..5.0, 1u64..4), 1..50), day in 1.0f64..1e9) {
            let counted: Vec<_> = scores.iter().map(|(s, n)| (Score::new(*s), *n)).collect();
            let repeated: Vec<_> = counted.iter().flat_map(|(s, n)| (0..*n).map(|_| (*s, 1))).collect();
            let (a, b) = (calibrate(&counted, ask(day)).expect("a sample"), calibrate(&repeated, ask(day)).expect("a sample"));
            prop_assert_eq!(a.quantiles, b.quantiles);
            prop_assert!((a.threshold.nats() - b.threshold.nats()).abs() < 1e-9);
        }

        #[test]
        fn always_a_threshold_and_quantiles_ascend(scores in prop::collection::vec(0.0f64..30.0, 1..200), day in 1e-3f64..1e12) {
            let c = run(&scores, day);
            prop_assert!(c.threshold.nats() > 0.0 && c.threshold.nats() <= c.ceiling);
            prop_assert!(c.quantiles.windows(2).all(|w| w[0].score <= w[1].score));
            // A smaller budget never lowers the line.
            prop_assert!(run(&scores, day * 10.0).threshold.nats() >= c.threshold.nats() - 1e-9);
        }
    }
}
