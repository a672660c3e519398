//! A threshold, and which one is in force. *Pure.*
//!
//! In: what people set, what was calibrated. Out: [`Threshold`]s, and the [`Judge`] of a workload. Never: a threshold that is
//! not a finite number above 0; how one is calibrated is `calibration`'s.

use crate::detect::names::Seen;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A threshold: nats a call, finite and above 0.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Threshold(pub(super) f64);

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

/// By what a workload's windows are judged now.
#[derive(Clone, Debug)]
pub struct Judge {
    /// Version of its profile.
    pub version: Arc<str>,
    /// Threshold in force.
    pub threshold: Threshold,
    /// Where that comes from.
    pub source: Source,
    /// What its calls were about in training; `None`: its profile does not say.
    pub seen: Option<Arc<Seen>>,
}

/// What was seen is compared by identity: it may be thousands of names, and is compared several times a second.
impl PartialEq for Judge {
    fn eq(&self, other: &Self) -> bool {
        let Self { version, threshold, source, seen } = self;
        let same = match (seen, &other.seen) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        *version == other.version && *threshold == other.threshold && *source == other.source && same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_threshold_is_refused() {
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
}
