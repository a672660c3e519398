//! What waits for the scorer: batches, in order, bounded in bytes. Pure.
//!
//! In: [`Record`]s, acknowledgements. Out: numbered batches, oldest first. Never: waits, blocks, loses
//! without counting.
//!
//! A record goes into the open batch; a full or due batch is closed and numbered; a batch that was taken
//! to be sent stays until it is acknowledged. When all of it weighs more than the capacity, **the oldest batches
//! go first**: their calls are counted into `dropped_before` of the batch that follows, and the few things that must
//! not be lost with them (births, deaths, the newest account and counters of each container) move there too.
//! Calls of a container that is not on air ([`super::budget`]) are left out before they cost memory: only counted.
//!
//! **Invariant:** calls pushed = calls acknowledged + dropped + left out + waiting, at all times ([`Counts`]).

mod batch;
mod counts;
mod living;

pub use counts::Counts;

use crate::{container::ContainerInfo, record::Record};
use batch::{Pending, id_of, names_of, newest, put, weight_of_birth, weight_of_calls, weight_of_name, whose};
use jiff::Timestamp;
use living::Living;
use std::{
    collections::{HashSet, VecDeque},
    mem,
};
use surprisal_proto::{time, v1};

/// Bytes a batch is closed at.
pub const BATCH_BYTES: usize = 64 << 10;
/// Batches on their way at once.
pub const IN_FLIGHT_MAX: usize = 64;

/// Batches that wait, and those that are on their way.
#[derive(Debug)]
pub struct Queue {
    capacity: usize,
    open: Pending,
    closed: VecDeque<Pending>,
    /// How many of `closed`, from the front, were taken to be sent on the present connection.
    taken: usize,
    /// Sent, not acknowledged, and evicted: the next acknowledgement tells whether they arrived.
    fading: VecDeque<Pending>,
    last_sequence: u64,
    /// Calls dropped that no batch has reported yet.
    dropped_untold: u64,
    living: Living,
    bytes: usize,
    counts: Counts,
}

