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

use crate::{
    container::{ContainerInfo, wire_time},
    record::Record,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    mem,
};
use surprisal_proto::v1;

/// Bytes a batch is closed at.
pub const BATCH_BYTES: usize = 64 << 10;
/// Batches on their way at once.
pub const IN_FLIGHT_MAX: usize = 64;

/// The balance. All cumulative but `waiting`, in calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Came in.
    pub pushed: u64,
    /// Acknowledged by the scorer.
    pub acknowledged: u64,
    /// Dropped here because the queue was full.
    pub dropped: u64,
    /// Not sent because the node was over its byte budget.
    pub left_out: u64,
    /// Still here, or sent and neither acknowledged nor given up.
    pub waiting: u64,
    /// Those of the waiting that were sent on the present connection.
    pub in_flight: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Queue {
    capacity: usize,
    open: Pending,
    closed: VecDeque<Pending>,
    /// How many of `closed`, from the front, were taken to be sent on the present connection.
    taken: usize,
    /// Sent, not acknowledged, and no longer held: whether they arrived, the next answer tells.
    fading: VecDeque<Pending>,
    last_sequence: u64,
    /// Dropped since the last batch that was told of it.
    dropped_untold: u64,
    /// Containers to announce again after a reconnect: those that live, and those whose end waits here.
    living: BTreeMap<String, Living>,
    /// Those of them whose birth never left here.
    unannounced: HashSet<String>,
    bytes: usize,
    counts: Counts,
}

#[derive(Debug)]
struct Living {
    container: v1::Container,
    ending: bool,
    /// Its calls that were dropped here.
    dropped: u64,
    /// Its calls that were left out.
    left_out: u64,
    /// The share of time in which its calls are sent. `None`: they all are.
    observed: Option<f64>,
}

#[derive(Debug, Default)]
struct Pending {
    batch: v1::Batch,
    calls: u64,
    bytes: usize,
    /// Whose calls these were, once they are held no longer.
    whose: BTreeMap<String, u64>,
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
            living: BTreeMap::new(),
            unannounced: HashSet::new(),
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
                let id = wire.id.clone();
                let living = if let Some(old) = self.living.remove(&id) {
                    // Its names have come, or its id is used again.
                    Living { container: wire, ending: false, observed: old.observed.filter(|_| !old.ending), ..old }
                } else {
                    self.unannounced.insert(id.clone());
                    Living { container: wire, ending: false, dropped: 0, left_out: 0, observed: None }
                };
                self.living.insert(id, living);
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
            Record::Network { container, counters } => {
                let counters = v1::Network { container_id: container.id.to_string(), ..counters.clone() };
                put(&mut batch.network, counters, |n| &n.container_id)
            }
            Record::Account { container, issued, delivered, lost_ring, threads_untracked } => {
                let account = v1::Account {
                    container_id: container.id.to_string(),
                    issued: *issued,
                    delivered: *delivered,
                    lost_ring: *lost_ring,
                    threads_untracked: *threads_untracked,
                    // Filled in when the batch is taken: until then more may be dropped.
                    dropped_queue: 0,
                    dropped_budget: 0,
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
        if let Some(living) = self.living.get_mut(record.container().id.as_str()) {
            living.left_out += calls;
        }
    }

    /// Announces the share of time in which a container's calls are sent; 1: whole again.
    pub fn observe(&mut self, id: &str, ratio: f64) {
        let Some(living) = self.living.get_mut(id).filter(|l| !l.ending) else { return };
        living.observed = (ratio < 1.0).then_some(ratio);
        let observed = v1::Observed { container_id: id.to_owned(), ratio };
        let added = put(&mut self.open.batch.observed, observed, |o| &o.container_id);
        self.open.bytes += added;
        self.bytes += added;
    }

    fn push_death(&mut self, container: &ContainerInfo, at: Timestamp) -> usize {
        let id = container.id.to_string();
        if let Some(living) = self.living.get_mut(&id) {
            living.ending = true;
        }
        let bytes = size_of::<v1::Death>() + id.len();
        self.open.batch.deaths.push(v1::Death { container_id: id, ended_at: Some(wire_time(at)) });
        bytes
    }

    /// Closes the open batch if anything is in it; true: it was closed.
    pub fn close(&mut self, now: Timestamp) -> bool {
        // With nothing else to say, what was dropped is still told.
        let to_tell = self.dropped_untold > 0 && self.taken == self.closed.len();
        if self.open.is_empty() && !to_tell {
            return false;
        }
        let mut batch = mem::take(&mut self.open);
        self.last_sequence += 1;
        batch.batch.sequence = self.last_sequence;
        batch.batch.closed_at = Some(wire_time(now));
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
            self.unannounced.remove(id_of(birth));
        }
        for account in &mut next.batch.accounts {
            if let Some(living) = self.living.get(&account.container_id) {
                account.dropped_queue = living.dropped;
                account.dropped_budget = living.left_out;
            }
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
            // One that was sent on an earlier connection only is in flight no longer.
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
            self.ended(&death.container_id);
        }
    }

