//! Containers: what is known of each, its threads' windows, and what was said of it.
//!
//! In: checked batches (`ingest`, taken by `intake`), [`time`], judged windows (`inference`), thresholds.
//! Out: [`Job`]s for the model, and views for queries ([`view`]). Never: a clock, a socket, a model: time is passed in.
//!
//! **Invariant:** everything here is bounded by [`Limits`], whatever an agent sends; what finds no place is
//! counted. What belongs to a dead container goes with it, after a grace in which its last score can be read.

mod entry;
mod intake;
pub mod thread;
pub mod time;
pub mod view;

use crate::ingest::wire::ContainerId;
use crate::metrics::Metrics;
use crate::score::Score;
use crate::threshold::{Source, Threshold};
use crate::verdict::Evidence;
use crate::window::Window;
use entry::{Entry, Shown};
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use surprisal_proto::v1;
use thread::ThreadId;

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
    /// Windows that may wait in all.
    pub waiting_most: usize,
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
            waiting_most: 8_192,
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

    /// A job came back from the model; `None`: it could not be judged.
    pub fn judged(&mut self, job: &Job, verdict: Option<Verdicted>, now: Now) {
        self.waiting = self.waiting.saturating_sub(1);
        self.metrics.windows_waiting.set(self.waiting as i64);
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

#[cfg(test)]
mod tests;
