//! The figures of this stage.
//!
//! In: counts. Out: metrics. Never: a call that is in none of them: calls in = acknowledged + dropped + waiting.

use super::{queue::Counts, wire};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

type Reason = [(&'static str, &'static str); 1];
const QUEUE_FULL: Reason = [("reason", "queue_full")];
const BYTE_BUDGET: Reason = [("reason", "byte_budget")];

/// Figures of this stage: calls in = acknowledged + dropped + waiting.
#[derive(Debug)]
pub(super) struct Metrics {
    pushed: Counter,
    acknowledged: Counter,
    dropped: Family<Reason, Counter>,
    waiting: Gauge,
    pub(super) sampled: Gauge,
    pub(super) bytes: Gauge,
    pub(super) connected: Gauge,
    pub(super) connections: Counter,
    pub(super) batches: Counter,
    pub(super) bytes_on_the_wire: wire::Bytes,
}

impl Metrics {
    /// Takes what changed in the queue since the metrics were told last.
    pub(super) fn tell(&self, told: Counts, now: Counts) {
        self.pushed.inc_by(now.pushed - told.pushed);
        self.acknowledged.inc_by(now.acknowledged - told.acknowledged);
        self.dropped.get_or_create(&QUEUE_FULL).inc_by(now.dropped - told.dropped);
        self.dropped.get_or_create(&BYTE_BUDGET).inc_by(now.left_out - told.left_out);
        self.waiting.set(now.waiting as i64);
    }

    pub(super) fn register(registry: &mut Registry) -> Self {
        let uplink = registry.sub_registry_with_prefix("uplink");
        let metrics = Self {
            pushed: Counter::default(),
            acknowledged: Counter::default(),
            dropped: Family::default(),
            waiting: Gauge::default(),
            sampled: Gauge::default(),
            bytes: Gauge::default(),
            connected: Gauge::default(),
            connections: Counter::default(),
            batches: Counter::default(),
            bytes_on_the_wire: wire::Bytes::default(),
        };
        // A counter that is 0 is still shown.
        drop(metrics.dropped.get_or_create(&QUEUE_FULL));
        drop(metrics.dropped.get_or_create(&BYTE_BUDGET));
        uplink.register("in_calls", "Calls put into the queue", metrics.pushed.clone());
        uplink.register("out_calls", "Calls that the scorer acknowledged", metrics.acknowledged.clone());
        uplink.register("dropped_calls", "Calls dropped here", metrics.dropped.clone());
        uplink.register("waiting_calls", "Calls in the queue or on their way", metrics.waiting.clone());
        uplink.register("sampled_containers", "Containers sent in turns because of the byte budget", metrics.sampled.clone());
        uplink.register("queue_bytes", "Memory that the queue holds", metrics.bytes.clone());
        uplink.register("connected", "1: the scorer has said welcome", metrics.connected.clone());
        uplink.register("connections", "Connections on which the scorer said welcome", metrics.connections.clone());
        let bytes = &metrics.bytes_on_the_wire;
        uplink.register(
            "sent_bytes",
            "Bytes written to sockets to the scorer, all framing but TCP's included",
            bytes.sent.clone(),
        );
        uplink.register("received_bytes", "Bytes read from sockets to the scorer", bytes.received.clone());
        uplink.register("sent_batches", "Batches sent, those sent again counted again", metrics.batches.clone());
        metrics
    }
}
