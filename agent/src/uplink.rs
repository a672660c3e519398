//! Records to the scorer: a bounded queue and one connection.
//!
//! In: [`Record`]s from the capture thread. Out: batches over gRPC, each until it is acknowledged. Never: holds
//! up capture: [`Sender`] only takes a short lock, and when the scorer is away or slow the queue drops its
//! oldest and counts ([`queue`]). Over the node's byte budget whole containers are sent in turns ([`budget`]).
//!
//! | module | in | out |
//! |---|---|---|
//! | [`gate`] | records | those of containers that are on air |
//! | [`meter`], [`budget`] | sizes, the time | what each container costs, who is on air |
//! | [`queue`] | records | numbered batches, until they are acknowledged |
//! | [`client`], `wire` | batches | one connection, packed, its bytes counted |
//! | [`backoff`] | failures | pauses between connections |

pub mod backoff;
pub mod budget;
pub mod client;
pub mod gate;
pub mod meter;
pub mod queue;
mod wire;

pub use client::{BadAddress, Client, Undelivered};
pub use queue::Counts;

use crate::{
    capture::{Sink, SinkError},
    record::Record,
};
use gate::Gate;
use jiff::Timestamp;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use queue::Queue;
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
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
    /// Bytes a second on the wire above which whole containers are sent in turns; 0: no such bound.
    pub byte_budget: u64,
}

/// Makes both ends: records go into the first, the second runs in a task.
pub fn uplink(options: Options, registry: &mut Registry) -> Result<(Sender, Client), BadAddress> {
    let gate = (options.byte_budget > 0).then(|| Gate::new(options.byte_budget as f64));
    let shared = Arc::new(Shared {
        queue: Mutex::new(Published {
            queue: Queue::new(options.queue_bytes),
            gate,
            pace: Pace::default(),
            told: Counts::default(),
        }),
        began: Instant::now(),
        ready: Notify::new(),
        metrics: Metrics::register(registry),
    });
    let client = Client::new(options, shared.clone())?;
    Ok((Sender { shared }, client))
}

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
    /// Bytes a second above which whole containers are sent in turns; 0: no such bound.
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

/// What was sent over the last seconds.
#[derive(Debug, Default)]
struct Pace(VecDeque<(Duration, u64)>);

impl Pace {
    const OVER: Duration = Duration::from_secs(5);
    const EVERY: Duration = Duration::from_millis(250);

    /// Takes what was sent in all.
    fn mark(&mut self, now: Duration, sent: u64) {
        if self.0.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= Self::EVERY) {
            while self.0.pop_front_if(|(at, _)| now.saturating_sub(*at) > Self::OVER).is_some() {}
            self.0.push_back((now, sent));
        }
    }

    /// Bytes a second.
    fn rate(&self, now: Duration, sent: u64) -> f64 {
        let first = self.0.iter().find(|(at, _)| now.saturating_sub(*at) <= Self::OVER);
        first.map_or(0.0, |(at, then)| (sent - then) as f64 / (now.saturating_sub(*at)).max(Self::EVERY).as_secs_f64())
    }
}

/// The end that capture holds.
#[derive(Clone, Debug)]
pub struct Sender {
    shared: Arc<Shared>,
}

impl Sender {
    /// Puts a record into the queue; never waits for the scorer.
    pub fn push(&self, record: &Record) {
        let closed = self.shared.with_gate(|queue, gate, now| {
            if let Some(gate) = gate {
                look(queue, gate, now);
                if !gate.admits(record) {
                    queue.leave_out(record);
                    return false;
                }
            }
            queue.push(record, Timestamp::now())
        });
        if closed {
            self.shared.ready.notify_one();
        }
    }

    /// What `status` shows.
    pub fn view(&self) -> View {
        View { shared: Arc::clone(&self.shared) }
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
    /// What the gate's times count from.
    began: Instant,
    /// A batch was closed.
    ready: Notify,
    metrics: Metrics,
}

#[derive(Debug)]
struct Published {
    queue: Queue,
    /// `None`: there is no byte budget.
    gate: Option<Gate>,
    pace: Pace,
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
        self.with_gate(|queue, _, _| work(queue))
    }

    /// Takes note of what was sent until now.
    fn mark(&self) {
        self.lock().pace.mark(self.began.elapsed(), self.metrics.bytes_on_the_wire.sent.get());
    }

    /// The same, with the byte budget and its time.
    fn with_gate<T>(&self, work: impl FnOnce(&mut Queue, Option<&mut Gate>, Duration) -> T) -> T {
        let mut guard = self.lock();
        let published = &mut *guard;
        let out = work(&mut published.queue, published.gate.as_mut(), self.began.elapsed());
        let sampled = published.gate.as_ref().map_or(0, |g| g.shares().len());
        let (now, told) = (guard.queue.counts(), guard.told);
        guard.told = now;
        let bytes = guard.queue.bytes();
        drop(guard);
        self.metrics.pushed.inc_by(now.pushed - told.pushed);
        self.metrics.acknowledged.inc_by(now.acknowledged - told.acknowledged);
        self.metrics.dropped.get_or_create(&QUEUE_FULL).inc_by(now.dropped - told.dropped);
        self.metrics.dropped.get_or_create(&BYTE_BUDGET).inc_by(now.left_out - told.left_out);
        self.metrics.sampled.set(sampled as i64);
        self.metrics.waiting.set(now.waiting as i64);
        self.metrics.bytes.set(bytes as i64);
        out
    }
}

type Reason = [(&'static str, &'static str); 1];
const QUEUE_FULL: Reason = [("reason", "queue_full")];
const BYTE_BUDGET: Reason = [("reason", "byte_budget")];

/// Plans anew who is on air, when it is time.
fn look(queue: &mut Queue, gate: &mut Gate, now: Duration) {
    for (id, ratio) in gate.look(now) {
        queue.observe(&id, ratio);
    }
}

/// Figures of this stage: calls in = acknowledged + dropped + waiting.
#[derive(Debug)]
struct Metrics {
    pushed: Counter,
    acknowledged: Counter,
    dropped: Family<Reason, Counter>,
    waiting: Gauge,
    sampled: Gauge,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_seconds() {
        let (mut pace, ms) = (Pace::default(), Duration::from_millis);
        assert!(pace.rate(ms(0), 0) <= 0.0);
        for n in 0..100 {
            pace.mark(ms(100 * n), 100 * n);
        }
        assert!(pace.0.len() <= 22, "{}", pace.0.len());
        assert!((pace.rate(ms(10_000), 10_000) - 1000.0).abs() < 1.0);
        assert!((pace.rate(ms(12_000), 10_000) - 600.0).abs() < 50.0, "{}", pace.rate(ms(12_000), 10_000));
        assert!(pace.rate(ms(20_000), 10_000) <= 0.0);
    }
}
