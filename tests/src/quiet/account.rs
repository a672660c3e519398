//! What was said of one container while nobody attacked it. *Pure.*
//!
//! In: its scores as `scores watch -o json` gives them, with their times. Out: alarms, and the time in which they could have come.
//! Never: keeps more than its alarms, however long it is watched.

use crate::attacks::said::first_surprise;
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// Alarms of one cause that are no further apart are one.
pub const ONE_ALARM: Duration = Duration::from_mins(5);

/// Process, and the call of its that stands first in the evidence.
type Cause = (String, String);

/// A verdict that turned. Times count from the watch's begin.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    /// When.
    pub at: Duration,
    /// Nats a call.
    pub score: f64,
    /// Nats a call.
    pub threshold: f64,
    /// Process of the most surprising call.
    pub process: String,
    /// That call.
    pub call: String,
    /// The score itself as it was answered, with its evidence.
    pub said: Value,
}

/// One container's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// Time in which it had a score.
    pub scored: Duration,
    /// Its alarms, in the order of time.
    pub alarms: Vec<Alarm>,
    /// Its highest score, nats a call.
    pub highest: f64,
    /// Process and call that stood first then.
    pub highest_of: Option<Cause>,
    /// Threshold, nats a call.
    pub threshold: f64,
    scored_since: Option<Duration>,
    anomalous: bool,
    /// When each cause of the last [`ONE_ALARM`] was last said.
    heard: BTreeMap<Cause, Duration>,
}

impl Account {
    /// It has a score now.
    pub fn is_scored(&self) -> bool {
        self.scored_since.is_some()
    }

    /// Takes a score that was said `at`; never earlier than the one before.
    pub fn take(&mut self, at: Duration, said: &Value) {
        self.end(at);
        let verdict = said["verdict"].as_str().unwrap_or_default();
        self.scored_since = matches!(verdict, "normal" | "anomalous").then_some(at);
        if self.scored_since.is_none() {
            self.anomalous = false;
            return;
        }
        let score = said["score"].as_f64().unwrap_or(0.0);
        self.threshold = said["threshold"].as_f64().unwrap_or(0.0);
        let cause = first_surprise(said);
        if score > self.highest {
            self.highest = score;
            self.highest_of = Some(cause.clone());
        }
        let anomalous = verdict == "anomalous";
        self.heard.retain(|_, before| at.saturating_sub(*before) <= ONE_ALARM);
        if anomalous {
            let turned = !self.anomalous;
            let before = self.heard.insert(cause.clone(), at);
            if turned && before.is_none() {
                let (process, call) = cause;
                self.alarms.push(Alarm { at, score, threshold: self.threshold, process, call, said: said.clone() });
            }
        }
        self.anomalous = anomalous;
    }

    /// Counts the time until `at`.
    pub fn end(&mut self, at: Duration) {
        if let Some(since) = self.scored_since {
            self.scored += at.saturating_sub(since);
            self.scored_since = Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(verdict: &str, score: f64, call: &str) -> Value {
        json!({
            "verdict": verdict, "score": score, "threshold": 3.0,
            "evidence": [{ "process": "redis-server", "surprises": [{ "call": call }] }],
        })
    }

    /// Seconds, verdict, score, first call.
    type Row = (u64, &'static str, f64, &'static str);

    fn account(rows: &[Row]) -> Account {
        let mut account = Account::default();
        for (at, verdict, score, call) in rows {
            account.take(Duration::from_secs(*at), &said(verdict, *score, call));
        }
        account
    }

    #[test]
    fn what_is_an_alarm() {
        let table: &[(&str, &[Row], &[u64])] = &[
            ("none", &[(1, "normal", 1.0, "read"), (9, "normal", 2.0, "read")], &[]),
            (
                "one that stays",
                &[(1, "normal", 1.0, "read"), (9, "anomalous", 4.0, "fork"), (12, "anomalous", 5.0, "fork")],
                &[9],
            ),
            ("the first word is one", &[(1, "anomalous", 4.0, "fork")], &[1]),
            (
                "the same within five minutes",
                &[(1, "anomalous", 4.0, "fork"), (40, "normal", 1.0, "fork"), (301, "anomalous", 4.0, "fork")],
                &[1],
            ),
            (
                "the same after more",
                &[(1, "anomalous", 4.0, "fork"), (40, "normal", 1.0, "fork"), (302, "anomalous", 4.0, "fork")],
                &[1, 302],
            ),
            (
                "five minutes count from the last word",
                &[
                    (1, "anomalous", 4.0, "fork"),
                    (40, "anomalous", 4.0, "fork"),
                    (60, "normal", 1.0, "read"),
                    (339, "anomalous", 4.0, "fork"),
                ],
                &[1],
            ),
            (
                "another cause",
                &[(1, "anomalous", 4.0, "fork"), (40, "normal", 1.0, "read"), (50, "anomalous", 4.0, "exec")],
                &[1, 50],
            ),
        ];
        for (what, rows, expected) in table {
            let at: Vec<_> = account(rows).alarms.iter().map(|a| a.at.as_secs()).collect();
            assert_eq!(at, *expected, "{what}");
        }
    }

    #[test]
    fn time_without_a_score_does_not_count() {
        let rows: &[Row] =
            &[(5, "unscored", 0.0, ""), (10, "normal", 1.0, "read"), (30, "unscored", 0.0, ""), (50, "normal", 2.5, "brk")];
        let mut account = account(rows);
        account.end(Duration::from_secs(55));
        account.end(Duration::from_mins(1));
        assert_eq!(account.scored, Duration::from_secs(30));
        assert_eq!((account.highest, account.threshold), (2.5, 3.0));
        assert_eq!(account.highest_of, Some(("redis-server".to_owned(), "brk".to_owned())));
    }
}
