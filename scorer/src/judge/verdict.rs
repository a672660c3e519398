//! What is said of a container: a verdict, and the evidence behind it. *Pure.*
//!
//! In: scores, thresholds, the detector's evidence. Out: [`Verdict`]s here, and from [`shown`] the windows that a reader gets to
//! see. Never: a name of a container; who it is about is kept elsewhere.

pub mod shown;

use crate::detect::score::Score;
use crate::judge::threshold::Threshold;

/// What is said of a container now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Its score is below the threshold.
    Normal,
    /// Its score is at or above the threshold.
    Anomalous,
    /// There is no score.
    Unscored(Reason),
}

/// Why there is no score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The agent has not said which workload it belongs to.
    NotNamed,
    /// No profile for its workload.
    NoProfile,
    /// It has made no call that arrived.
    NoCalls,
    /// Calls arrived, but no window of them is complete.
    NoWindow,
    /// Windows were cut by gaps or shed under load, and none was scored.
    Starved,
    /// It made calls before, but none in the recent past.
    Quiet,
    /// A sandboxed runtime holds it: its calls are not its own.
    OwnKernel,
}

impl Reason {
    /// For people; part of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotNamed => "not named yet",
            Self::NoProfile => "no profile",
            Self::NoCalls => "no calls yet",
            Self::NoWindow => "no window yet",
            Self::Starved => "starved",
            Self::Quiet => "quiet",
            Self::OwnKernel => "sandboxed runtime",
        }
    }
}

/// What is known of a container that bears on its verdict.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// A sandboxed runtime holds it.
    pub own_kernel: bool,
    /// Its workload is known.
    pub named: bool,
    /// The threshold in force; `None`: no profile.
    pub threshold: Option<Threshold>,
    /// Its score now.
    pub score: Option<Score>,
    /// Calls taken in.
    pub calls: u64,
    /// Windows scored by the profile that is in force.
    pub windows: u64,
    /// Windows that were not scored because of a gap or of overload.
    pub starved: u64,
}

/// Judges.
pub fn judge(facts: Facts) -> Verdict {
    match (facts.threshold, facts.score) {
        _ if facts.own_kernel => Verdict::Unscored(Reason::OwnKernel),
        (None, _) if !facts.named => Verdict::Unscored(Reason::NotNamed),
        (None, _) => Verdict::Unscored(Reason::NoProfile),
        (Some(threshold), Some(score)) if score.nats() >= threshold.nats() => Verdict::Anomalous,
        (Some(_), Some(_)) => Verdict::Normal,
        (Some(_), None) => Verdict::Unscored(match facts {
            Facts { calls: 0, .. } => Reason::NoCalls,
            Facts { windows: 0, starved: 0, .. } => Reason::NoWindow,
            Facts { windows: 0, .. } => Reason::Starved,
            _ => Reason::Quiet,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let t = |n: f64| Threshold::try_from(n).ok();
        let s = |n: f64| Some(Score::new(n));
        let unscored = Verdict::Unscored;
        for (named, threshold, score, calls, windows, starved, expect) in [
            (true, t(2.0), s(1.9), 100, 2, 0, Verdict::Normal),
            (true, t(2.0), s(2.0), 100, 2, 0, Verdict::Anomalous),
            (true, t(2.0), s(f64::NAN), 100, 2, 0, Verdict::Anomalous),
            (false, None, None, 100, 0, 0, unscored(Reason::NotNamed)),
            (true, None, s(9.0), 100, 2, 0, unscored(Reason::NoProfile)),
            (true, t(2.0), None, 0, 0, 0, unscored(Reason::NoCalls)),
            (true, t(2.0), None, 9, 0, 0, unscored(Reason::NoWindow)),
            (true, t(2.0), None, 99, 0, 4, unscored(Reason::Starved)),
            (true, t(2.0), None, 99, 1, 4, unscored(Reason::Quiet)),
        ] {
            let facts = Facts { own_kernel: false, named, threshold, score, calls, windows, starved };
            assert_eq!(judge(facts), expect);
            assert_eq!(judge(Facts { own_kernel: true, ..facts }), unscored(Reason::OwnKernel));
        }
    }
}
