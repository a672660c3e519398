//! Containers: what is known of each, its threads' windows, and what was said of it.
//!
//! In: checked batches (`ingest`), judged windows (`inference`), thresholds. Out: [`Job`]s for the model, and
//! views for queries (`view`). Never: a clock, a socket, a model: time is passed in.
//!
//! **Invariant:** everything here is bounded by [`Limits`], whatever an agent sends; what finds no place is
//! counted. What belongs to a dead container goes with it, after a grace in which its last score can be read.

pub mod thread;
pub mod view;

use crate::ingest::wire::{self, ContainerId};
use crate::metrics::Metrics;
use crate::score::{Recent, Score};
use crate::threshold::{Source, Threshold};
use crate::verdict::{Evidence, Facts, Verdict, judge};
use crate::window::{Cut, QUIET, Run, Window};
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use surprisal_proto::v1;
use thread::{Thread, ThreadId};

/// Bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Containers in all, and of one node.
    pub containers: usize,
    /// Containers of one node.
    pub containers_per_node: usize,
    /// Threads in all.
    pub threads: usize,
    /// Threads of one container.
    pub threads_per_container: usize,
    /// Windows that may wait for the model before threads with many of them are shed.
    pub waiting: usize,
    /// Windows of one thread that may wait even then.
    pub waiting_per_thread: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            containers: 16_384,
            containers_per_node: 4_096,
            threads: 131_072,
            threads_per_container: 8_192,
            waiting: 512,
            waiting_per_thread: 8,
        }
    }
}

/// Silence after which a thread is forgotten: its next calls become context first.
pub const THREAD_FORGOTTEN: Duration = Duration::from_mins(10);
/// How long a dead container's last score can be read.
pub const ENDED_KEPT: Duration = Duration::from_mins(5);
/// How long a container that is never named is kept.
pub const UNNAMED_KEPT: Duration = Duration::from_mins(1);
/// How long a container counts as living after its agent came back without mentioning it, or went away.
pub const UNCONFIRMED_KEPT: Duration = Duration::from_mins(10);

/// Now, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Since a fixed point, never going back.
    pub mono: Duration,
    /// Of the day.
    pub wall: Timestamp,
}

/// Which container. Ids are the runtime's: two nodes may have the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Node.
    pub node: Arc<str>,
    /// Container id.
    pub id: ContainerId,
}

/// A window to score.
#[derive(Clone, Debug)]
pub struct Job {
    /// Whose.
    pub key: Key,
    /// Which thread's.
    pub thread: ThreadId,
    /// Process name.
    pub process: Arc<str>,
    /// Whose profile.
    pub workload: Arc<str>,
    /// The window.
    pub window: Window,
    /// When it was cut.
    pub cut_at: Duration,
}

/// What a model said of a job.
#[derive(Clone, Debug)]
pub struct Verdicted {
    /// The window's score.
    pub score: Score,
    /// What in it was surprising.
    pub evidence: Evidence,
    /// Version of the profile that judged.
    pub version: Arc<str>,
}

/// Who judges a workload now.
#[derive(Clone, Debug, PartialEq)]
pub struct Judge {
    /// Version of its profile.
    pub version: Arc<str>,
    /// Threshold in force.
    pub threshold: Threshold,
    /// Where that comes from.
    pub source: Source,
}

/// Evidence, and who made the calls.
#[derive(Clone, Debug)]
struct Shown {
    thread: ThreadId,
    process: Arc<str>,
    at: Timestamp,
    evidence: Evidence,
}

