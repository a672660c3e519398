//! What the scorer says of each container, as `surprisal-scorer scores watch -o json` tells it, and what follows from when.
//!
//! In: its lines, and when there were attacks. Out: verdicts with their times, and which time was normal. Never: a
//! connection of its own; a line that is no score is left out.

use crate::scorer;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How long a score looks back.
pub const LOOK: Duration = Duration::from_secs(30);
/// The same, and a second for the way.
const FORGOTTEN: Duration = Duration::from_secs(31);

/// A verdict at a time.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) at: Instant,
    /// The whole answer, as `scores watch -o json` gives it.
    pub(super) score: Value,
}

impl Said {
    pub(super) fn is(&self, verdict: &str) -> bool {
        self.score["verdict"] == verdict
    }

    pub(super) fn nats(&self) -> f64 {
        self.score["score"].as_f64().unwrap_or(0.0)
    }
}

/// What was said of each container, by id.
pub(super) type Log = Arc<Mutex<BTreeMap<String, Vec<Said>>>>;

/// From each attack's begin until it is [`FORGOTTEN`], or the next begins, and the verdict is not anomalous.
pub(super) fn abnormal(said: &[Said], attacks: &[(Instant, Instant)], end: Instant) -> Vec<(Instant, Instant)> {
    let calm_after = |at: Instant| {
        let at = (at + FORGOTTEN).min(end);
        let before = said.iter().rev().find(|said| said.at <= at);
        if before.is_none_or(|said| !said.is("anomalous")) {
            return at;
        }
        said.iter().find(|said| said.at > at && !said.is("anomalous")).map_or(end, |said| said.at)
    };
    let next = |i: usize| attacks.get(i + 1).map_or(end, |(from, _)| *from);
    attacks.iter().enumerate().map(|(i, (from, to))| (*from, calm_after(*to).min(next(i)))).collect()
}

/// The score at the end of each whole [`LOOK`] between `began` and `end` that touches nothing `abnormal`, in the order of time.
pub(super) fn maxima(said: &[Said], abnormal: &[(Instant, Instant)], began: Instant, end: Instant) -> Vec<f64> {
    let mut maxima = Vec::new();
    let mut from = began;
    let stops = abnormal.iter().copied().chain([(end, end)]);
    for (stop, next) in stops {
        while from + LOOK <= stop {
            from += LOOK;
            maxima.extend(said.iter().rev().find(|said| said.at <= from).map(Said::nats));
        }
        from = next;
    }
    maxima
}

/// Process and call that stand first in an answer's evidence.
pub(crate) fn first_surprise(score: &Value) -> (String, String) {
    let window = &score["evidence"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&window["process"]), text(&window["surprises"][0]["call"]))
}

/// `scores watch`, whose lines go to `log`.
pub(super) fn watch(url: &str, log: &Log) -> Result<Child> {
    let log = Arc::clone(log);
    follow(url, move |id, at, mut score| {
        // All that is looked at later: hours of answers are kept.
        if let Some(evidence) = score["evidence"].as_array_mut() {
            evidence.truncate(1);
        }
        lock(&log).entry(id).or_default().push(Said { at, score });
    })
}

/// `scores watch`, whose lines are handed to `take` with their container's id, one after the other.
pub(crate) fn follow(url: &str, mut take: impl FnMut(String, Instant, Value) + Send + 'static) -> Result<Child> {
    let mut command = scorer::command(&["scores", "watch", "--scorer", url, "-o", "json"])?;
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("starting scores watch")?;
    let lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let Ok(score) = serde_json::from_str::<Value>(&line) else { continue };
            let Some(id) = score["id"].as_str().map(str::to_owned) else { continue };
            take(id, Instant::now(), score);
        }
    });
    Ok(child)
}

/// What a panicking thread left is a value like any other.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_attack_lasts_until_the_verdict_is_normal_again() {
        let began = Instant::now();
        let at = |s: u64| began + Duration::from_secs(s);
        let say = |s: u64, verdict: &str| Said { at: at(s), score: json!({ "verdict": verdict }) };
        let said = [say(0, "normal"), say(11, "anomalous"), say(20, "anomalous"), say(53, "normal"), say(99, "anomalous")];
        for (attacks, expect) in [
            (&[(10, 15)][..], &[(10, 53)][..]),
            // Missed: what follows is normal, and an alarm in it is false.
            (&[(55, 60)], &[(55, 91)]),
            // Attacked again before the first is forgotten.
            (&[(55, 60), (70, 75)], &[(55, 70), (70, 120)]),
            // Never calm again.
            (&[(95, 98)], &[(95, 120)]),
            (&[], &[]),
        ] {
            let span = |(from, to): &(u64, u64)| (at(*from), at(*to));
            let attacks: Vec<_> = attacks.iter().map(span).collect();
            assert_eq!(abnormal(&said, &attacks, at(120)), expect.iter().map(span).collect::<Vec<_>>());
        }
    }

    #[test]
    fn maxima_are_of_whole_looks_of_normal_time() {
        let began = Instant::now();
        let at = |s: u64| began + Duration::from_secs(s);
        let say = |s: u64, nats: f64| Said { at: at(s), score: json!({ "score": nats }) };
        let said = [say(1, 0.5), say(29, 0.7), say(31, 0.6), say(80, 9.0), say(140, 0.8), say(155, 0.9)];
        let maxima = |abnormal: &[_], end| maxima(&said, abnormal, began, end);
        assert_eq!(maxima(&[], at(89)), [0.7, 0.6]);
        assert_eq!(maxima(&[(at(75), at(130))], at(170)), [0.7, 0.6, 0.9]);
        assert_eq!(maxima(&[(at(0), at(170))], at(170)), [0.0; 0]);
    }

    #[test]
    fn the_first_surprise_may_be_none() {
        assert_eq!(first_surprise(&json!({})), (String::new(), String::new()));
        let score = json!({ "evidence": [{ "process": "bash", "surprises": [{ "call": "execve" }, { "call": "read" }] }] });
        assert_eq!(first_surprise(&score), ("bash".to_owned(), "execve".to_owned()));
    }
}
