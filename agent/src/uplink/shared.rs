//! What both ends of the uplink hold: the queue behind a lock.
//!
//! In: work on the queue. Out: what the work returns; the metrics are told what changed. Never: holds the lock over a wait.

use super::{
    figures::Metrics,
    gate::Gate,
    pace::Pace,
    queue::{Counts, Queue},
};
use prometheus_client::registry::Registry;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// What both ends hold.
#[derive(Debug)]
pub(super) struct Shared {
    queue: Mutex<Published>,
    /// What the gate's times count from.
    pub(super) began: Instant,
    /// A batch was closed.
    pub(super) ready: Notify,
    pub(super) metrics: Metrics,
}

#[derive(Debug)]
pub(super) struct Published {
    pub(super) queue: Queue,
    /// `None`: there is no byte budget.
    pub(super) gate: Option<Gate>,
    pub(super) pace: Pace,
    /// What the metrics were told last.
    told: Counts,
}

impl Shared {
    /// `byte_budget`: bytes a second on the wire; 0: no such bound.
    pub(super) fn new(queue_bytes: usize, byte_budget: u64, registry: &mut Registry) -> Self {
        Self {
            queue: Mutex::new(Published {
                queue: Queue::new(queue_bytes),
                gate: (byte_budget > 0).then(|| Gate::new(byte_budget as f64)),
                pace: Pace::default(),
                told: Counts::default(),
            }),
            began: Instant::now(),
            ready: Notify::new(),
            metrics: Metrics::register(registry),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Published> {
        // A panic inside would mean the queue's own arithmetic failed: going on could only miscount quietly.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the queue and tells the metrics what changed.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Queue) -> T) -> T {
        self.with_gate(|queue, _, _| work(queue))
    }

    /// Takes note of what was sent until now.
    pub(super) fn mark(&self) {
        self.lock().pace.mark(self.began.elapsed(), self.metrics.bytes_on_the_wire.sent.get());
    }

    /// As [`Self::with`], with the byte budget and its time.
    pub(super) fn with_gate<T>(&self, work: impl FnOnce(&mut Queue, Option<&mut Gate>, Duration) -> T) -> T {
        let mut guard = self.lock();
        let published = &mut *guard;
        let out = work(&mut published.queue, published.gate.as_mut(), self.began.elapsed());
        let sampled = published.gate.as_ref().map_or(0, |g| g.shares().len());
        let (now, told) = (guard.queue.counts(), guard.told);
        guard.told = now;
        let bytes = guard.queue.bytes();
        drop(guard);
        self.metrics.tell(told, now);
        self.metrics.sampled.set(sampled as i64);
        self.metrics.bytes.set(bytes as i64);
        out
    }
}

/// Plans again which containers are on air, when it is time.
pub(super) fn look(queue: &mut Queue, gate: &mut Gate, now: Duration) {
    for (id, ratio) in gate.look(now) {
        queue.observe(&id, ratio);
    }
}