/// A container.
#[derive(Debug, Default)]
struct Entry {
    about: v1::Container,
    workload: Option<Arc<str>>,
    threads: HashMap<ThreadId, Thread>,
    calls: u64,
    /// Calls lost by the holes in its threads' numbers.
    lost_gaps: u64,
    /// Calls lost by its agent's account.
    lost_node: u64,
    shed_calls: u64,
    shed_windows: u64,
    windows: u64,
    gapped: u64,
    recent: Recent<Shown>,
    peak: Option<(Score, Timestamp)>,
    network: Option<v1::Network>,
    /// Version of the profile that `recent` and `judged` are of.
    version: Option<Arc<str>>,
    /// Windows that this version scored.
    judged: u64,
    heard: Duration,
    /// Since when its agent has been back without mentioning it.
    unconfirmed: Option<Duration>,
    ended: Option<Duration>,
    revision: u64,
}

#[derive(Debug, Default)]
struct Node {
    streams: u32,
    containers: usize,
    /// Since when no agent of this node is connected.
    gone: Option<Duration>,
}

/// All containers.
#[derive(Debug)]
pub struct Registry {
    containers: HashMap<Key, Entry>,
    nodes: HashMap<Arc<str>, Node>,
    judges: HashMap<String, Judge>,
    threads: usize,
    waiting: usize,
    revision: u64,
    limits: Limits,
    metrics: Metrics,
}

impl Registry {
    /// An empty registry.
    pub fn new(limits: Limits, metrics: Metrics) -> Self {
        Self {
            containers: HashMap::new(),
            nodes: HashMap::new(),
            judges: HashMap::new(),
            threads: 0,
            waiting: 0,
            revision: 0,
            limits,
            metrics,
        }
    }

    /// Grows with every change that a query would show.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// An agent of this node has connected: what it does not mention any more has ended unseen.
    pub fn connected(&mut self, node: &Arc<str>, now: Now) {
        let n = self.nodes.entry(Arc::clone(node)).or_default();
        n.streams += 1;
        n.gone = None;
        for (_, entry) in self.containers.iter_mut().filter(|(key, _)| key.node == *node) {
            entry.unconfirmed = Some(now.mono);
        }
    }

    /// An agent's stream of this node has ended.
    pub fn disconnected(&mut self, node: &Arc<str>, now: Now) {
        if let Some(n) = self.nodes.get_mut(node) {
            n.streams = n.streams.saturating_sub(1);
            if n.streams == 0 {
                n.gone = Some(now.mono);
            }
        }
    }

    /// Takes a batch; adds the windows that it completes to `jobs`.
    pub fn take(&mut self, node: &Arc<str>, batch: wire::Batch, now: Now, jobs: &mut Vec<Job>) {
        for birth in batch.births {
            self.birth(node, birth, now);
        }
        for calls in &batch.calls {
            self.calls(node, calls, now, jobs);
        }
        for (id, network) in batch.network {
            if let Some(entry) = self.entry(node, &id, now) {
                entry.network = Some(network);
                self.changed(node, &id);
            }
        }
        for account in batch.accounts {
            if let Some(entry) = self.entry(node, &account.container, now) {
                entry.lost_node = account.lost;
            }
        }
        for id in batch.deaths {
            self.death(node, &id, now, jobs);
        }
        self.gauges();
    }

    fn birth(&mut self, node: &Arc<str>, about: wire::Birth, now: Now) {
        if let Some(entry) = self.entry(node, &about.id, now) {
            let workload = about.workload();
            if entry.workload != workload {
                // It was not named before, or is another one now: what was said was said of something else.
                entry.recent.clear();
                entry.version = None;
                entry.judged = 0;
            }
            entry.workload = workload;
            entry.about = about.about;
            node.as_ref().clone_into(&mut entry.about.node);
            entry.ended = None;
            self.changed(node, &about.id);
        }
    }

