//! What `status` shows of the uplink.
//!
//! In: the queue and the metrics, when somebody asks. Out: a [`Line`]. Never: changes anything.

use super::{gate::Gate, queue::Counts, shared::Shared};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What `status` shows of the uplink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The scorer has said welcome.
    pub connected: bool,
    /// The queue's balance, calls.
    pub counts: Counts,
    /// Memory that the queue holds, what is in flight included, bytes.
    pub queue_bytes: u64,
    /// Its bound.
    pub queue_capacity_bytes: u64,
    /// Bytes written to sockets to the scorer.
    pub sent_bytes: u64,
    /// Bytes read from them.
    pub received_bytes: u64,
    /// Bytes sent by calls acknowledged, everything else that was sent included. Absent: no calls yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_call: Option<f64>,
    /// Bytes sent a second, mean of the last 5 s.
    pub bytes_per_second: f64,
    /// Bytes a second above which whole containers are sent in turns; 0: no bound.
    pub byte_budget: u64,
    /// Containers that are sent in turns, by id, with the share of time in which they are.
    pub sampled: Vec<(String, f64)>,
}

/// Looks at the uplink.
#[derive(Clone, Debug)]
pub struct View {
    shared: Arc<Shared>,
}

impl View {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// As it is now.
    pub fn line(&self) -> Line {
        let metrics = &self.shared.metrics;
        let published = self.shared.lock();
        let counts = published.queue.counts();
        let sent = metrics.bytes_on_the_wire.sent.get();
        let sampled = published.gate.iter().flat_map(Gate::shares).map(|(id, share)| (id.to_string(), *share)).collect();
        Line {
            connected: metrics.connected.get() > 0,
            counts,
            queue_bytes: published.queue.bytes() as u64,
            queue_capacity_bytes: published.queue.capacity() as u64,
            sent_bytes: sent,
            received_bytes: metrics.bytes_on_the_wire.received.get(),
            bytes_per_call: (counts.acknowledged > 0).then(|| sent as f64 / counts.acknowledged as f64),
            bytes_per_second: published.pace.rate(self.shared.began.elapsed(), sent),
            byte_budget: published.gate.as_ref().map_or(0, |g| g.limit() as u64),
            sampled,
        }
    }
}