    /// The scorer knows of its end, or never will. Its id may live on in another.
    fn ended(&mut self, id: &str) {
        if self.living.get(id).is_some_and(|l| l.ending) {
            self.living.remove(id);
        }
    }

    /// A new connection; the scorer says what it had taken before. Everything else is sent again, after a
    /// batch that announces all living containers.
    pub fn reconnected(&mut self, scorers_last: u64, now: Timestamp) {
        self.acknowledge(scorers_last);
        // What faded and did not arrive is lost now, the rest is to be sent again.
        self.taken = 0;
        self.counts.in_flight = 0;
        for lost in mem::take(&mut self.fading).into_iter().rev() {
            self.give_up(lost);
        }
        // Names first, whatever the scorer knows: the first batch carries them. An empty queue gets one for it.
        if self.closed.is_empty() && !self.living.is_empty() && self.open.is_empty() {
            self.last_sequence += 1;
            let batch = v1::Batch { sequence: self.last_sequence, closed_at: Some(wire_time(now)), ..v1::Batch::default() };
            self.closed.push_back(Pending { batch, ..Pending::default() });
        }
        let first = self.closed.front_mut().unwrap_or(&mut self.open);
        let mut births: BTreeMap<_, _> = self.living.iter().map(|(id, l)| (id.clone(), l.container.clone())).collect();
        for birth in mem::take(&mut first.batch.births) {
            if let Some(container) = birth.container {
                births.entry(container.id.clone()).or_insert(container);
            }
        }
        first.batch.births = births.into_values().map(|container| v1::Birth { container: Some(container) }).collect();
        // What the scorer was told may have gone with the connection. A batch that ends a container says nothing more of it.
        let sampled = self.living.iter().filter(|(_, l)| !l.ending);
        let sampled = sampled.filter_map(|(id, l)| l.observed.map(|ratio| v1::Observed { container_id: id.clone(), ratio }));
        let told = mem::take(&mut first.batch.observed);
        first.batch.observed = newest(told, sampled.collect(), |o| &o.container_id, &HashSet::new());
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
        self.fading.push_back(oldest);
    }

    /// Its calls are lost; the rest of it goes into the batch that is now the first.
    fn give_up(&mut self, lost: Pending) {
        self.counts.dropped += lost.calls;
        self.counts.waiting -= lost.calls;
        let whose = if lost.whose.is_empty() { whose(&lost.batch.calls) } else { lost.whose };
        for (id, calls) in whose {
            if let Some(living) = self.living.get_mut(&id) {
                living.dropped += calls;
            }
        }
        self.dropped_untold += lost.calls + lost.batch.dropped_before;
        let heir = self.closed.front_mut().unwrap_or(&mut self.open);
        let before = heir.bytes;
        let unheard = heir.inherit(lost.batch, &self.unannounced);
        heir.weigh();
        self.bytes = self.bytes - before + heir.bytes;
        for id in unheard {
            self.unannounced.remove(&id);
            self.ended(&id);
        }
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        let b = &self.batch;
        b.births.is_empty()
            && b.calls.is_empty()
            && b.network.is_empty()
            && b.accounts.is_empty()
            && b.deaths.is_empty()
            && b.observed.is_empty()
    }

