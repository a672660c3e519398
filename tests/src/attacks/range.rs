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

use super::{
    Scenario, Target,
    said::{Log, Said, abnormal, first_surprise, lock, maxima, watch},
};
use crate::{Containerd, Daemon, Scorer, agent, scorer, wait::try_wait_for};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Child,
    thread,
    time::{Duration, Instant, SystemTime},
};

pub use super::said::LOOK;

/// After an attack's last action, how long its verdict may take.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long a server may take to calm down.
const CALM: Duration = Duration::from_secs(75);
const SOON: Duration = Duration::from_secs(30);

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
    record_selected(containerd, &selects(targets), time, file)
}

/// Records what `selects`, the agent's own words, choose.
pub fn record_selected(containerd: &Containerd, selects: &[String], time: Duration, file: &Path) -> Result<()> {
    let seconds = time.as_secs().to_string();
    let output = file.to_str().context("a path in UTF-8")?;
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

/// The recording of the normal load, and of everything after it, in `scratch`.
pub fn recordings(scratch: &Path) -> (PathBuf, PathBuf) {
    (scratch.join("normal.jsonl"), scratch.join("live.jsonl"))
}
