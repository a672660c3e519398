//! The range: servers under their load, an agent that follows them, a scorer that has learned them, attacks in turn.
//!
//! In: targets, how long is learned and how long is watched, scenarios. Out: what the scorer said of each attack
//! ([`Measured`]) and of everything in between ([`Normal`]). Never: anything but what people see: recordings by
//! `surprisal-agent record`, profiles by `surprisal-scorer train`, scores by `scores watch`.
//!
//! - A container's score is the highest of its last 30 s. An attack begins only when its server's verdict is normal, so
//!   that an alarm is its own; while one server calms down, another is attacked.
//! - An attack is detected when the verdict turns between its first action and [`PATIENCE`] after its last.
//! - A container's time is normal from the first verdict on, except from an attack's first action until the score has
//!   forgotten its last, and the verdict is normal again. Each time the verdict turns in normal time is a false alarm.

use super::{Scenario, Target};
use crate::{Containerd, Daemon, Scorer, agent, scorer, wait::try_wait_for};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

/// After an attack's last action, how long its verdict may take.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long a score looks back.
pub const LOOK: Duration = Duration::from_secs(30);
/// The same, and a second for the way.
const FORGOTTEN: Duration = Duration::from_secs(31);
/// How long a server may take to calm down.
const CALM: Duration = Duration::from_secs(75);
const SOON: Duration = Duration::from_secs(30);

/// A verdict at a time.
#[derive(Clone, Debug)]
struct Said {
    at: Instant,
    /// The whole answer, as `scores watch -o json` gives it.
    score: Value,
}

impl Said {
    fn is(&self, verdict: &str) -> bool {
        self.score["verdict"] == verdict
    }

    fn nats(&self) -> f64 {
        self.score["score"].as_f64().unwrap_or(0.0)
    }
}

/// What was said of each container, by id.
type Log = Arc<Mutex<BTreeMap<String, Vec<Said>>>>;

/// Everything at work.
#[derive(Debug)]
pub struct Range {
    agent: Daemon,
    watch: Child,
    log: Log,
    began: Instant,
    attacks: BTreeMap<String, Vec<(Instant, Instant)>>,
    /// Ended last.
    _scorer: Scorer,
}

/// What came of an attack.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Which.
    pub scenario: &'static Scenario,
    /// The attacker got what it wanted; otherwise the row says nothing about detection.
    pub succeeded: bool,
    /// Why it was not run, or did not succeed; empty: it did.
    pub why_not: String,
    /// From its first action to the verdict; none: missed.
    pub verdict_after: Option<Duration>,
    /// From its first action to its last.
    pub took: Duration,
    /// Highest score from its first action on, nats a call.
    pub score: f64,
    /// Threshold then.
    pub threshold: f64,
    /// The call with the most surprise in the window with the highest score; empty: none.
    pub top_call: String,
    /// The process that made it.
    pub top_process: String,
    /// Wall clock at its first and its last action.
    pub span: (SystemTime, SystemTime),
}

/// What was said of a container while nobody attacked it.
#[derive(Clone, Debug, PartialEq)]
pub struct Normal {
    /// Its server.
    pub server: String,
    /// Normal time.
    pub time: Duration,
    /// Times that the verdict turned in it.
    pub alarms: u32,
    /// Highest score, nats a call.
    pub highest: f64,
    /// What stood first in the evidence at that score: process and call.
    pub highest_call: String,
    /// Threshold.
    pub threshold: f64,
    /// The score at the end of each whole [`LOOK`] of normal time: the highest in it.
    pub maxima: Vec<f64>,
}

/// Records `targets` for `time` into `file`.
pub fn record(containerd: &Containerd, targets: &[Target], time: Duration, file: &Path) -> Result<()> {
    let seconds = time.as_secs().to_string();
    let output = file.to_str().context("a path in UTF-8")?;
    let selects = selects(targets);
    let mut args = vec!["record", "--output", output, "--label", "normal", "--duration", &seconds];
    args.extend(selects.iter().flat_map(|s| ["--select", s]));
    let mut recorder = agent::start(containerd.scratch(), &args)?;
    let status = recorder.wait(time + SOON)?;
    ensure!(status.success(), "surprisal-agent record ended with {status}:\n{}", recorder.log());
    Ok(())
}