    /// Takes over what an older batch must not take with it. Returns who was born and died without the
    /// scorer having heard of it: it never will.
    fn inherit(&mut self, older: v1::Batch, unannounced: &HashSet<String>) -> HashSet<String> {
        let ids = |deaths: &[v1::Death]| deaths.iter().map(|d| d.container_id.clone()).collect::<HashSet<_>>();
        let mine = mem::take(&mut self.batch);
        let born_again: HashSet<String> = mine.births.iter().map(|b| id_of(b).to_owned()).collect();
        // Deaths come last: what is observed in the same batch is of the life that ended with it.
        let ended = ids(&older.deaths);
        let mut observed = older.observed;
        observed.retain(|o| !ended.contains(&o.container_id));
        // An id that lives again here goes on, as far as the scorer can see; and it is whole.
        let (again, dead): (Vec<_>, Vec<_>) = older.deaths.into_iter().partition(|d| born_again.contains(&d.container_id));
        observed.extend(again.into_iter().map(|d| v1::Observed { container_id: d.container_id, ratio: 1.0 }));
        let (unheard, dead): (Vec<_>, Vec<_>) = dead.into_iter().partition(|d| unannounced.contains(&d.container_id));
        let unheard = ids(&unheard);
        self.batch = v1::Batch {
            births: older.births.into_iter().filter(|b| !unheard.contains(id_of(b))).chain(mine.births).collect(),
            network: newest(older.network, mine.network, |n| &n.container_id, &unheard),
            accounts: newest(older.accounts, mine.accounts, |a| &a.container_id, &unheard),
            observed: newest(observed, mine.observed, |o| &o.container_id, &unheard),
            deaths: dead.into_iter().chain(mine.deaths).collect(),
            ..mine
        };
        unheard
    }

    fn weigh(&mut self) {
        let b = &self.batch;
        self.bytes = b.births.iter().map(weight_of_birth).sum::<usize>()
            + b.calls.iter().map(weight_of_calls).sum::<usize>()
            + b.network.iter().map(|n| size_of::<v1::Network>() + n.container_id.len()).sum::<usize>()
            + b.accounts.iter().map(|a| size_of::<v1::Account>() + a.container_id.len()).sum::<usize>()
            + b.observed.iter().map(|o| size_of::<v1::Observed>() + o.container_id.len()).sum::<usize>()
            + b.deaths.iter().map(|d| size_of::<v1::Death>() + d.container_id.len()).sum::<usize>();
    }
}

/// Calls by container.
fn whose(runs: &[v1::Calls]) -> BTreeMap<String, u64> {
    let mut whose = BTreeMap::new();
    for run in runs {
        *whose.entry(run.container_id.clone()).or_default() += run.tokens.len() as u64 / 2;
    }
    whose
}

fn id_of(birth: &v1::Birth) -> &str {
    birth.container.as_ref().map_or("", |c| &c.id)
}

fn weight_of_calls(calls: &v1::Calls) -> usize {
    size_of::<v1::Calls>() + calls.container_id.len() + calls.process.len() + calls.tokens.len()
}

fn weight_of_birth(birth: &v1::Birth) -> usize {
    let text = birth.container.as_ref().map_or(0, |c| {
        [&c.id, &c.node, &c.namespace, &c.pod, &c.pod_uid, &c.name, &c.image, &c.runtime_namespace, &c.workload]
            .map(String::len)
            .iter()
            .sum()
    });
    size_of::<v1::Birth>() + text
}

/// Puts a container's cumulative entry, in place of its older one; returns the bytes added.
fn put<T>(entries: &mut Vec<T>, entry: T, id: impl Fn(&T) -> &String) -> usize {
    if let Some(old) = entries.iter_mut().find(|old| id(old) == id(&entry)) {
        *old = entry;
        return 0;
    }
    let bytes = size_of::<T>() + id(&entry).len();
    entries.push(entry);
    bytes
}

