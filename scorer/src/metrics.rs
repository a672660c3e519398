//! Every metric of the scorer, by name.
//!
//! In: counts from each stage. Out: the text that Prometheus reads (`/metrics`, see `admin`). Never: a label
//! whose values others choose.
//!
//! Each stage has what came in, what went out, and `dropped_total{stage,reason}`, so that the flow balances.

use crate::detect::memo::Counts;
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

/// Where and why something was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Dropped {
    /// Stage of the flow.
    pub stage: &'static str,
    /// From a small closed set.
    pub reason: &'static str,
}

/// What the models' memory did.
#[derive(Clone, Debug, Default)]
pub struct MemoMetrics {
    windows: Family<Answered, Counter>,
    barred: Counter,
    entries: Gauge,
    deviation: Gauge<f64, AtomicU64>,
    told: Arc<Mutex<Counts>>,
}

/// How a window was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    by: &'static str,
}

impl MemoMetrics {
    /// Brings the figures up to these counts.
    pub fn tell(&self, counts: Counts, entries: usize) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for (by, now, before) in [
            ("memory", counts.remembered, told.remembered),
            ("model", counts.computed, told.computed),
            ("both", counts.audited, told.audited),
        ] {
            self.windows.get_or_create(&Answered { by }).inc_by(now.saturating_sub(before));
        }
        self.barred.inc_by(counts.barred.saturating_sub(told.barred));
        self.entries.set(entries as i64);
        self.deviation.set(counts.deviation);
        *told = counts;
    }
}

/// The scorer's metrics. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Agents connected now.
    pub streams: Gauge,
    /// Batches taken.
    pub batches: Counter,
    /// Calls taken.
    pub calls: Counter,
    /// Things dropped; the unit is the stage's: batches, calls, containers, windows.
    pub dropped: Family<Dropped, Counter>,
    /// Calls that agents say their queues dropped.
    pub agent_dropped_calls: Counter,
    /// Containers known now.
    pub containers: Gauge,
    /// Threads known now.
    pub threads: Gauge,
    /// Names of what calls were about.
    pub names: Counter,
    /// Names that had to make room for newer ones of their container.
    pub names_forgotten: Counter,
    /// Names that came when their call's window had been cut.
    pub names_late: Counter,
    /// Names that agents say they did not tell: too many at once.
    pub agent_names_untold: Counter,
    /// Names that agents say they could not read.
    pub agent_names_unread: Counter,
    /// Workloads whose name may be that of two.
    pub workload_conflicts: Counter,
    /// Profiles in force now.
    pub profiles: Gauge,
    /// Windows cut.
    pub windows: Counter,
    /// Windows that a gap cut before they were complete.
    pub windows_gapped: Counter,
    /// Windows scored.
    pub windows_scored: Counter,
    /// Windows at or above their threshold.
    pub windows_anomalous: Counter,
    /// Windows that wait for the model now.
    pub windows_waiting: Gauge,
    /// Seconds from the arrival of the batch that completed a window, or from its cutting where its thread was quiet, to its verdict.
    pub window_latency: Histogram,
    /// Seconds a batch of windows took in the model.
    pub batch_seconds: Histogram,
    /// What the models' memory did.
    pub memo: MemoMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = || Histogram::new([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]);
        // Steps of a fifth from 1 ms to 30 s, fine enough for quantiles.
        let fine = Histogram::new(exponential_buckets(0.001, 1.2, 58));
        Self {
            streams: Gauge::default(),
            batches: Counter::default(),
            calls: Counter::default(),
            dropped: Family::default(),
            agent_dropped_calls: Counter::default(),
            containers: Gauge::default(),
            threads: Gauge::default(),
            profiles: Gauge::default(),
            windows: Counter::default(),
            names: Counter::default(),
            names_forgotten: Counter::default(),
            names_late: Counter::default(),
            agent_names_untold: Counter::default(),
            agent_names_unread: Counter::default(),
            workload_conflicts: Counter::default(),
            windows_gapped: Counter::default(),
            windows_scored: Counter::default(),
            windows_anomalous: Counter::default(),
            windows_waiting: Gauge::default(),
            window_latency: fine,
            batch_seconds: seconds(),
            memo: MemoMetrics::default(),
        }
    }
}

impl Metrics {
    /// Counts `n` things dropped.
    pub fn drop(&self, stage: &'static str, reason: &'static str, n: u64) {
        if n > 0 {
            self.dropped.get_or_create(&Dropped { stage, reason }).inc_by(n);
        }
    }

    /// How many were dropped at a stage for a reason.
    pub fn dropped(&self, stage: &'static str, reason: &'static str) -> u64 {
        self.dropped.get_or_create(&Dropped { stage, reason }).get()
    }

    /// A registry that reads these metrics.
    pub fn registry(&self) -> Registry {
        let mut r = Registry::with_prefix("surprisal_scorer");
        r.register("ingest_streams", "Agents connected now", self.streams.clone());
        r.register("ingest_batches", "Batches taken", self.batches.clone());
        r.register("ingest_calls", "Calls taken", self.calls.clone());
        r.register("dropped", "Things dropped, by stage and reason", self.dropped.clone());
        r.register("ingest_agent_dropped_calls", "Calls that agents say their queues dropped", self.agent_dropped_calls.clone());
        r.register("containers", "Containers known now", self.containers.clone());
        r.register("threads", "Threads known now", self.threads.clone());
        r.register("profiles", "Profiles in force now", self.profiles.clone());
        r.register("windows", "Windows cut", self.windows.clone());
        r.register("names", "Names of what calls were about", self.names.clone());
        r.register("names_forgotten", "Names that made room for newer ones of their container", self.names_forgotten.clone());
        r.register(
            "names_late",
            "Names that came when their call's window had been cut: it may have been judged without them",
            self.names_late.clone(),
        );
        r.register("agent_names_untold", "Names that agents did not tell: too many at once", self.agent_names_untold.clone());
        r.register("agent_names_unread", "Names that agents could not read", self.agent_names_unread.clone());
        r.register("workload_conflicts", "Workloads whose name may be that of two", self.workload_conflicts.clone());
        r.register("windows_gapped", "Windows that a gap cut before they were complete", self.windows_gapped.clone());
        r.register("windows_scored", "Windows scored", self.windows_scored.clone());
        r.register("windows_anomalous", "Windows at or above their threshold", self.windows_anomalous.clone());
        r.register("inference_waiting_windows", "Windows that wait for the model now", self.windows_waiting.clone());
        r.register(
            "inference_latency_seconds",
            "From the batch that completed a window (or its cutting, where its thread was quiet) to its verdict",
            self.window_latency.clone(),
        );
        r.register("inference_batch_seconds", "A batch of windows in the model", self.batch_seconds.clone());
        r.register(
            "memo_windows",
            "Windows answered from memory, by the model, or by both to compare",
            self.memo.windows.clone(),
        );
        r.register("memo_barred", "Remembered calls that a model contradicted", self.memo.barred.clone());
        r.register("memo_entries", "Calls remembered now", self.memo.entries.clone());
        r.register(
            "memo_deviation_nats",
            "Largest difference of a window's mean between memory and model, of those compared",
            self.memo.deviation.clone(),
        );
        r
    }

    /// The text that Prometheus reads.
    pub fn text(registry: &Registry) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_counted_by_stage_and_reason() {
        let m = Metrics::default();
        m.drop("windows", "overload", 3);
        m.drop("windows", "overload", 0);
        let text = Metrics::text(&m.registry()).expect("text");
        assert!(text.contains("surprisal_scorer_dropped_total{stage=\"windows\",reason=\"overload\"} 3\n"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
