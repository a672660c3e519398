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
mod sample;
pub mod tail;

use crate::detect::score::Score;
use crate::detect::window::SHORTEST;
use crate::judge::threshold::Threshold;
use promise::{Promise, at_most};
use sample::Sample;
use serde::{Deserialize, Serialize};
use tail::{Tail, extremal_index};

/// Alerts that the budget must allow in the held-out time for a threshold to be read off the sample.
pub const ENOUGH: f64 = 10.0;
/// A tail's level is known where its standard error is at most this share of what it lies above the tail's start.
pub const KNOWN: f64 = 0.5;
/// A tail is followed, and something promised, no further away than so many times the held-out time: whatever a tail's form, a
/// minute does not tell what happens once a day. Siffert et al. follow theirs from 1,000 values to one in 1,000 to 100,000: 1 to 100 times.
pub const REACH: f64 = 100.0;
/// Quantiles that are kept.
const KEPT: [f64; 10] = [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0];

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

#[cfg(test)]
mod tests;
