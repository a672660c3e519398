//! What the capture thread counts, for metrics.
//!
//! In: counts, published by the capture thread once a second. Out: figures at each scrape. Never: counts itself.

use crate::{
    attribute::{self, Balance, Held},
    bpf::{PROGRAMS, Runs},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::ConstGauge,
    },
    registry::Registry,
};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// Counts of the kernel side and of attribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records read from the ring.
    pub records: u64,
    /// Records that could not be decoded.
    pub damaged: u64,
    /// Attribution's counts.
    pub attribution: attribute::Totals,
    /// All containers' accounts.
    pub balance: Balance,
    /// What waits for names.
    pub held: Held,
    /// Runs of the kernel side's programs. `None`: not counted.
    pub runs: Option<[Runs; PROGRAMS.len()]>,
    /// Containers known now.
    pub containers: usize,
    /// Threads known now.
    pub threads: usize,
    /// Entries in the kernel's table of containers now.
    pub kernel_containers: usize,
    /// Containers the kernel had no room for.
    pub containers_untracked: u64,
    /// Shims or their children the kernel had no room for.
    pub lineage_lost: u64,
    /// Peeks given up because the ring was full.
    pub peeks_refused: u64,
    /// Births and ends the ring refused.
    pub lifecycle_lost: u64,
}

/// The latest counts; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<Stats>>);

impl Shared {
    /// Puts new counts in place.
    pub fn publish(&self, stats: Stats) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }

    /// The latest counts.
    pub fn get(&self) -> Stats {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows them at each scrape.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }
}

impl Collector for Shared {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let s = self.get();
        let a = s.attribution;
        let mut show = |name: &str, help: &str, metric: &dyn Figure| metric.show(&mut encoder, name, help);
        show("containers", "Containers known", &ConstGauge::new(s.containers as i64))?;
        show("threads", "Threads known, ended ones for a moment longer", &ConstGauge::new(s.threads as i64))?;
        show("kernel_containers", "Entries in the kernel's table of containers", &ConstGauge::new(s.kernel_containers as i64))?;
        show("capture_records", "Records read from the ring buffer", &ConstCounter::new(s.records))?;
        show("capture_damaged_records", "Records that could not be decoded", &ConstCounter::new(s.damaged))?;
        show("capture_in_calls", "Calls taken in, each once", &ConstCounter::new(a.calls_in))?;
        show("capture_held_calls", "Calls that wait for their container's names", &ConstGauge::new(s.held.calls as i64))?;
        show("capture_forgotten_threads", "Threads forgotten for lack of room", &ConstCounter::new(a.threads_forgotten))?;
        show("capture_out_calls", "Calls passed on to the sinks", &ConstCounter::new(a.calls_out))?;
        show("capture_lost_calls", "Calls found missing in threads' numbers", &ConstCounter::new(a.calls_lost))?;
        show(
            "capture_repeated_calls",
            "Calls read twice, because a peek had brought them",
            &ConstCounter::new(a.calls_repeated),
        )?;
        let dropped =
            [("unselected", a.calls_unselected), ("container_table_full", a.calls_refused), ("after_the_end", a.calls_late)];
        show("capture_dropped_calls", "Calls dropped here", &by_reason(&dropped))?;
        show("capture_names", "Names of what calls were about", &ConstCounter::new(a.names_in))?;
        show(
            "capture_dropped_names",
            "Names of nobody who is followed, without words, or told a moment ago",
            &ConstCounter::new(a.names_dropped),
        )?;
        let inferred = [("birth", a.births_inferred), ("end", a.ends_inferred), ("name", a.named_too_late)];
        show("capture_inferred", "Births and ends that were not seen, names that came too late", &by_reason(&inferred))?;
        let refused = [
            ("container_table_full", s.containers_untracked),
            ("lineage_table_full", s.lineage_lost),
            ("peek_ring_full", s.peeks_refused),
            ("lifecycle_ring_full", s.lifecycle_lost),
        ];
        show("kernel_refused", "What the kernel side had no room for", &by_reason(&refused))?;
        let Some(runs) = s.runs else { return Ok(()) };
        show("kernel_runs", "Runs of the kernel side's programs", &by("program", runs.map(|r| (r.program, r.count))))?;
        let times = runs.map(|r| (r.program, r.nanoseconds));
        show("kernel_run_nanoseconds", "Time in the kernel side's programs", &by("program", times))
    }
}

type Reason = [(&'static str, &'static str); 1];

fn by_reason(counts: &[(&'static str, u64)]) -> Family<Reason, Counter> {
    by("reason", counts.iter().copied())
}

fn by(label: &'static str, counts: impl IntoIterator<Item = (&'static str, u64)>) -> Family<Reason, Counter> {
    let family = Family::default();
    for (value, n) in counts {
        let counter: Counter = Counter::clone(&family.get_or_create(&[(label, value)]));
        counter.inc_by(n);
    }
    family
}

/// A metric whose value is there already.
trait Figure {
    fn show(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result;
}

impl<M: EncodeMetric> Figure for M {
    fn show(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result {
        self.encode(encoder.encode_descriptor(name, help, None, self.metric_type())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drop_has_a_reason() {
        let (shared, mut registry) = (Shared::default(), Registry::with_prefix("surprisal_agent"));
        shared.register(&mut registry);
        let attribution = attribute::Totals { calls_unselected: 7, ..attribute::Totals::default() };
        shared.publish(Stats { attribution, containers: 3, ..Stats::default() });
        let encode = |registry: &Registry| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, registry).expect("into a string");
            text
        };
        let text = encode(&registry);
        assert!(!text.contains("kernel_run"), "not counted, not shown");
        for line in ["surprisal_agent_containers 3", "surprisal_agent_capture_dropped_calls_total{reason=\"unselected\"} 7"] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        let runs = PROGRAMS.map(|program| Runs { program, count: 2, nanoseconds: 300 });
        shared.publish(Stats { runs: Some(runs), ..Stats::default() });
        let text = encode(&registry);
        let line = "surprisal_agent_kernel_run_nanoseconds_total{program=\"sys_enter\"} 300";
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}