    fn calls(&mut self, node: &Arc<str>, calls: &wire::Calls, now: Now, jobs: &mut Vec<Job>) {
        let n = calls.tokens.len() as u64;
        self.metrics.calls.inc_by(n);
        let (limits, threads) = (self.limits, self.threads);
        let Some(entry) = self.entry(node, &calls.container, now) else { return };
        entry.calls = entry.calls.saturating_add(n);
        let id = ThreadId { tgid: calls.tgid, tid: calls.tid };
        if !entry.threads.contains_key(&id) {
            if threads >= limits.threads || entry.threads.len() >= limits.threads_per_container {
                entry.shed_calls = entry.shed_calls.saturating_add(n);
                self.metrics.drop("calls", "threads_full", n);
                return;
            }
            entry.threads.insert(id, Thread::default());
            self.threads += 1;
        }
        let Some(entry) = self.containers.get_mut(&Key { node: Arc::clone(node), id: calls.container.clone() }) else { return };
        let Some(thread) = entry.threads.get_mut(&id) else { return };
        thread.heard = now.mono;
        thread.flushed = false;
        if *thread.process != *calls.process {
            thread.process = calls.process.as_str().into();
        }
        let run = Run {
            first_sequence: calls.first_sequence,
            gap: calls.gap,
            started_ns: calls.started_ns,
            calls: &calls.tokens,
            last: calls.last,
        };
        let mut cuts = Vec::new();
        let unseen = thread.cutter.is_new();
        thread.cutter.push(run, &mut cuts);
        // What is missing before the first run of a thread was lost only as far as somebody says so: it may have
        // come to an earlier scorer.
        let missing = if unseen { calls.gap } else { lost(&cuts) };
        entry.lost_gaps = entry.lost_gaps.saturating_add(missing);
        let key = Key { node: Arc::clone(node), id: calls.container.clone() };
        self.cut(&key, id, cuts, now, jobs);
        if calls.last
            && let Some(entry) = self.containers.get_mut(&key)
            && entry.threads.remove(&id).is_some()
        {
            self.threads -= 1;
        }
    }

    /// Makes jobs of what was cut from a thread.
    fn cut(&mut self, key: &Key, id: ThreadId, cuts: Vec<Cut>, now: Now, jobs: &mut Vec<Job>) {
        let Some(entry) = self.containers.get_mut(key) else { return };
        let Some(thread) = entry.threads.get_mut(&id) else { return };
        for cut in cuts {
            let window = match cut {
                Cut::Gapped { dropped, .. } => {
                    entry.gapped += 1;
                    self.metrics.drop("windows", "gap", 1);
                    self.metrics.drop("calls", "pending_at_gap", dropped);
                    continue;
                }
                Cut::Window(window) => window,
            };
            self.metrics.windows.inc();
            let Some(workload) = entry.workload.as_ref().filter(|w| self.judges.contains_key(w.as_ref())) else {
                self.metrics.drop("windows", "no_profile", 1);
                continue;
            };
            // Under load, a thread that keeps the model busy is sampled; one that has little to say is heard.
            if self.waiting >= self.limits.waiting && thread.waiting() >= self.limits.waiting_per_thread {
                entry.shed_windows += 1;
                entry.shed_calls = entry.shed_calls.saturating_add(window.calls.len() as u64);
                self.metrics.drop("windows", "overload", 1);
                continue;
            }
            self.waiting += 1;
            thread.wait();
            jobs.push(Job {
                key: key.clone(),
                thread: id,
                process: Arc::clone(&thread.process),
                workload: Arc::clone(workload),
                window,
                cut_at: now.mono,
            });
        }
    }

    fn death(&mut self, node: &Arc<str>, id: &ContainerId, now: Now, jobs: &mut Vec<Job>) {
        let key = Key { node: Arc::clone(node), id: id.clone() };
        self.end(&key, now, jobs);
    }

    /// A container has ended: its pending windows are scored, its threads are let go.
    fn end(&mut self, key: &Key, now: Now, jobs: &mut Vec<Job>) {
        let Some(entry) = self.containers.get_mut(key) else { return };
        if entry.ended.is_some() {
            return;
        }
        entry.ended = Some(now.mono);
        let ids: Vec<_> = entry.threads.keys().copied().collect();
        for id in &ids {
            self.flush(key, *id, now, jobs);
        }
        if let Some(entry) = self.containers.get_mut(key) {
            entry.threads = HashMap::new();
            self.threads -= ids.len();
        }
        self.changed(&key.node.clone(), &key.id.clone());
    }

