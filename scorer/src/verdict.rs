//! What is said of a container: a verdict, and the evidence behind it. *Pure.*
//!
//! In: scores, thresholds, what the model said of each call. Out: [`Verdict`]s and [`Evidence`].
//! Never: a name of a container; who it is about is kept elsewhere.

use crate::model::{Encoded, Judged};
use crate::score::Score;
use crate::threshold::Threshold;
use crate::vocab::Vocabulary;
use crate::window::Window;
use surprisal_proto::{names, token::Token, v1};

/// Calls shown of a window.
pub const SURPRISES: usize = 5;
/// Calls shown before a surprising one.
pub const AFTER: usize = 8;
/// Calls shown that were expected instead.
pub const EXPECTED: usize = 3;

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
        }
    }
}

/// What is known of a container that bears on its verdict.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
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

/// One window, and what in it was surprising.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The window.
    pub window: Window,
    /// Its score.
    pub score: Score,
    /// Most surprising first, at most [`SURPRISES`].
    pub surprises: Vec<Surprise>,
}

/// One surprising call.
#[derive(Clone, Debug, PartialEq)]
pub struct Surprise {
    /// Its place in the window.
    pub index: usize,
    /// −ln of its probability.
    pub nats: f64,
    /// Training never saw the call.
    pub never_seen: bool,
    /// What was likelier, likeliest first, with probabilities.
    pub expected: Vec<(Token, f64)>,
}

/// Collects the evidence of a window that a model has judged.
pub fn evidence(window: &Window, encoded: &Encoded, judged: &Judged, score: Score, vocabulary: &Vocabulary) -> Evidence {
    let surprises = judged
        .top
        .iter()
        .take(SURPRISES)
        .filter_map(|position| {
            let nats = f64::from(*judged.nll.get(position.index)?);
            let call = *window.calls.get(position.index)?;
            // An expectation names what should have stood there: not the call itself, nor a class without a name.
            let class = encoded.scored().get(position.index).copied();
            let expected = position
                .expected
                .iter()
                .filter(|(c, _)| Some(*c) != class)
                .filter_map(|(c, p)| vocabulary.token(*c).map(|t| (t, f64::from(*p))))
                .take(EXPECTED)
                .collect();
            Some(Surprise { index: position.index, nats, never_seen: !vocabulary.contains(call), expected })
        })
        .collect();
    Evidence { window: window.clone(), score, surprises }
}

/// Nanoseconds since the Unix epoch as the wire has them; absent where a hostile number is no time of day.
pub fn timestamp_ns(ns: u64) -> Option<prost_types::Timestamp> {
    let seconds = i64::try_from(ns / 1_000_000_000).ok()?;
    Some(prost_types::Timestamp { seconds, nanos: (ns % 1_000_000_000) as i32 })
}

impl Evidence {
    /// As the wire has it; who made the calls is the caller's to add.
    pub fn to_proto(&self) -> v1::Evidence {
        let w = &self.window;
        let surprises = self.surprises.iter().map(|s| {
            let before = w.context.len() + s.index;
            let after = (before.saturating_sub(AFTER)..before).filter_map(|i| self.call(i)).map(names::words).collect();
            v1::Surprise {
                call: names::words(w.calls[s.index]),
                token: u32::from(w.calls[s.index].0),
                sequence: w.first_sequence.saturating_add(s.index as u64),
                probability: (-s.nats).exp(),
                surprisal: s.nats,
                after,
                expected: s.expected.iter().map(|(t, p)| v1::Expected { call: names::words(*t), probability: *p }).collect(),
                never_seen: s.never_seen,
            }
        });
        v1::Evidence {
            first_sequence: w.first_sequence,
            at: timestamp_ns(w.started_ns),
            score: self.score.nats(),
            calls: w.calls.len() as u32,
            surprises: surprises.collect(),
            ..v1::Evidence::default()
        }
    }

    fn call(&self, i: usize) -> Option<Token> {
        self.window.context.iter().chain(&self.window.calls).nth(i).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Position;

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
            assert_eq!(judge(Facts { named, threshold, score, calls, windows, starved }), expect);
        }
    }

    #[test]
    fn evidence_names_the_call_what_came_before_and_what_was_expected() {
        let [read, write, execve] = [0, 1, 59].map(|nr| Token::new(nr, 0));
        let vocabulary = Vocabulary::new([read, write]);
        let window = Window {
            first_sequence: 100,
            started_ns: 1_500_000_000,
            from_start: false,
            context: vec![read; 16],
            calls: vec![write, read, execve],
        };
        let encoded = Encoded::new(&window, &vocabulary);
        let unknown = encoded.scored()[2];
        let judged = Judged {
            nll: vec![0.1, 0.2, 12.0],
            top: vec![Position { index: 2, expected: vec![(unknown, 0.5), (4, 0.25), (3, 0.125), (0, 0.1)] }],
        };
        let shown = evidence(&window, &encoded, &judged, Score::new(0.8), &vocabulary).to_proto();
        assert_eq!((shown.first_sequence, shown.calls, shown.at.map(|t| (t.seconds, t.nanos))), (100, 3, Some((1, 500_000_000))));
        let [s] = shown.surprises.as_slice() else { panic!("one surprise") };
        assert_eq!((s.call.as_str(), s.sequence, s.never_seen), ("execve", 102, true));
        assert_eq!(s.after, ["read", "read", "read", "read", "read", "read", "write", "read"]);
        assert_eq!(
            s.expected.iter().map(|e| (e.call.as_str(), e.probability)).collect::<Vec<_>>(),
            [("write", 0.25), ("read", 0.125)]
        );
        assert!((s.probability - (-12.0f64).exp()).abs() < 1e-9);
    }

    #[test]
    fn any_number_is_a_time_or_none() {
        assert_eq!(timestamp_ns(0).map(|t| t.seconds), Some(0));
        assert_eq!(timestamp_ns(u64::MAX).map(|t| t.seconds), Some(18_446_744_073));
    }
}
