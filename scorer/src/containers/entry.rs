//! One container.
//!
//! In: nothing by itself; its neighbours fill it in. Out: its verdict and its loss ratio. Never: another container.

use crate::containers::firsts::Firsts;
use crate::containers::names::{Names, New};
use crate::containers::thread::{Thread, ThreadId};
use crate::detect::evidence::Evidence;
use crate::detect::score::{Recent, Score};
use crate::judge::threshold::Judge;
use crate::judge::verdict::{Facts, Verdict, judge};
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use surprisal_proto::v1;

/// Bytes that a container takes, at most, without its threads: names within the limits of `ingest::wire`, what its last calls were about,
/// and [`crate::detect::score::KEPT`] windows of evidence. One with names of usual length and a steady score takes a tenth of it; measured
/// by `tests/memory.rs`.
pub const CONTAINER_BYTES: usize = 128 << 10;

/// Evidence, and who made the calls.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) thread: ThreadId,
    pub(super) process: Arc<str>,
    pub(super) by_exec: bool,
    pub(super) at: Timestamp,
    pub(super) evidence: Evidence,
    /// What each of its surprising calls was about, as far as it was known when the window was judged.
    pub(super) names: Vec<Option<Arc<str>>>,
    /// What its calls were about that training never saw.
    pub(super) new_names: Vec<New>,
}

/// A container.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) about: v1::Container,
    pub(super) workload: Option<Arc<str>>,
    pub(super) threads: HashMap<ThreadId, Thread>,
    pub(super) calls: u64,
    /// Calls lost by the holes in its threads' numbers.
    pub(super) lost_gaps: u64,
    /// Calls lost before a run, as its agent said with the run.
    pub(super) lost_said: u64,
    /// Calls lost by its agent's account.
    pub(super) lost_node: u64,
    /// Calls that were not sent, for any reason, by its agent's account.
    pub(super) unsent: u64,
    /// Share of the time in which its calls are sent; `None`: always.
    pub(super) observed: Option<f64>,
    /// It was sampled at some time: holes in its threads' numbers need not be loss.
    pub(super) sampled: bool,
    pub(super) shed_calls: u64,
    /// Windows that the model had no time for.
    pub(super) shed_windows: u64,
    /// Windows that the model failed at.
    pub(super) failed_windows: u64,
    pub(super) windows: u64,
    pub(super) gapped: u64,
    pub(super) recent: Recent<Shown>,
    pub(super) peak: Option<(Score, Timestamp)>,
    pub(super) network: Option<v1::Network>,
    /// What its last named calls were about.
    pub(super) names: Names,
    /// What it did for the first time.
    pub(super) firsts: Firsts,
    /// Names that its agent says were not told, and not read.
    pub(super) nameless: (u64, u64),
    /// Version of the profile that `recent` and `judged` are of.
    pub(super) version: Option<Arc<str>>,
    /// Windows that this version scored.
    pub(super) judged: u64,
    pub(super) heard: Duration,
    /// Since when its agent has been back without mentioning it.
    pub(super) unconfirmed: Option<Duration>,
    pub(super) ended: Option<Duration>,
    pub(super) revision: u64,
}

impl Entry {
    /// What was said so far was said of something else: scores start over.
    pub(super) fn start_over(&mut self) {
        self.recent.clear();
        self.firsts.clear();
        self.judged = 0;
    }

    /// A window of so many calls is not scored: there is too much to do.
    pub(super) fn shed(&mut self, calls: usize) {
        self.shed_windows += 1;
        self.shed_calls = self.shed_calls.saturating_add(calls as u64);
    }

    pub(super) fn verdict(&self, judge_now: Option<&Judge>) -> Verdict {
        judge(Facts {
            own_kernel: self.about.own_kernel,
            named: self.workload.is_some(),
            threshold: judge_now.map(|j| j.threshold),
            score: self.recent.score(),
            calls: self.calls,
            windows: self.judged,
            starved: self.gapped + self.shed_windows + self.failed_windows,
        })
    }

    /// Share of calls that were lost on the way, or came and were not scored for want of room. What sampling left out is
    /// neither: it makes holes in the numbers too, so for one that was sampled only what is said to be lost counts.
    pub(super) fn loss_ratio(&self) -> f64 {
        let lost = self.lost_node.max(if self.sampled { self.lost_said } else { self.lost_gaps });
        let all = self.calls as f64 + lost as f64;
        if all > 0.0 { ((lost as f64 + self.shed_calls as f64) / all).min(1.0) } else { 0.0 }
    }

    /// Share of its windows that the model had time for; `None`: all.
    pub(super) fn judged_ratio(&self) -> Option<f64> {
        (self.shed_windows > 0).then(|| self.windows as f64 / (self.windows + self.shed_windows) as f64)
    }
}