    fn flush(&mut self, key: &Key, id: ThreadId, now: Now, jobs: &mut Vec<Job>) {
        let thread = self.containers.get_mut(key).and_then(|e| e.threads.get_mut(&id));
        let Some(thread) = thread else { return };
        thread.flushed = true;
        let cuts = thread.cutter.flush().map(Cut::Window).into_iter().collect();
        self.cut(key, id, cuts, now, jobs);
    }

    /// What time brings: quiet threads are cut, old windows expire, the dead are forgotten. Call a few times a second.
    pub fn tick(&mut self, now: Now, jobs: &mut Vec<Job>) {
        let mut quiet = Vec::new();
        let mut ended = Vec::new();
        let mut gone = Vec::new();
        let (mut changed, mut forgotten) = (Vec::new(), 0);
        let since = |then: Duration| now.mono.saturating_sub(then);
        for (key, entry) in &mut self.containers {
            let node_gone = self.nodes.get(&key.node).and_then(|n| n.gone).is_some_and(|gone| since(gone) >= UNCONFIRMED_KEPT);
            let unconfirmed = entry.unconfirmed.is_some_and(|then| since(then) >= UNCONFIRMED_KEPT);
            if entry.ended.is_none() && (node_gone || unconfirmed) {
                ended.push(key.clone());
            }
            let unnamed = entry.workload.is_none() && since(entry.heard) >= UNNAMED_KEPT;
            if entry.ended.is_some_and(|then| since(then) >= ENDED_KEPT) || unnamed {
                gone.push(key.clone());
                continue;
            }
            let before = entry.threads.len();
            entry.threads.retain(|_, t| since(t.heard) < THREAD_FORGOTTEN);
            forgotten += before - entry.threads.len();
            let silent = |(_, t): &(&ThreadId, &Thread)| !t.flushed && since(t.heard) >= QUIET;
            quiet.extend(entry.threads.iter().filter(silent).map(|(id, _)| (key.clone(), *id)));
            // The score of the dead is their last.
            if entry.ended.is_none() && entry.recent.expire(now.mono) {
                changed.push(key.clone());
            }
        }
        self.threads -= forgotten;
        for (key, id) in quiet {
            self.flush(&key, id, now, jobs);
        }
        for key in ended {
            self.end(&key, now, jobs);
        }
        for key in gone {
            self.forget(&key);
        }
        for key in changed {
            self.changed(&key.node, &key.id);
        }
        let nodes_in_use = |n: &Node| n.streams > 0 || n.containers > 0;
        self.nodes.retain(|_, n| nodes_in_use(n));
        self.gauges();
    }

    fn forget(&mut self, key: &Key) {
        if let Some(entry) = self.containers.remove(key) {
            self.threads -= entry.threads.len();
            if let Some(node) = self.nodes.get_mut(&key.node) {
                node.containers -= 1;
            }
        }
    }

    /// A job came back from the model; `None`: it could not be judged.
    pub fn judged(&mut self, job: &Job, verdict: Option<Verdicted>, now: Now) {
        self.waiting = self.waiting.saturating_sub(1);
        let Some(entry) = self.containers.get_mut(&job.key) else { return };
        if let Some(thread) = entry.threads.get_mut(&job.thread) {
            thread.done();
        }
        let Some(verdict) = verdict else {
            entry.shed_windows += 1;
            self.metrics.drop("windows", "not_judged", 1);
            return;
        };
        let Some(judge) = self.judges.get(job.workload.as_ref()).filter(|j| j.version == verdict.version) else {
            self.metrics.drop("windows", "profile_replaced", 1);
            return;
        };
        if entry.version.as_ref() != Some(&verdict.version) {
            // Scores of different models do not compare.
            entry.recent.clear();
            entry.judged = 0;
            entry.version = Some(Arc::clone(&verdict.version));
        }
        entry.windows += 1;
        entry.judged += 1;
        self.metrics.windows_scored.inc();
        if verdict.score.nats() >= judge.threshold.nats() {
            self.metrics.windows_anomalous.inc();
        }
        if entry.peak.is_none_or(|(peak, _)| verdict.score > peak) {
            entry.peak = Some((verdict.score, now.wall));
        }
        let shown = || Shown { thread: job.thread, process: Arc::clone(&job.process), at: now.wall, evidence: verdict.evidence };
        entry.recent.add(now.mono, verdict.score, shown);
        self.changed(&job.key.node, &job.key.id);
    }

