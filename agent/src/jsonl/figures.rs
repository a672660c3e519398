//! The figures of this stage.
//!
//! In: counts. Out: metrics, and the balance that `status` shows. Never: a call that is in none of them.

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// This stage's balance, for `status`; shared with the sink.
#[derive(Clone, Debug)]
pub struct View(pub(super) Metrics);

impl View {
    /// Calls in, written, and dropped because a write failed.
    pub fn counts(&self) -> (u64, u64, u64) {
        // Out before in, so that in minus out is never negative.
        let (out, dropped) = (self.0.written.get(), self.0.dropped.get_or_create(&WRITE_FAILED).get());
        (self.0.taken.get(), out, dropped)
    }
}

pub(super) type Reason = [(&'static str, &'static str); 1];
pub(super) const WRITE_FAILED: Reason = [("reason", "write_failed")];

/// Figures of this stage: calls in = written + dropped + those in the buffer.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    pub(super) taken: Counter,
    pub(super) written: Counter,
    pub(super) dropped: Family<Reason, Counter>,
    pub(super) files: Counter,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        drop(metrics.dropped.get_or_create(&WRITE_FAILED));
        let jsonl = registry.sub_registry_with_prefix("jsonl");
        jsonl.register("in_calls", "Calls to be written", metrics.taken.clone());
        jsonl.register("out_calls", "Calls written", metrics.written.clone());
        jsonl.register("dropped_calls", "Calls not written", metrics.dropped.clone());
        jsonl.register("files", "Files begun", metrics.files.clone());
        metrics
    }
}
