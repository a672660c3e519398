//! Containers: what is known of each, its threads' windows, and what was said of it.
//!
//! In: checked batches (`ingest`, taken by `intake`), [`time`], judged windows (`inference`), thresholds.
//! Out: [`Job`]s for the model ([`queue`]), and views for queries ([`view`]). Never: a clock, a socket, a model: time is passed in.
//!
//! **Invariant:** everything here is bounded by [`Limits`], whatever an agent sends; what finds no place is
//! counted. What belongs to a dead container goes with it, after a grace in which its last score can be read. In bytes, at most
//! `containers` x [`CONTAINER_BYTES`] + `threads` x [`thread::THREAD_BYTES`] + (`waiting` + `handed`) x [`queue::WINDOW_BYTES`].
//!
//! **Invariant:** calls taken in = calls in windows + calls dropped + calls pending, and windows cut = windows scored + windows
//! dropped + windows waiting, at any time ([`Registry::hops`]).
//!
//! Nodes are taken at their word: whoever may connect can call itself any node and fill what a node may have. One that does so
//! takes no more than [`Limits::containers_per_node`] containers for each name that it takes.

mod entry;
mod intake;
pub mod queue;
pub mod shared;
pub mod thread;
pub mod time;
pub mod view;

use crate::detect::score::{Score, Worth};
use crate::detect::window::Window;
use crate::flow::{self, Flow};
use crate::ingest::wire::ContainerId;
use crate::judge::threshold::{Source, Threshold};
use crate::judge::verdict::Evidence;
use crate::metrics::Metrics;
pub use entry::CONTAINER_BYTES;
use entry::{Entry, Shown};
use jiff::Timestamp;
use queue::{Queue, WINDOW_BYTES};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use surprisal_proto::v1;
use thread::{THREAD_BYTES, ThreadId};

/// From batches to windows.
const CUTTING: flow::Hop = flow::Hop {
    name: "windows",
    unit: "calls",
    reasons: &["bad_id", "odd_tokens", "containers_full", "threads_full", "gap", "context", "forgotten"],
    when_full: "drops the calls of new threads and containers",
};
/// From windows to verdicts.
const JUDGING: flow::Hop = flow::Hop {
    name: "model queue",
    unit: "windows",
    reasons: &["no_profile", "overload", "late", "not_judged", "profile_replaced", "container_gone"],
    when_full: "drops the new of the containers that have the most",
};

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
    /// Windows that may wait for the model.
    pub waiting: usize,
    /// Windows that the model may have at once: what it has is judged in the order that it came in.
    pub handed: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            containers: 49_152,
            containers_per_node: 4_096,
            threads: 262_144,
            threads_per_container: 8_192,
            waiting: 32_768,
            handed: 1_024,
        }
    }
}

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
    /// When the batch that completed it was received, or when it was cut because its thread was quiet.
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

#[derive(Debug, Default)]
struct Node {
    streams: u32,
    containers: usize,
    /// Calls taken from it.
    calls: u64,
    /// Calls that it says were not sent.
    unsent: u64,
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
    queue: Queue,
    /// Windows that the model has.
    handed: usize,
    cutting: Flow,
    judging: Flow,
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
            queue: Queue::default(),
            handed: 0,
            cutting: Flow::new(CUTTING, metrics.clone()),
            judging: Flow::new(JUDGING, metrics.clone()),
            revision: 0,
            limits,
            metrics,
        }
    }

    /// Grows with every change that a query would show.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Windows for the model, those whose turn it is, as many as it may have besides what it has; none while it has more
    /// than half of that.
    pub fn hand_out(&mut self, now: Now) -> Vec<Job> {
        let (mut jobs, mut late) = (Vec::new(), Vec::new());
        if self.handed > self.limits.handed / 2 {
            return jobs;
        }
        while self.handed < self.limits.handed
            && let Some(job) = self.queue.pop(now.mono, &mut late)
        {
            self.handed += 1;
            jobs.push(job);
        }
        self.judging.discard("late", late.len() as u64);
        for job in late {
            let Some(entry) = self.containers.get_mut(&job.key) else { continue };
            entry.shed(job.window.calls.len());
            if let Some(thread) = entry.threads.get_mut(&job.thread) {
                thread.done();
            }
        }
        self.gauges();
        jobs
    }

    /// Windows wait that the model could not have yet.
    pub fn has_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// A job came back from the model; `None`: it could not be judged.
    pub fn judged(&mut self, job: &Job, verdict: Option<Verdicted>, now: Now) {
        self.handed = self.handed.saturating_sub(1);
        self.metrics.windows_waiting.set(self.judging.held().saturating_sub(1) as i64);
        let Some(entry) = self.containers.get_mut(&job.key) else {
            self.judging.discard("container_gone", 1);
            return;
        };
        if let Some(thread) = entry.threads.get_mut(&job.thread) {
            thread.done();
        }
        let Some(verdict) = verdict else {
            entry.failed_windows += 1;
            self.judging.discard("not_judged", 1);
            return;
        };
        let Some(judge) = self.judges.get(job.workload.as_ref()).filter(|j| j.version == verdict.version) else {
            self.judging.discard("profile_replaced", 1);
            return;
        };
        self.judging.pass(1);
        if entry.version.as_ref() != Some(&verdict.version) {
            // Scores of different models do not compare.
            entry.recent.clear();
            entry.judged = 0;
            entry.version = Some(Arc::clone(&verdict.version));
        }
        entry.windows += 1;
        entry.judged += 1;
        self.metrics.windows_scored.inc();
        let anomalous = verdict.score.nats() >= judge.threshold.nats();
        if anomalous {
            self.metrics.windows_anomalous.inc();
        }
        if entry.peak.is_none_or(|(peak, _)| verdict.score > peak) {
            entry.peak = Some((verdict.score, now.wall));
        }
        let worth = Worth { score: verdict.score, anomalous, kinds: verdict.evidence.kinds() };
        let shown = || Shown { thread: job.thread, process: Arc::clone(&job.process), at: now.wall, evidence: verdict.evidence };
        entry.recent.add(now.mono, worth, shown);
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

    /// The two hops here; see the module.
    pub fn hops(&self) -> [v1::Hop; 2] {
        let bytes = |n: usize, each: usize| Some(n.saturating_mul(each) as u64);
        let places = self.limits.waiting.saturating_add(self.limits.handed);
        [
            self.cutting.hop(bytes(self.threads, THREAD_BYTES), bytes(self.limits.threads, THREAD_BYTES)),
            self.judging.hop(bytes(self.queue.len() + self.handed, WINDOW_BYTES), bytes(places, WINDOW_BYTES)),
        ]
    }

    fn gauges(&self) {
        self.metrics.containers.set(self.containers.len() as i64);
        self.metrics.threads.set(self.threads as i64);
        self.metrics.windows_waiting.set(self.judging.held() as i64);
    }
}

#[cfg(test)]
mod tests;