    /// Who judges from now on. Containers whose judge changed are shown anew.
    pub fn set_judges(&mut self, judges: HashMap<String, Judge>) {
        if self.judges == judges {
            return;
        }
        self.revision += 1;
        for entry in self.containers.values_mut() {
            let Some(workload) = &entry.workload else { continue };
            let (old, new) = (self.judges.get(workload.as_ref()), judges.get(workload.as_ref()));
            if old != new {
                entry.revision = self.revision;
                if old.map(|j| &j.version) != new.map(|j| &j.version) {
                    entry.recent.clear();
                    entry.judged = 0;
                }
            }
        }
        self.metrics.profiles.set(judges.len() as i64);
        self.judges = judges;
    }

    /// The container, made if there is room; `None` is counted.
    fn entry(&mut self, node: &Arc<str>, id: &ContainerId, now: Now) -> Option<&mut Entry> {
        let key = Key { node: Arc::clone(node), id: id.clone() };
        if !self.containers.contains_key(&key) {
            let n = self.nodes.entry(Arc::clone(node)).or_default();
            if self.containers.len() >= self.limits.containers || n.containers >= self.limits.containers_per_node {
                self.metrics.drop("containers", "full", 1);
                return None;
            }
            n.containers += 1;
            self.revision += 1;
            let about = v1::Container { id: id.as_str().to_owned(), node: node.as_ref().to_owned(), ..v1::Container::default() };
            self.containers.insert(key.clone(), Entry { about, revision: self.revision, ..Entry::default() });
        }
        let entry = self.containers.get_mut(&key)?;
        entry.heard = now.mono;
        entry.unconfirmed = None;
        Some(entry)
    }

    fn changed(&mut self, node: &Arc<str>, id: &ContainerId) {
        self.revision += 1;
        if let Some(entry) = self.containers.get_mut(&Key { node: Arc::clone(node), id: id.clone() }) {
            entry.revision = self.revision;
        }
    }

    fn gauges(&self) {
        self.metrics.containers.set(self.containers.len() as i64);
        self.metrics.threads.set(self.threads as i64);
        self.metrics.windows_waiting.set(self.waiting as i64);
    }
}

/// Calls lost in the gaps among these.
fn lost(cuts: &[Cut]) -> u64 {
    cuts.iter().fold(0, |sum, cut| sum.saturating_add(if let Cut::Gapped { lost, .. } = cut { *lost } else { 0 }))
}

impl Entry {
    fn verdict(&self, judge_now: Option<&Judge>) -> Verdict {
        judge(Facts {
            named: self.workload.is_some(),
            threshold: judge_now.map(|j| j.threshold),
            score: self.recent.score(),
            calls: self.calls,
            windows: self.judged,
            starved: self.gapped + self.shed_windows,
        })
    }

    /// Share of calls that were lost on the way, or came and were not scored for want of room.
    fn loss_ratio(&self) -> f64 {
        let lost = self.lost_gaps.max(self.lost_node);
        let all = self.calls as f64 + lost as f64;
        if all > 0.0 { ((lost as f64 + self.shed_calls as f64) / all).min(1.0) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests;