fn selects(targets: &[Target]) -> Vec<String> {
    targets.iter().map(|t| format!("workload={}", t.server.workload())).collect()
}

/// Makes a profile of each workload in `recording`.
pub fn train(profiles: &Path, recording: &Path) -> Result<()> {
    fs::create_dir_all(profiles)?;
    let (profiles, file) = (profiles.to_str().context("UTF-8")?, recording.to_str().context("UTF-8")?);
    let out = scorer::run(&["train", "--profiles", profiles, file])?;
    ensure!(out.status.success(), "surprisal-scorer train: {}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}

impl Range {
    /// Serves `profiles` and follows `targets`, whose calls are also written to `file`; returns when each has a verdict.
    pub fn start(containerd: &Containerd, targets: &[Target], profiles: &Path, file: &Path) -> Result<Self> {
        let scratch = containerd.scratch();
        let scorer = Scorer::serve(scratch, profiles, &[])?;
        let url = scorer.url();
        let log = Log::default();
        let watch = watch(&url, &log)?;
        scratch.owns_process(watch.id())?;
        let file = file.to_str().context("a path in UTF-8")?;
        let selects = selects(targets);
        let mut args = vec!["run", "--scorer", &url, "--jsonl", file, "--jsonl-max-bytes", "4000000000"];
        args.extend(selects.iter().flat_map(|s| ["--select", s]));
        let agent = agent::start(scratch, &args)?;
        let mut range = Self { agent, watch, log, began: Instant::now(), attacks: BTreeMap::new(), _scorer: scorer };
        for target in targets {
            let judged = || range.latest(target).filter(|said| !said.is("unscored")).map(|_| ());
            try_wait_for(SOON, judged).with_context(|| format!("no verdict on {} within {SOON:?}", target.name))?;
        }
        range.began = Instant::now();
        Ok(range)
    }

    /// Lets the servers be for `time`.
    pub fn rest(&mut self, time: Duration) -> Result<()> {
        thread::sleep(time);
        self.check()
    }

    /// Agent and scorer still run.
    fn check(&mut self) -> Result<()> {
        ensure!(self.agent.is_running(), "the agent has ended; its log:\n{}", self.agent.log());
        if let Some(status) = self.watch.try_wait()? {
            bail!("surprisal-scorer scores watch ended with {status}");
        }
        Ok(())
    }

    /// Runs `scenario` on `target` and watches the verdict. An attack that fails is no error: its row says so.
    pub fn attack(&mut self, scenario: &'static Scenario, target: &Target, scratch: &Path) -> Result<Measured> {
        self.check()?;
        let prepared = scenario.prepare(target, scratch)?;
        let calm = try_wait_for(CALM, || self.latest(target).is_none_or(|said| !said.is("anomalous")).then_some(()));
        let mut measured = Measured {
            scenario,
            succeeded: false,
            why_not: String::new(),
            verdict_after: None,
            took: Duration::ZERO,
            score: 0.0,
            threshold: self.latest(target).and_then(|s| s.score["threshold"].as_f64()).unwrap_or(0.0),
            top_call: String::new(),
            top_process: String::new(),
            span: (SystemTime::now(), SystemTime::now()),
        };
        if calm.is_none() {
            measured.why_not = format!("not run: {} was still anomalous after {} s", target.name, CALM.as_secs());
            return Ok(measured);
        }
        let begin = Instant::now();
        measured.span.0 = SystemTime::now();
        let result = prepared.run();
        measured.took = begin.elapsed();
        measured.span.1 = SystemTime::now();
        match result {
            Ok(outcome) => {
                measured.succeeded = outcome.succeeded;
                if !outcome.succeeded {
                    let seen: String = outcome.seen.chars().take(400).collect();
                    measured.why_not = format!("the attacker did not get what it wanted, but {seen:?}");
                }
            }
            Err(error) => measured.why_not = format!("{error:#}"),
        }
        let turned = || self.said(target, begin).into_iter().find(|said| said.is("anomalous"));
        measured.verdict_after = try_wait_for(PATIENCE, turned).map(|said| said.at - begin);
        // A little longer: the last windows of the attack may say more than the first one above the threshold.
        thread::sleep(Duration::from_secs(2));
        if let Some(top) = self.said(target, begin).into_iter().max_by(|a, b| a.nats().total_cmp(&b.nats())) {
            measured.score = top.nats();
            (measured.top_process, measured.top_call) = first_surprise(&top.score);
        }
        self.attacks.entry(target.server.id().to_owned()).or_default().push((begin, Instant::now()));
        Ok(measured)
    }

    /// What was said of each target while it was not under attack.
    pub fn normal(&self, targets: &[Target]) -> Vec<Normal> {
        let end = Instant::now();
        let of = |target: &Target| {
            let mut said = self.said(target, self.began);
            said.retain(|said| said.at < end);
            let attacks = self.attacks.get(target.server.id()).map_or(&[][..], Vec::as_slice);
            let abnormal = abnormal(&said, attacks, end);
            let is_normal = |at: Instant| !abnormal.iter().any(|(from, to)| (*from..*to).contains(&at));
            let mut normal = Normal {
                server: target.name.to_owned(),
                time: (end - self.began).saturating_sub(abnormal.iter().map(|(from, to)| *to - *from).sum()),
                alarms: 0,
                highest: 0.0,
                highest_call: String::new(),
                threshold: said.last().and_then(|s| s.score["threshold"].as_f64()).unwrap_or(0.0),
                maxima: maxima(&said, &abnormal, self.began, end),
            };
            let mut was_anomalous = false;
            for said in &said {
                if is_normal(said.at) {
                    normal.alarms += u32::from(said.is("anomalous") && !was_anomalous);
                    if said.nats() > normal.highest {
                        normal.highest = said.nats();
                        let (process, call) = first_surprise(&said.score);
                        normal.highest_call = format!("{process}: {call}");
                    }
                }
                was_anomalous = said.is("anomalous");
            }
            normal
        };
        targets.iter().map(of).collect()
    }

    /// Ends agent and scorer; what the agent had in its hands is written.
    pub fn end(mut self) -> Result<()> {
        let status = self.agent.terminate(SOON)?;
        ensure!(status.success(), "the agent ended with {status}:\n{}", self.agent.log());
        Ok(())
    }

    fn latest(&self, target: &Target) -> Option<Said> {
        lock(&self.log).get(target.server.id()).and_then(|said| said.last().cloned())
    }

    fn said(&self, target: &Target, since: Instant) -> Vec<Said> {
        let log = lock(&self.log);
        log.get(target.server.id()).into_iter().flatten().filter(|said| said.at >= since).cloned().collect()
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        let _ = self.watch.kill();
        let _ = self.watch.wait();
    }
}

/// From each attack's begin until it is [`FORGOTTEN`], or the next begins, and the verdict is not anomalous.
fn abnormal(said: &[Said], attacks: &[(Instant, Instant)], end: Instant) -> Vec<(Instant, Instant)> {
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
fn maxima(said: &[Said], abnormal: &[(Instant, Instant)], began: Instant, end: Instant) -> Vec<f64> {
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
fn first_surprise(score: &Value) -> (String, String) {
    let window = &score["evidence"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&window["process"]), text(&window["surprises"][0]["call"]))
}

/// `scores watch`, whose lines go to `log`.
fn watch(url: &str, log: &Log) -> Result<Child> {
    let mut command = scorer::command(&["scores", "watch", "--server", url, "-o", "json"])?;
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("starting scores watch")?;
    let lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
    let log = Arc::clone(log);
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let Ok(mut score) = serde_json::from_str::<Value>(&line) else { continue };
            // All that is looked at later: hours of answers are kept.
            if let Some(evidence) = score["evidence"].as_array_mut() {
                evidence.truncate(1);
            }
            let Some(id) = score["id"].as_str().map(str::to_owned) else { continue };
            lock(&log).entry(id).or_default().push(Said { at: Instant::now(), score });
        }
    });
    Ok(child)
}

/// What a panicking thread left is a value like any other.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The recording of the normal load, and of everything after it, in `scratch`.
pub fn recordings(scratch: &Path) -> (PathBuf, PathBuf) {
    (scratch.join("normal.jsonl"), scratch.join("live.jsonl"))
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
