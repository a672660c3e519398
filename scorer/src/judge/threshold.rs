//! The line between normal and anomalous, drawn from held-out normal windows. *Pure.*
//!
//! In: scores of held-out windows, stretch by stretch, how many windows a container makes a day, a false-alarm budget.
//! Out: a [`Calibration`]. Never: an attack's score; a threshold is not tuned on what it should find.
//!
//! 1. The budget counts alerts, and windows that follow each other closely are one alert: the budget (alerts per
//!    container-day) over the windows per container-day and the alerts per window ([`tail::extremal_index`]) is the share of
//!    normal windows that may lie above the threshold; 1 minus it is the quantile that is needed.
//! 2. Where the held-out windows are worth at least [`ENOUGH`] alerts of the budget, it is read off the sample, and that is the
//!    threshold, unless what stands below it is higher still: windows that were trained on and such as begin with
//!    their context forgotten.
//! 3. Otherwise a generalised Pareto tail is followed towards the quantile ([`tail`]), no further than [`REACH`], and the threshold is
//!    `extrapolated`: seconds of a recording do not tell how high a day goes; what that means for the budget is said in
//!    point 5 (and by the tail, in [`Calibration::expected_false_alarms`]). Then it is never below the highest score of
//!    any normal window at hand, plus a margin. Windows that were trained on count because what happens once (a start) is in
//!    training only, and will happen again; windows whose context is forgotten count because an agent that is restarted
//!    takes up all threads in their middle, on all nodes; windows that were trained on count once more as if their stretch of
//!    the recording had been left out ([`Ask::left_out`]): what every stretch of a recording does anew the next one will do
//!    too. The margin is the surprisal of one call that training never saw, in the shortest window: a recording of minutes
//!    does not show every call that a server makes in a day, and one new call by itself is no attack.
//! 4. It is never above half the surprisal of a never-seen call: a window half of which training never saw
//!    is always an alarm, whatever a heavy tail says.
//! 5. What the budget then stands on is said ([`Promise`]): `measured` where the held-out time is long enough to rule out more
//!    (with none seen in a time T, there are at most 3/T with 95 % confidence); `extrapolated` where the tail's level is
//!    known ([`KNOWN`]) and not too far away ([`REACH`]); else `too little data`; and where point 4 forbids it, `cannot be kept`.

pub mod promise;
pub mod tail;

use crate::detect::score::Score;
use crate::detect::window::SHORTEST;
use promise::{Promise, at_most};
use serde::{Deserialize, Serialize};
use tail::{Tail, extremal_index};

/// Alerts that the budget must allow in the held-out time for a threshold to be read off the sample.
pub const ENOUGH: f64 = 10.0;
/// A tail's level is known where its standard error is at most this share of what it lies above the tail's start.
pub const KNOWN: f64 = 0.5;
/// A tail is followed, and something promised, no further away than so many times the held-out time: whatever a tail's form, a
/// minute does not tell what happens once a day. Siffert et al. follow theirs from 1,000 values to one in 1,000 to 100,000: 1 to 100 times.
pub const REACH: f64 = 100.0;
/// Share of the sample that the tail is fitted on, and windows that it needs at least.
const TAIL: f64 = 0.05;
const TAIL_WINDOWS: f64 = 10.0;
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
    /// What windows that were trained on would have scored at most, had their stretch been left out; an upper estimate, nats a
    /// call; see [`crate::train::timeline::left_out`].
    #[serde(default)]
    pub left_out: f64,
    /// Added to it for the least threshold, nats a call.
    pub margin: f64,
    /// The greatest threshold, nats a call.
    pub ceiling: f64,
    /// The threshold.
    pub threshold: Threshold,
    /// What the budget stands on.
    #[serde(default)]
    pub promise: Promise,
    /// Container-days that the held-out windows stand for.
    #[serde(default)]
    pub held_out_container_days: f64,
    /// Alerts for each window above a high level, above 0, at most 1; absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extremal_index: Option<f64>,
    /// False alarms per container-day that the tail gives at the threshold; absent: nothing was followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_false_alarms: Option<f64>,
    /// False alarms per container-day that the held-out windows do not rule out, with 95 % confidence; absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_alarms_at_most: Option<f64>,
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
    /// What windows that were trained on would have scored at most, had their stretch of the recording been left out; an upper
    /// estimate.
    pub left_out: Score,
}

