//! Room for batches that wait to be cut into windows: bounded in bytes, counted.
//!
//! In: the weight of each batch that arrives. Out: a [`Ticket`], which goes with the batch to its end. Never: a batch that is
//! counted twice or not at all, whatever ends its stream.

use crate::flow::{Flow, Hop};
use crate::ingest::weight::weight;
use crate::metrics::Metrics;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use surprisal_proto::v1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of batches that may wait.
pub const ROOM: usize = 64 << 20;
/// A batch that weighs more and finds no room at once is sent back; smaller ones wait, one for each stream. Agents close a
/// batch at 64 KiB.
pub const WAITS: usize = 256 << 10;
/// How long a batch may wait for room.
pub const PATIENCE: Duration = Duration::from_secs(10);

const HOP: Hop = Hop {
    name: "ingest",
    unit: "batches",
    reasons: &["duplicate", "malformed", "overload", "given_up"],
    when_full: "the sender waits 10 s, then has to come again",
};

/// The room.
#[derive(Clone, Debug)]
pub struct Room {
    bytes: Arc<Semaphore>,
    flow: Arc<Mutex<Flow>>,
}

/// A batch that has arrived. Dropped before it is settled, it counts as given up: its stream or the scorer has ended.
#[derive(Debug)]
pub struct Ticket {
    flow: Arc<Mutex<Flow>>,
    since: Instant,
    place: Option<OwnedSemaphorePermit>,
    settled: bool,
}

fn lock(flow: &Mutex<Flow>) -> MutexGuard<'_, Flow> {
    flow.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Room {
    /// Empty.
    pub fn new(metrics: Metrics) -> Self {
        Self { bytes: Arc::new(Semaphore::new(ROOM)), flow: Arc::new(Mutex::new(Flow::new(HOP, metrics))) }
    }

    /// A batch has arrived.
    pub fn arrive(&self) -> Ticket {
        lock(&self.flow).take(1);
        Ticket { flow: Arc::clone(&self.flow), since: Instant::now(), place: None, settled: false }
    }

    /// Finds room for a batch, waiting for it where that is worth it. `false`: there is none.
    pub async fn place(&self, ticket: &mut Ticket, batch: &v1::Batch) -> bool {
        let weight = weight(batch).min(ROOM);
        let wanted = weight as u32;
        let bytes = Arc::clone(&self.bytes);
        ticket.place = if weight > WAITS {
            bytes.try_acquire_many_owned(wanted).ok()
        } else {
            tokio::time::timeout(PATIENCE, bytes.acquire_many_owned(wanted)).await.ok().and_then(Result::ok)
        };
        ticket.place.is_some()
    }

    /// The hop. Bytes held are those that were weighed.
    pub fn hop(&self) -> v1::Hop {
        let held = ROOM.saturating_sub(self.bytes.available_permits());
        lock(&self.flow).hop(Some(held as u64), Some(ROOM as u64))
    }
}

impl Ticket {
    /// How long ago the batch arrived.
    pub fn waited(&self) -> Duration {
        self.since.elapsed()
    }

    /// The batch has gone on.
    pub fn passed(mut self) {
        self.settled = true;
        lock(&self.flow).pass(1);
    }

    /// The batch is not taken.
    pub fn refused(mut self, reason: &'static str) {
        self.settled = true;
        lock(&self.flow).discard(reason, 1);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.settled {
            lock(&self.flow).discard("given_up", 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use surprisal_proto::status::imbalance;

    fn batch(bytes: usize) -> v1::Batch {
        v1::Batch { calls: vec![v1::Calls { tokens: vec![0; bytes], ..v1::Calls::default() }], ..v1::Batch::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_bounded_in_bytes_and_every_batch_is_counted_once() {
        let room = Room::new(Metrics::default());
        let mut inside = Vec::new();
        // As many of the largest that wait as there is room for.
        loop {
            let mut ticket = room.arrive();
            if !room.place(&mut ticket, &batch(WAITS - 1024)).await {
                ticket.refused("overload");
                break;
            }
            inside.push(ticket);
        }
        let hop = room.hop();
        assert_eq!((hop.held, imbalance(&hop)), (inside.len() as u64, 0));
        assert!(
            inside.len() >= ROOM / WAITS && hop.held_bytes <= hop.capacity_bytes && hop.held_bytes > Some((ROOM - WAITS) as u64)
        );
        // A larger one is not waited for, and one that arrives while another leaves finds room.
        let before = tokio::time::Instant::now();
        let mut large = room.arrive();
        assert!(!room.place(&mut large, &batch(WAITS + 1)).await && before.elapsed() < PATIENCE);
        drop(large);
        let mut next = room.arrive();
        let small = batch(1_000);
        let (place, ()) = tokio::join!(room.place(&mut next, &small), async {
            inside.pop().expect("one is inside").passed();
        });
        assert!(place);
        drop((next, inside));
        let hop = room.hop();
        assert_eq!((hop.held, hop.held_bytes, imbalance(&hop)), (0, Some(0), 0));
        // A batch that is larger than all of the room finds a place when it is empty.
        let mut huge = room.arrive();
        assert!(room.place(&mut huge, &batch(ROOM + 1)).await);
    }
}