/// The newer entry of each container, without those of `unheard`.
fn newest<T>(older: Vec<T>, newer: Vec<T>, id: impl Fn(&T) -> &String, unheard: &HashSet<String>) -> Vec<T> {
    let known: HashSet<String> = newer.iter().map(|n| id(n).clone()).collect();
    older.into_iter().filter(|o| !known.contains(id(o)) && !unheard.contains(id(o))).chain(newer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        container::{Kind, Names},
        procfs::ContainerKey,
        record::Run,
    };
    use proptest::prelude::*;
    use std::sync::Arc;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn info(id: &str) -> Arc<ContainerInfo> {
        let names = Names { runtime_namespace: "default".into(), kind: Kind::Container, ..Names::default() };
        Arc::new(ContainerInfo::named(ContainerKey(1), "n".into(), id.parse().expect("an id"), names, None))
    }

    fn calls(id: &str, seq: u64, n: usize) -> Record {
        let run =
            Run { tgid: 1, tid: 1, process: "p".into(), first_seq: seq, started: NOW, gap: 0, tokens: vec![7; n], last: false };
        Record::Calls { container: info(id), run }
    }

    fn birth(id: &str) -> Record {
        Record::Birth(info(id))
    }

    fn death(id: &str) -> Record {
        Record::Death { container: info(id), at: NOW }
    }

    fn account(id: &str, issued: u64) -> Record {
        Record::Account { container: info(id), issued, delivered: issued, lost_ring: 0, threads_untracked: 0 }
    }

    /// A queue of the smallest capacity: it holds two batches' worth.
    fn small() -> Queue {
        Queue::new(0)
    }

    /// A batch of its own that fills half the smallest queue.
    fn fill(queue: &mut Queue, seq: u64) {
        assert!(queue.push(&calls("c1", seq, BATCH_BYTES / 2), NOW), "large enough to close the batch");
    }

    fn births(batch: &v1::Batch) -> Vec<&str> {
        batch.births.iter().map(id_of).collect()
    }

    fn deaths(batch: &v1::Batch) -> Vec<&str> {
        batch.deaths.iter().map(|d| d.container_id.as_str()).collect()
    }

    #[test]
    fn batches_are_numbered_and_held_until_acknowledged() {
        let mut queue = small();
        assert!(!queue.close(NOW), "nothing to close");
        assert!(!queue.push(&birth("c1"), NOW));
        assert!(!queue.push(&calls("c1", 0, 3), NOW));
        assert_eq!(queue.take(), None, "still open");
        assert!(queue.close(NOW));
        let batch = queue.take().expect("closed");
        assert_eq!((batch.sequence, births(&batch), batch.calls.len()), (1, vec!["c1"], 1));
        assert_eq!(queue.take(), None);
        assert_eq!(queue.counts(), Counts { pushed: 3, waiting: 3, in_flight: 3, ..Counts::default() });
        assert!(!queue.is_empty());
        queue.acknowledge(1);
        assert_eq!(queue.counts(), Counts { pushed: 3, acknowledged: 3, ..Counts::default() });
        assert!(queue.is_empty());
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn the_oldest_go_first_and_are_counted() {
        let mut queue = small();
        for n in 0..5 {
            fill(&mut queue, n);
        }
        let half = (BATCH_BYTES / 2) as u64;
        assert_eq!(queue.counts().dropped, 4 * half);
        let batch = queue.take().expect("the newest");
        assert_eq!((batch.sequence, batch.dropped_before, batch.calls[0].first_sequence), (5, 4 * half, 4));
        assert!(queue.bytes() <= queue.capacity);
    }

    #[test]
    fn what_must_not_be_lost_moves_on() {
        let mut queue = small();
        for record in [birth("c1"), birth("c2"), birth("gone"), account("c1", 1), account("gone", 9), death("gone")] {
            queue.push(&record, NOW);
        }
        queue.push(&account("c1", 2), NOW);
        for n in 0..3 {
            fill(&mut queue, n);
        }
        let batch = queue.take().expect("the newest");
        assert_eq!(births(&batch), ["c1", "c2"], "who was born and died unheard of never existed");
        assert_eq!(deaths(&batch), [""; 0]);
        assert_eq!(batch.accounts.iter().map(|a| (a.container_id.as_str(), a.issued)).collect::<Vec<_>>(), [("c1", 2)]);
        assert!(queue.unannounced.is_empty());
        assert_eq!(queue.living.len(), 2, "nothing is kept of the one that is gone");
    }

    #[test]
    fn a_death_that_the_scorer_must_hear_of_is_kept() {
        let mut queue = small();
        queue.push(&birth("c1"), NOW);
        queue.close(NOW);
        queue.take().expect("closed");
        queue.acknowledge(1);
        queue.push(&death("c1"), NOW);
        for n in 0..4 {
            fill(&mut queue, n);
        }
        let batch = queue.take().expect("the newest");
        assert_eq!(deaths(&batch), ["c1"]);
        queue.acknowledge(batch.sequence);
        assert!(queue.living.is_empty());
    }

    #[test]
    fn an_id_used_again_gets_a_batch_of_its_own() {
        let mut queue = small();
        queue.push(&birth("c1"), NOW);
        queue.push(&death("c1"), NOW);
        assert!(queue.push(&birth("c1"), NOW), "closes the first life's batch");
        queue.close(NOW);
        let (first, second) = (queue.take().expect("one"), queue.take().expect("two"));
        assert_eq!((births(&first), deaths(&first)), (vec!["c1"], vec!["c1"]));
        assert_eq!((births(&second), deaths(&second)), (vec!["c1"], vec![]));
        queue.acknowledge(2);
        assert_eq!(queue.living.len(), 1);
    }

    #[test]
    fn after_a_reconnect_names_come_first() {
        let mut queue = small();
        queue.push(&birth("c1"), NOW);
        queue.push(&birth("c2"), NOW);
        queue.close(NOW);
        queue.take().expect("closed");
        queue.acknowledge(1);
        queue.reconnected(0, NOW);
        let batch = queue.take().expect("made for it");
        assert_eq!((batch.sequence, births(&batch)), (2, vec!["c1", "c2"]));
        // One whose end was not delivered is named again, too: its calls are still to come.
        queue.push(&calls("c2", 0, 1), NOW);
        queue.push(&death("c2"), NOW);
        queue.close(NOW);
        queue.reconnected(2, NOW);
        let batch = queue.take().expect("waiting");
        assert_eq!((batch.sequence, births(&batch), deaths(&batch)), (3, vec!["c1", "c2"], vec!["c2"]));
        queue.reconnected(3, NOW);
        assert_eq!(births(&queue.take().expect("made for it")), ["c1"]);
    }

    #[test]
    fn what_was_on_its_way_when_it_was_dropped_is_judged_by_the_answer() {
        let half = (BATCH_BYTES / 2) as u64;
        for (arrived, dropped) in [(2, 0), (1, half), (0, 2 * half)] {
            let mut queue = small();
            fill(&mut queue, 0);
            queue.take().expect("one");
            fill(&mut queue, 1);
            queue.take().expect("two");
            fill(&mut queue, 2);
            fill(&mut queue, 3);
            assert_eq!(queue.counts().waiting + queue.counts().dropped, 4 * half);
            assert_eq!(queue.fading.len(), 2);
            queue.reconnected(arrived, NOW);
            let next = queue.take().expect("three or four");
            assert_eq!(next.dropped_before, dropped + half, "the third was dropped unsent");
            assert_eq!(queue.counts().acknowledged, arrived * half);
        }
    }

    #[test]
    fn who_is_not_on_air_costs_nothing_and_is_told_of() {
        let mut queue = small();
        queue.push(&birth("c1"), NOW);
        queue.push(&birth("c2"), NOW);
        queue.close(NOW);
        queue.take().expect("closed");
        queue.acknowledge(1);
        let held = queue.bytes();
        queue.leave_out(&calls("c1", 0, 1000));
        assert_eq!((queue.bytes(), queue.counts().left_out), (held, 1000));
        assert!(!queue.close(NOW), "nothing to send");
        queue.observe("c1", 0.4);
        queue.observe("c2", 0.9);
        queue.observe("c2", 1.0);
        queue.observe("gone", 0.5);
        queue.push(&account("c1", 1000), NOW);
        assert!(queue.close(NOW));
        let told = |batch: &v1::Batch| batch.observed.iter().map(|o| (o.container_id.clone(), o.ratio)).collect::<Vec<_>>();
        let batch = queue.take().expect("closed");
        assert_eq!(told(&batch), [("c1".to_owned(), 0.4), ("c2".to_owned(), 1.0)]);
        assert_eq!((batch.accounts[0].dropped_budget, batch.accounts[0].dropped_queue, batch.dropped_before), (1000, 0, 0));
        queue.acknowledge(2);
        // After a reconnect, those that are sampled; and not any more once they are whole.
        queue.reconnected(2, NOW);
        assert_eq!(told(&queue.take().expect("made for it")), [("c1".to_owned(), 0.4)]);
        queue.acknowledge(3);
        queue.observe("c1", 1.0);
        queue.reconnected(3, NOW);
        queue.close(NOW);
        assert_eq!(told(&queue.take().expect("the open one")), [("c1".to_owned(), 1.0)]);
        // What was dropped on the way is told by the next.
        queue.observe("c1", 0.2);
        for n in 0..3 {
            fill(&mut queue, n);
        }
        queue.reconnected(3, NOW);
        assert_eq!(told(&queue.take().expect("the newest")), [("c1".to_owned(), 0.2)]);
    }

    #[test]
    fn no_more_is_on_its_way_than_the_window() {
        let mut queue = Queue::new(usize::MAX >> 1);
        for n in 0..100 {
            queue.push(&calls("c1", n, 1), NOW);
            queue.close(NOW);
        }
        let mut taken = 0;
        while queue.take().is_some() {
            taken += 1;
        }
        assert_eq!(taken, IN_FLIGHT_MAX);
        queue.acknowledge(10);
        assert!(queue.take().is_some());
    }

    #[derive(Clone, Debug)]
    enum Op {
        Calls(usize),
        LeaveOut(usize),
        Observe(u8),
        Birth(u8),
        Death(u8),
        Close,
        Send(usize),
        Ack,
        /// The connection breaks when the scorer has read this many of what was sent, and comes back.
        Break(usize),
        /// The same, and the scorer has forgotten everything.
        Restart,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => (1usize..20_000).prop_map(Op::Calls),
            2 => (1usize..20_000).prop_map(Op::LeaveOut),
            1 => (0u8..20).prop_map(Op::Observe),
            2 => (0u8..4).prop_map(Op::Birth),
            2 => (0u8..4).prop_map(Op::Death),
            3 => Just(Op::Close),
            4 => (1usize..4).prop_map(Op::Send),
            2 => Just(Op::Ack),
            1 => (0usize..4).prop_map(Op::Break),
            1 => Just(Op::Restart),
        ]
    }

    /// A scorer that takes each batch once.
    #[derive(Default)]
    struct Scorer {
        last: u64,
        calls: u64,
        dropped: u64,
        next_call: u64,
        known: HashSet<String>,
        observed: BTreeMap<String, f64>,
    }

    impl Scorer {
        fn take(&mut self, batch: &v1::Batch) {
            if batch.sequence <= self.last {
                return;
            }
            self.last = batch.sequence;
            self.dropped += batch.dropped_before;
            self.known.extend(batch.births.iter().map(|b| id_of(b).to_owned()));
            for run in &batch.calls {
                assert!(run.first_sequence >= self.next_call, "in order, none twice");
                self.next_call = run.first_sequence + run.tokens.len() as u64 / 2;
                self.calls += run.tokens.len() as u64 / 2;
            }
            for observed in &batch.observed {
                self.observed.insert(observed.container_id.clone(), observed.ratio);
            }
            for death in deaths(batch) {
                self.known.remove(death);
                self.observed.remove(death);
            }
        }
    }

    proptest! {
        #[test]
        fn every_call_arrives_once_or_is_counted(ops in prop::collection::vec(op(), 1..120)) {
            let mut queue = small();
            let mut scorer = Scorer::default();
            let mut wire: VecDeque<v1::Batch> = VecDeque::new();
            let mut seq = 0;
            let mut alive = HashSet::new();
            let mut restarted = false;
            for op in ops {
                match op {
                    Op::Calls(n) => {
                        queue.push(&calls("c0", seq, n), NOW);
                        seq += n as u64;
                    }
                    Op::LeaveOut(n) => {
                        queue.leave_out(&calls("c0", seq, n));
                        seq += n as u64;
                    }
                    Op::Observe(n) => queue.observe(&format!("c{}", n / 5), f64::from(n % 5 + 1) / 5.0),
                    Op::Birth(n) => {
                        let id = format!("c{n}");
                        queue.push(&birth(&id), NOW);
                        alive.insert(id);
                    }
                    Op::Death(n) => {
                        let id = format!("c{n}");
                        if alive.remove(&id) {
                            queue.push(&death(&id), NOW);
                        }
                    }
                    Op::Close => {
                        queue.close(NOW);
                    }
                    Op::Send(n) => wire.extend((0..n).filter_map(|_| queue.take())),
                    Op::Ack => {
                        for batch in wire.drain(..) {
                            scorer.take(&batch);
                        }
                        queue.acknowledge(scorer.last);
                    }
                    Op::Break(n) => {
                        for batch in wire.drain(..).take(n) {
                            scorer.take(&batch);
                        }
                        queue.reconnected(scorer.last, NOW);
                    }
                    Op::Restart => {
                        // What it read and did not acknowledge dies with it.
                        wire.clear();
                        restarted = true;
                        scorer.known.clear();
                        scorer.observed.clear();
                        queue.reconnected(0, NOW);
                    }
                }
                let c = queue.counts();
                prop_assert_eq!(c.pushed, seq);
                prop_assert_eq!(c.pushed, c.acknowledged + c.dropped + c.left_out + c.waiting);
                let sent = queue.closed.iter().take(queue.taken).chain(&queue.fading);
                prop_assert_eq!(c.in_flight, sent.map(|p| p.calls).sum::<u64>());
                prop_assert_eq!(queue.bytes(), queue.closed.iter().chain([&queue.open]).map(|p| p.bytes).sum::<usize>());
            }
            // Let everything through.
            for _ in 0..1000 {
                queue.close(NOW);
                wire.extend(queue.take());
                for batch in wire.drain(..) {
                    scorer.take(&batch);
                }
                queue.acknowledge(scorer.last);
                if queue.is_empty() {
                    break;
                }
            }
            queue.close(NOW);
            if let Some(batch) = queue.take() {
                scorer.take(&batch);
                queue.acknowledge(scorer.last);
            }
            let c = queue.counts();
            prop_assert!(queue.is_empty());
            prop_assert_eq!((c.waiting, c.in_flight, queue.bytes()), (0, 0, 0));
            prop_assert_eq!((scorer.calls, scorer.dropped), (c.acknowledged, c.dropped));
            prop_assert_eq!(&scorer.known, &alive, "who lives is known, who does not is not (restarted: {})", restarted);
            prop_assert!(queue.unannounced.is_empty());
            prop_assert_eq!(queue.living.len(), alive.len());
            for (id, living) in &queue.living {
                let told = scorer.observed.get(id).copied().filter(|ratio| *ratio < 1.0);
                prop_assert_eq!(told, living.observed, "{} (restarted: {})", id, restarted);
            }
        }
    }
}