/// Draws the line. `held_out`: scores of the windows of each held-out stretch, in the order of time.
pub fn calibrate(held_out: &[Vec<Score>], ask: Ask) -> Result<Calibration, CalibrationError> {
    for (what, value) in [
        ("windows per container-day", ask.windows_per_container_day),
        ("the false-alarm budget", ask.budget),
        ("the surprisal of an unseen call", ask.unseen_nats),
    ] {
        if !(value.is_finite() && value > 0.0) {
            return Err(CalibrationError::OutOfRange { what, value });
        }
    }
    let sample = Sample::new(held_out).ok_or(CalibrationError::NoWindows)?;
    let days = sample.len() / ask.windows_per_container_day;
    let (from_q, from) = sample.start_of_tail();
    let index = extremal_index(held_out.iter().map(|stretch| stretch.iter().map(|score| score.nats() > from)));
    let needed = (1.0 - ask.budget / (ask.windows_per_container_day * index)).max(0.0);
    let margin = ask.unseen_nats / SHORTEST as f64;
    let ceiling = ask.unseen_nats / 2.0;
    let highest = sample.max().max(ask.highest.nats());
    let extrapolated = days * ask.budget < ENOUGH;
    let to_q = needed.min(1.0 - 1.0 / (REACH * sample.len() * index));
    let tail = extrapolated.then(|| sample.tail(from_q, from, index, to_q));
    let level = tail.map_or_else(|| sample.quantile(needed).next_up(), |t| t.level((1.0 - to_q) / (1.0 - from_q)));
    let least = if extrapolated { highest.max(ask.left_out.nats()) + margin } else { ask.highest.nats().next_up() };
    let threshold = level.max(least).min(ceiling);
    let expected = tail.map(|t| t.beyond(threshold) * (1.0 - t.from_q) * index * ask.windows_per_container_day);
    let seen = (sample.above(threshold) * index).ceil() as u64;
    let bound = at_most(seen) / days;
    let known = |t: Tail| days * ask.budget * REACH >= 1.0 && t.standard_error <= KNOWN * (level - t.from);
    let promise = if bound <= ask.budget {
        Promise::Measured
    } else if !tail.is_none_or(known) {
        Promise::TooLittle
    } else if level > ceiling {
        Promise::CannotBeKept
    } else if extrapolated {
        Promise::Extrapolated
    } else {
        Promise::Measured
    };
    Ok(Calibration {
        windows: sample.sorted.len() as u64,
        mean: sample.mean(),
        quantiles: KEPT.iter().map(|q| Quantile { q: *q, score: sample.quantile(*q) }).collect(),
        windows_per_container_day: ask.windows_per_container_day,
        false_alarm_budget: ask.budget,
        needed_quantile: needed,
        tail,
        extrapolated,
        // JSON has no infinity.
        highest: highest.min(f64::MAX),
        left_out: ask.left_out.nats().min(f64::MAX),
        margin,
        ceiling,
        threshold: Threshold(threshold),
        promise,
        held_out_container_days: days,
        extremal_index: Some(index),
        expected_false_alarms: expected,
        false_alarms_at_most: Some(bound),
    })
}

/// Scores in ascending order; at least one.
struct Sample {
    sorted: Vec<f64>,
}

impl Sample {
    fn new(stretches: &[Vec<Score>]) -> Option<Self> {
        let mut sorted: Vec<_> = stretches.iter().flatten().map(|s| s.nats()).collect();
        sorted.sort_by(f64::total_cmp);
        (!sorted.is_empty()).then_some(Self { sorted })
    }

    fn len(&self) -> f64 {
        self.sorted.len() as f64
    }

    /// The least score that at least a share `q` of windows does not exceed.
    fn quantile(&self, q: f64) -> f64 {
        let rank = (q * self.len()).ceil().max(1.0) as usize;
        self.sorted[rank.min(self.sorted.len()) - 1]
    }

    fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    fn mean(&self) -> f64 {
        self.sorted.iter().sum::<f64>() / self.len()
    }

    /// Windows at or above a score.
    fn above(&self, nats: f64) -> f64 {
        (self.sorted.len() - self.sorted.partition_point(|s| *s < nats)) as f64
    }

    /// Where the tail begins, (quantile, score): at the sample's upper part, or where ties end there.
    fn start_of_tail(&self) -> (f64, f64) {
        let share = TAIL.max(TAIL_WINDOWS / self.len()).min(1.0);
        let from = self.quantile(1.0 - share);
        let above = self.above(from.next_up());
        (if above > 0.0 { 1.0 - above / self.len() } else { 1.0 - share }, from)
    }