impl Queue {
    /// Holds at most `capacity` bytes of memory, at least two batches; when full, the oldest go.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(2 * BATCH_BYTES),
            open: Pending::default(),
            closed: VecDeque::new(),
            taken: 0,
            fading: VecDeque::new(),
            last_sequence: 0,
            dropped_untold: 0,
            living: Living::default(),
            bytes: 0,
            counts: Counts::default(),
        }
    }

    /// Takes a record; true: a batch was closed by it.
    pub fn push(&mut self, record: &Record, now: Timestamp) -> bool {
        // Runtimes use an id again. Within a batch deaths come last, so a second life needs a second batch.
        let id = record.container().id.as_str();
        let again = self.open.batch.deaths.iter().any(|d| d.container_id == id) && self.close(now);
        let batch = &mut self.open.batch;
        let added = match record {
            Record::Birth(container) => {
                let wire = container.to_wire();
                let birth = v1::Birth { container: Some(wire.clone()) };
                let bytes = weight_of_birth(&birth);
                batch.births.push(birth);
                self.living.born(wire);
                bytes
            }
            Record::Calls { container, run } => {
                let calls = run.to_wire(container);
                let bytes = weight_of_calls(&calls);
                batch.calls.push(calls);
                self.open.calls += record.calls();
                self.counts.pushed += record.calls();
                self.counts.waiting += record.calls();
                bytes
            }
            Record::Name { container, call } => {
                let name = call.to_wire(container);
                let bytes = weight_of_name(&name);
                batch.names.push(name);
                bytes
            }
            Record::Network { container, counters } => {
                let counters = v1::Network { container_id: container.id.to_string(), ..counters.clone() };
                put(&mut batch.network, counters, |n| &n.container_id)
            }
            Record::Account { container, issued, delivered, lost_ring, threads_untracked, names_untold, names_unread } => {
                let account = v1::Account {
                    container_id: container.id.to_string(),
                    issued: *issued,
                    delivered: *delivered,
                    lost_ring: *lost_ring,
                    threads_untracked: *threads_untracked,
                    // Filled in when the batch is taken: until then more may be dropped.
                    dropped_queue: 0,
                    dropped_budget: 0,
                    names_untold: *names_untold,
                    names_unread: *names_unread,
                    names_dropped: 0,
                };
                put(&mut batch.accounts, account, |a| &a.container_id)
            }
            Record::Death { container, at } => self.push_death(container, *at),
        };
        self.open.bytes += added;
        self.bytes += added;
        let full = self.open.bytes >= BATCH_BYTES;
        if full {
            self.close(now);
        }
        full || again
    }

    /// Takes note of a record whose container is not on air; nothing of it is kept.
    pub fn leave_out(&mut self, record: &Record) {
        let calls = record.calls();
        self.counts.pushed += calls;
        self.counts.left_out += calls;
        self.living.left_out(record.container().id.as_str(), calls);
    }

    /// Announces the share of time in which a container's calls are sent; 1: whole again.
    pub fn observe(&mut self, id: &str, ratio: f64) {
        if !self.living.observe(id, ratio) {
            return;
        }
        let observed = v1::Observed { container_id: id.to_owned(), ratio };
        let added = put(&mut self.open.batch.observed, observed, |o| &o.container_id);
        self.open.bytes += added;
        self.bytes += added;
    }

    fn push_death(&mut self, container: &ContainerInfo, at: Timestamp) -> usize {
        let id = container.id.to_string();
        self.living.ends(&id);
        let bytes = size_of::<v1::Death>() + id.len();
        self.open.batch.deaths.push(v1::Death { container_id: id, ended_at: Some(time::to_wire(at)) });
        bytes
    }

    /// Closes the open batch if anything is in it; true: it was closed.
    pub fn close(&mut self, now: Timestamp) -> bool {
        // With nothing else to send, what was dropped is still reported.
        let to_tell = self.dropped_untold > 0 && self.taken == self.closed.len();
        if self.open.is_empty() && !to_tell {
            return false;
        }
        let mut batch = mem::take(&mut self.open);
        self.last_sequence += 1;
        batch.batch.sequence = self.last_sequence;
        batch.batch.closed_at = Some(time::to_wire(now));
        self.closed.push_back(batch);
        while self.bytes > self.capacity && self.closed.len() > 1 {
            self.drop_oldest();
        }
        true
    }

    /// The next batch to send; it stays here until it is acknowledged.
    pub fn take(&mut self) -> Option<v1::Batch> {
        if self.taken + self.fading.len() >= IN_FLIGHT_MAX {
            return None;
        }
        let next = self.closed.get_mut(self.taken)?;
        self.taken += 1;
        next.batch.dropped_before += mem::take(&mut self.dropped_untold);
        for birth in &next.batch.births {
            self.living.announced(id_of(birth));
        }
        for account in &mut next.batch.accounts {
            self.living.fill(account);
        }
        self.counts.in_flight += next.calls;
        Some(next.batch.clone())
    }

    /// The scorer has taken everything up to `sequence`.
    pub fn acknowledge(&mut self, sequence: u64) {
        while let Some(arrived) = self.fading.pop_front_if(|p| p.batch.sequence <= sequence) {
            self.counts.in_flight -= arrived.calls;
            self.arrived(&arrived);
        }
        while let Some(arrived) = self.closed.pop_front_if(|p| p.batch.sequence <= sequence) {
            // One that was only sent on an earlier connection is not in flight.
            if self.taken > 0 {
                self.taken -= 1;
                self.counts.in_flight -= arrived.calls;
            }
            self.bytes -= arrived.bytes;
            self.arrived(&arrived);
        }
    }

    fn arrived(&mut self, batch: &Pending) {
        self.counts.acknowledged += batch.calls;
        self.counts.waiting -= batch.calls;
        for death in &batch.batch.deaths {
            self.living.ended(&death.container_id);
        }
    }

    /// A new connection; the scorer says what it had taken before. Everything else is sent again, after a
    /// batch that announces all living containers.
    pub fn reconnected(&mut self, scorers_last: u64, now: Timestamp) {
        self.acknowledge(scorers_last);
        // Evicted and not acknowledged: lost for good. The rest is sent again.
        self.taken = 0;
        self.counts.in_flight = 0;
        for lost in mem::take(&mut self.fading).into_iter().rev() {
            self.give_up(lost);
        }
        // Names first, whatever the scorer knows: the first batch carries them. An empty queue gets one for it.
        if self.closed.is_empty() && !self.living.is_empty() && self.open.is_empty() {
            self.last_sequence += 1;
            let batch = v1::Batch { sequence: self.last_sequence, closed_at: Some(time::to_wire(now)), ..v1::Batch::default() };
            self.closed.push_back(Pending { batch, ..Pending::default() });
        }
        let first = self.closed.front_mut().unwrap_or(&mut self.open);
        let mut births = self.living.named();
        for birth in mem::take(&mut first.batch.births) {
            if let Some(container) = birth.container {
                births.entry(container.id.clone()).or_insert(container);
            }
        }
        first.batch.births = births.into_values().map(|container| v1::Birth { container: Some(container) }).collect();
        // Shares of time may have been lost with the connection. They are not sent for a container whose end waits here.
        let told = mem::take(&mut first.batch.observed);
        first.batch.observed = newest(told, self.living.observed(), |o| &o.container_id, &HashSet::new());
        let before = first.bytes;
        first.weigh();
        self.bytes = self.bytes - before + first.bytes;
    }

    /// The balance.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Bytes of memory held, by estimate.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Most bytes of memory held.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Nothing is open, closed or on its way.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.closed.is_empty() && self.fading.is_empty()
    }

    fn drop_oldest(&mut self) {
        let Some(mut oldest) = self.closed.pop_front() else { return };
        self.bytes -= oldest.bytes;
        if self.taken == 0 {
            return self.give_up(oldest);
        }
        self.taken -= 1;
        oldest.whose = whose(&mem::take(&mut oldest.batch.calls));
        oldest.names = names_of(&mem::take(&mut oldest.batch.names));
        self.fading.push_back(oldest);
    }

    /// Its calls are lost; the rest of it goes into the batch that is now the first.
    fn give_up(&mut self, lost: Pending) {
        self.counts.dropped += lost.calls;
        self.counts.waiting -= lost.calls;
        let whose = if lost.whose.is_empty() { whose(&lost.batch.calls) } else { lost.whose };
        for (id, calls) in whose {
            self.living.dropped(&id, calls);
        }
        let names = if lost.names.is_empty() { names_of(&lost.batch.names) } else { lost.names };
        for (id, names) in names {
            self.living.names_dropped(&id, names);
        }
        self.dropped_untold += lost.calls + lost.batch.dropped_before;
        let heir = self.closed.front_mut().unwrap_or(&mut self.open);
        let before = heir.bytes;
        let unheard = heir.inherit(lost.batch, self.living.unannounced());
        heir.weigh();
        self.bytes = self.bytes - before + heir.bytes;
        for id in unheard {
            self.living.unheard(&id);
        }
    }
}

#[cfg(test)]
mod tests;
