//! Records to the scorer: a bounded queue and one connection.
//!
//! In: [`Record`]s from the capture thread. Out: batches over gRPC, each until it is acknowledged. Never: holds
//! up capture: [`Sender`] only takes a short lock, and when the scorer is away or slow the queue drops its
//! oldest and counts ([`queue`]).

pub mod backoff;
pub mod client;
pub mod queue;
mod wire;

pub use client::{BadAddress, Client, Undelivered};
pub use queue::Counts;

use crate::{
    capture::{Sink, SinkError},
    record::Record,
};
use jiff::Timestamp;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use queue::Queue;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// What an uplink is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// The scorer: `http://host:port`.
    pub scorer: String,
    /// This node's name.
    pub node: String,
    /// Capacity of the queue, bytes of memory; when full the oldest batches go first.
    pub queue_bytes: usize,
    /// An open batch is closed at this age.
    pub flush_interval: Duration,
}

/// Makes both ends: records go into the first, the second runs in a task.
pub fn uplink(options: Options, registry: &mut Registry) -> Result<(Sender, Client), BadAddress> {
    let shared = Arc::new(Shared {
        queue: Mutex::new(Published { queue: Queue::new(options.queue_bytes), told: Counts::default() }),
        ready: Notify::new(),
        metrics: Metrics::register(registry),
    });
    let client = Client::new(options, shared.clone())?;
    Ok((Sender { shared }, client))
}

/// The end that capture holds.
#[derive(Clone, Debug)]
pub struct Sender {
    shared: Arc<Shared>,
}

impl Sender {
    /// Puts a record into the queue; never waits for the scorer.
    pub fn push(&self, record: &Record) {
        let closed = self.shared.with(|queue| queue.push(record, Timestamp::now()));
        if closed {
            self.shared.ready.notify_one();
        }
    }

    /// The queue's balance.
    pub fn counts(&self) -> Counts {
        self.shared.lock().queue.counts()
    }
}

impl Sink for Sender {
    fn take(&mut self, record: &Record) -> Result<(), SinkError> {
        self.push(record);
        Ok(())
    }

    fn idle(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.shared.with(|queue| queue.close(Timestamp::now()));
        self.shared.ready.notify_one();
        Ok(())
    }
}

/// What both ends hold.
#[derive(Debug)]
struct Shared {
    queue: Mutex<Published>,
    /// A batch was closed.
    ready: Notify,
    metrics: Metrics,
}

#[derive(Debug)]
struct Published {
    queue: Queue,
    /// What the metrics were told last.
    told: Counts,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Published> {
        // A panic inside would mean the queue's own arithmetic failed: going on could only miscount quietly.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the queue and tells the metrics what changed.
    fn with<T>(&self, work: impl FnOnce(&mut Queue) -> T) -> T {
        let mut guard = self.lock();
        let out = work(&mut guard.queue);
        let (now, told) = (guard.queue.counts(), guard.told);
        guard.told = now;
        let bytes = guard.queue.bytes();
        drop(guard);
        self.metrics.pushed.inc_by(now.pushed - told.pushed);
        self.metrics.acknowledged.inc_by(now.acknowledged - told.acknowledged);
        self.metrics.dropped.get_or_create(&QUEUE_FULL).inc_by(now.dropped - told.dropped);
        self.metrics.waiting.set(now.waiting as i64);
        self.metrics.bytes.set(bytes as i64);
        out
    }
}

type Reason = [(&'static str, &'static str); 1];
const QUEUE_FULL: Reason = [("reason", "queue_full")];

/// Figures of this stage: calls in = acknowledged + dropped + waiting.
#[derive(Debug)]
struct Metrics {
    pushed: Counter,
    acknowledged: Counter,
    dropped: Family<Reason, Counter>,
    waiting: Gauge,
    bytes: Gauge,
    connected: Gauge,
    connections: Counter,
    batches: Counter,
    bytes_on_the_wire: wire::Bytes,
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let uplink = registry.sub_registry_with_prefix("uplink");
        let metrics = Self {
            pushed: Counter::default(),
            acknowledged: Counter::default(),
            dropped: Family::default(),
            waiting: Gauge::default(),
            bytes: Gauge::default(),
            connected: Gauge::default(),
            connections: Counter::default(),
            batches: Counter::default(),
            bytes_on_the_wire: wire::Bytes::default(),
        };
        // A counter that is 0 is still shown.
        drop(metrics.dropped.get_or_create(&QUEUE_FULL));
        uplink.register("in_calls", "Calls put into the queue", metrics.pushed.clone());
        uplink.register("out_calls", "Calls that the scorer acknowledged", metrics.acknowledged.clone());
        uplink.register("dropped_calls", "Calls dropped here", metrics.dropped.clone());
        uplink.register("waiting_calls", "Calls in the queue or on their way", metrics.waiting.clone());
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