    fn tail(&self, from_q: f64, from: f64, index: f64, to_q: f64) -> Tail {
        let mut excesses: Vec<_> =
            self.sorted.iter().rev().take_while(|s| **s > from).map(|s| s - from).filter(|e| e.is_finite()).collect();
        let clusters = excesses.len() as f64 * index;
        let tail = Tail::fit(from_q, from, &mut excesses, clusters);
        let standard_error = tail.error((1.0 - to_q) / (1.0 - from_q), clusters);
        Tail { standard_error, ..tail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UNSEEN: f64 = 12.0;

    fn ask(windows_per_container_day: f64) -> Ask {
        let none = Score::new(0.0);
        Ask { windows_per_container_day, budget: 1.0, unseen_nats: UNSEEN, highest: none, left_out: none }
    }

    fn stretch(scores: &[f64]) -> Vec<Score> {
        scores.iter().map(|s| Score::new(*s)).collect()
    }

    fn run(scores: &[f64], day: f64) -> Calibration {
        calibrate(&[stretch(scores)], ask(day)).expect("a sample")
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    }

    /// Numbers from 0 to 1 in an order without bursts.
    fn shuffled(n: u32) -> Vec<f64> {
        (0..n).map(|i| f64::from(i * 619 % n) / f64::from(n)).collect()
    }

    #[test]
    fn reads_the_quantile_off_a_sample_that_suffices() {
        // 20 days of 50 windows: 20 alerts may lie above.
        let c = run(&shuffled(1000), 50.0);
        near(c.needed_quantile, 0.98);
        assert!(!c.extrapolated && c.tail.is_none() && c.expected_false_alarms.is_none());
        assert_eq!(c.promise, Promise::Measured);
        // No margin, and one above: the quantile itself is no alarm.
        near(c.threshold.nats(), 0.979);
        assert!(c.threshold.nats() > 0.979);
        near(c.held_out_container_days, 20.0);
        // 20 were seen: up to 29 are possible, a day 1.45.
        assert!((c.false_alarms_at_most.expect("known") - 1.45).abs() < 0.02, "{c:?}");
        near(c.mean, 0.4995);
        near(c.quantiles[3].q, 0.5);
        near(c.quantiles[3].score, 0.499);
        // What was trained on is an alarm neither.
        let c = calibrate(&[stretch(&shuffled(1000))], Ask { highest: Score::new(1.5), ..ask(50.0) }).expect("a sample");
        near(c.threshold.nats(), 1.5);
    }

    #[test]
    fn bursts_are_one_alert_each() {
        // 2,000 windows, 40 days: 25 bursts of four high ones far from each other; the same four apart.
        let at = |burst: bool| -> Vec<f64> {
            let high = |i: usize| if burst { i % 80 < 4 + i % 3 } else { i % 20 == i / 100 };
            (0..2000).map(|i| if high(i) { 2.0 + i as f64 / 1e4 } else { 0.1 + (i % 7) as f64 / 100.0 }).collect()
        };
        let (bursts, apart) = (run(&at(true), 50.0), run(&at(false), 50.0));
        let index = |c: &Calibration| c.extremal_index.expect("known");
        assert!(index(&bursts) < 0.6 && index(&apart) > 0.9, "{} {}", index(&bursts), index(&apart));
        assert!(bursts.needed_quantile < apart.needed_quantile);
    }

    #[test]
    fn follows_the_tail_beyond_it() {
        // An exponential sample with mean 0.2: its quantiles are known, -0.2 ln(1-q).
        let scores: Vec<_> = shuffled(1000).iter().map(|q| -0.2 * (1.0 - (q + 0.0005)).ln()).collect();
        let ask = Ask { unseen_nats: 8.0, ..ask(1e5) };
        let c = calibrate(&[stretch(&scores)], ask).expect("a sample");
        let expect = 0.2 * 1e5f64.ln();
        assert!((c.threshold.nats() - expect).abs() < 0.15 * expect, "{} is far from {expect}", c.threshold.nats());
        assert!(c.extrapolated && c.threshold.nats() > c.highest + c.margin);
        let expected = c.expected_false_alarms.expect("a tail");
        assert!((expected - 1.0).abs() < 1e-6, "{expected}");
        // No further than a hundred times the sample, whatever the budget; then it says that there will be more.
        let further = |day: f64| calibrate(&[stretch(&scores)], Ask { windows_per_container_day: day, ..ask }).expect("a sample");
        assert_eq!(further(1e6).threshold, further(1e9).threshold);
        assert!(further(1e6).expected_false_alarms > Some(5.0));
    }

    #[test]
    fn says_what_the_budget_stands_on() {
        let flat: Vec<_> = shuffled(1000).iter().map(|q| 0.2 + 0.2 * q).collect();
        let promise = |scores: &[f64], day: f64| run(scores, day).promise;
        // Four days, none above: at most 3/4 a day.
        assert_eq!(promise(&flat, 250.0), Promise::Measured);
        near(run(&flat, 250.0).false_alarms_at_most.expect("known"), -0.05f64.ln() / 4.0);
        // A day; a minute; an hour with few windows.
        assert_eq!(promise(&flat, 1000.0), Promise::Extrapolated);
        assert_eq!(promise(&flat, 1440.0 * 1000.0), Promise::TooLittle);
        let few: Vec<_> = shuffled(100).iter().map(|q| -0.2 * (1.0 - (q + 0.005)).ln()).collect();
        assert_eq!(promise(&few, 2400.0), Promise::TooLittle);
        // A tail that reaches far beyond what half of a window may be.
        let wide: Vec<_> = shuffled(1000).iter().map(|q| -2.0 * (1.0 - (q + 0.0005)).ln()).collect();
        assert_eq!(promise(&wide, 1e4), Promise::CannotBeKept);
        assert!(run(&wide, 1e4).expected_false_alarms > Some(1.0));
    }

    #[test]
    fn stays_between_the_maximum_and_the_ceiling() {
        // No tail at all.
        near(run(&[0.1; 100], 1e9).threshold.nats(), 0.1 + UNSEEN / 16.0);
        // A tail without end.
        near(run(&(0..100).map(f64::from).collect::<Vec<_>>(), 1e9).threshold.nats(), UNSEEN / 2.0);
        // A start that was learned less well than the loop; one that would have been, had it not been learned.
        let two = Score::new(2.0);
        for ask in [Ask { highest: two, ..ask(1e9) }, Ask { left_out: two, ..ask(1e9) }] {
            near(calibrate(&[stretch(&[0.1; 100])], ask).expect("a sample").threshold.nats(), 2.0 + UNSEEN / 16.0);
        }
        // One window, and one that is no number.
        near(run(&[0.5], 1e9).threshold.nats(), 0.5 + UNSEEN / 16.0);
        near(run(&[0.5, f64::NAN], 1e9).threshold.nats(), UNSEEN / 2.0);
    }

    #[test]
    fn older_calibrations_are_read_and_promise_nothing() {
        let c = run(&[0.5; 100], 1e4);
        let mut json = serde_json::to_value(&c).expect("JSON");
        assert_eq!(serde_json::from_value::<Calibration>(json.clone()).expect("reads back"), c);
        let fields = json.as_object_mut().expect("an object");
        for new in
            ["left_out", "promise", "held_out_container_days", "extremal_index", "expected_false_alarms", "false_alarms_at_most"]
        {
            assert!(fields.remove(new).is_some(), "{new}");
        }
        fields["tail"] = serde_json::json!({ "from_q": 0.95, "from": 0.5, "mean_excess": 0.1 });
        let old: Calibration = serde_json::from_value(json).expect("reads");
        assert_eq!((old.promise, old.false_alarms_at_most, old.threshold), (Promise::Unstated, None, c.threshold));
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        assert_eq!(calibrate(&[], ask(1e6)), Err(CalibrationError::NoWindows));
        assert_eq!(calibrate(&[vec![], vec![]], ask(1e6)), Err(CalibrationError::NoWindows));
        for bad in [0.0, -1.0, f64::INFINITY] {
            let what = "windows per container-day";
            assert_eq!(calibrate(&[stretch(&[1.0])], ask(bad)), Err(CalibrationError::OutOfRange { what, value: bad }));
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
        fn always_a_threshold_and_quantiles_ascend(scores in prop::collection::vec(0.0f64..30.0, 1..200), day in 1e-3f64..1e12) {
            let c = run(&scores, day);
            prop_assert!(c.threshold.nats() > 0.0 && c.threshold.nats() <= c.ceiling);
            prop_assert!(c.quantiles.windows(2).all(|w| w[0].score <= w[1].score));
            prop_assert!(c.false_alarms_at_most.is_some_and(|bound| bound.is_finite() && bound > 0.0));
            let json = serde_json::to_string(&c).expect("JSON");
            prop_assert_eq!(serde_json::from_str::<Calibration>(&json).expect("reads back").promise, c.promise);
            // A smaller budget never lowers the line.
            prop_assert!(run(&scores, day * 10.0).threshold.nats() >= c.threshold.nats() - 1e-9);
        }
    }
}
