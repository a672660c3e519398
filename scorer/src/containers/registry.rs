//! All containers.
//!
//! In: what [`crate::detect::detector`] found in windows, and who judges. Out: windows for the model, when it can have more; the
//! balance of the two hops here. Never: a container beyond [`Limits`].
//!
//! What agents say comes in by `intake`, time by `time`; `view` is what queries see.

use crate::containers::entry::{Entry, Shown};
use crate::containers::firsts::By;
use crate::containers::job::{Job, Key};
use crate::containers::limits::Limits;
use crate::containers::names::News;
use crate::containers::origin::Origins;
use crate::containers::queue::{Queue, WINDOW_BYTES};
use crate::containers::thread::THREAD_BYTES;
use crate::detect::detector::Finding;
use crate::detect::evidence::Evidence;
use crate::detect::score::{Score, Worth};
use crate::flow::{self, Flow};
use crate::ingest::wire::ContainerId;
use crate::judge::threshold::Judge;
use crate::metrics::Metrics;
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use surprisal_proto::v1;

/// From batches to windows.
pub(super) const CUTTING: flow::Hop = flow::Hop {
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

/// Now, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Since a fixed point, never going back.
    pub mono: Duration,
    /// Of the day.
    pub wall: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) streams: u32,
    pub(super) containers: usize,
    /// Calls taken from it.
    pub(super) calls: u64,
    /// Calls that it says were not sent.
    pub(super) unsent: u64,
    /// Its agent does not tell what calls are about.
    pub(super) names_left_out: bool,
    /// Since when no agent of this node is connected.
    pub(super) gone: Option<Duration>,
}

/// What a window is about that its workload's training did not see.
fn news(entry: &Entry, judge: &Judge, job: &Job) -> News {
    let Some(seen) = &judge.seen else { return News::default() };
    let first = job.window.first_sequence;
    entry.names.new_in(job.thread, first..first.saturating_add(job.window.calls.len() as u64), seen)
}

/// All containers.
#[derive(Debug)]
pub struct Registry {
    pub(super) containers: HashMap<Key, Entry>,
    pub(super) nodes: HashMap<Arc<str>, Node>,
    pub(super) judges: HashMap<String, Judge>,
    pub(super) threads: usize,
    pub(super) queue: Queue,
    /// Windows that the model has.
    pub(super) handed: usize,
    pub(super) origins: Origins,
    pub(super) cutting: Flow,
    pub(super) judging: Flow,
    pub(super) revision: u64,
    pub(super) limits: Limits,
    pub(super) metrics: Metrics,
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
            origins: Origins::default(),
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
    pub fn judged(&mut self, job: &Job, finding: Option<Finding>, now: Now) {
        self.handed = self.handed.saturating_sub(1);
        self.metrics.windows_waiting.set(self.judging.held().saturating_sub(1) as i64);
        let Some(entry) = self.containers.get_mut(&job.key) else {
            self.judging.discard("container_gone", 1);
            return;
        };
        if let Some(workload) = entry.workload.as_ref().filter(|w| **w != job.workload && self.judges.contains_key(w.as_ref())) {
            // It got another name meanwhile: its profile judges.
            self.queue.push(Job { workload: Arc::clone(workload), ..job.clone() });
            return;
        }
        if let Some(thread) = entry.threads.get_mut(&job.thread) {
            thread.done();
        }
        if entry.workload.as_ref() != Some(&job.workload) {
            self.judging.discard("no_profile", 1);
            return;
        }
        let Some(finding) = finding else {
            entry.failed_windows += 1;
            self.judging.discard("not_judged", 1);
            return;
        };
        let Some(judge) = self.judges.get(job.workload.as_ref()).filter(|j| j.version == finding.version) else {
            self.judging.discard("profile_replaced", 1);
            return;
        };
        self.judging.pass(1);
        if entry.version.as_ref() != Some(&finding.version) {
            // Scores of different models do not compare.
            entry.start_over();
            entry.version = Some(Arc::clone(&finding.version));
        }
        entry.windows += 1;
        entry.judged += 1;
        self.metrics.windows_scored.inc();
        let evidence = &finding.evidence;
        let first = evidence.window.first_sequence;
        let of_call =
            |index: usize| entry.names.get(job.thread, first.saturating_add(index as u64)).map(|t| Arc::clone(&t.shown));
        let names: Vec<_> = evidence.surprises.iter().map(|surprise| of_call(surprise.index)).collect();
        let news = news(entry, judge, job);
        let score = finding.score.or(news.score);
        let anomalous = score.nats() >= judge.threshold.nats();
        if anomalous {
            self.metrics.windows_anomalous.inc();
        }
        if entry.peak.is_none_or(|(peak, _)| score > peak) {
            entry.peak = Some((score, now.wall));
        }
        let by = By { thread: job.thread, process: Arc::clone(&job.process), mono: now.mono, at: now.wall };
        entry.firsts.add(&news.names, &by);
        let worth = Worth { score, anomalous, kinds: finding.evidence.kinds() };
        let shown = || Shown {
            thread: job.thread,
            process: Arc::clone(&job.process),
            by_exec: job.by_exec,
            at: now.wall,
            evidence: Evidence { score, ..finding.evidence },
            names,
            new_names: news.names,
        };
        entry.recent.add(now.mono, worth, shown);
        self.changed(&job.key.node, &job.key.id);
    }

    /// How strange what a window is about is, as far as its names have come.
    pub fn names_score(&self, job: &Job) -> Score {
        let about = self.containers.get(&job.key).zip(self.judges.get(job.workload.as_ref()));
        about.map_or(Score::default(), |(entry, judge)| news(entry, judge, job).score)
    }

    /// Which profiles and thresholds judge from now on. Containers whose judge changed count as changed.
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
                    entry.start_over();
                }
            }
        }
        self.metrics.profiles.set(judges.len() as i64);
        self.judges = judges;
    }

    /// The container, made if there is room; `None` is counted.
    pub(super) fn entry(&mut self, node: &Arc<str>, id: &ContainerId, now: Now) -> Option<&mut Entry> {
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

    pub(super) fn changed(&mut self, node: &Arc<str>, id: &ContainerId) {
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

    pub(super) fn gauges(&self) {
        self.metrics.containers.set(self.containers.len() as i64);
        self.metrics.threads.set(self.threads as i64);
        self.metrics.windows_waiting.set(self.judging.held() as i64);
    }
}
