//! Which container a record belongs to, and whether anyone wants it.
//!
//! In: [`Event`]s from the kernel, names from [`crate::identity`] as they come, kernel counters once a second.
//! Out: [`Record`]s in the order that `record` promises, requests for names, keys to let go of. Pure: times and
//! counters are given to it.
//!
//! Names come late. Until a container is named its runs are held, in at most [`HELD_MAX`] bytes for all containers together.
//! When that is full, a container's runs go out under its bare id: they neither wait longer nor are lost.
//!
//! Memory is bounded: [`CONTAINERS_MAX`] containers of at most [`CONTAINER_BYTES`] (usually 2 KiB: names are short),
//! [`THREADS_MAX`] threads of all containers together at [`THREAD_BYTES`](crate::sequence::THREAD_BYTES) each, and
//! [`HELD_MAX`]. A container over the bound is not followed, and its calls are counted. With too many threads, the container
//! that has most evicts those that have been silent for longest.
//!
//! **Invariant:** calls in = calls out + calls dropped by reason + calls held ([`Totals`], [`Attribution::held`]).

mod choosing;
mod counts;
mod ended;
mod entry;
mod listed;
mod waiting;

pub use counts::{Balance, Held, Totals};
pub use listed::{Listed, Naming};

use crate::{
    container::{ContainerInfo, ContainerKey, Selection},
    decode::{Calls, Event, Life, Named},
    identity::{Found, Sighting},
    record::{NamedCall, ProcessName, Record, Run},
};
use ended::Ended;
use entry::{Entry, State};
use jiff::Timestamp;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use surprisal_agent_ebpf::abi::ContainerState;
use surprisal_proto::v1;
use waiting::Piece;

/// Bytes of calls that wait for names, all containers together.
pub const HELD_MAX: usize = 16 << 20;

/// Containers followed at once: many times what a node runs. The kernel's table holds twice as many, those that nobody wants
/// among them.
pub const CONTAINERS_MAX: usize = 4096;

/// Most memory that a followed container takes here, without its threads: its entry, and eight names of up to 1 KiB, once
/// for all stages and once as the wire has them.
pub const CONTAINER_BYTES: usize = 24 << 10;

/// Threads remembered, all containers together.
pub const THREADS_MAX: usize = 262_144;

/// Keys of ended containers that are remembered.
const ENDED_MAX: usize = 4 * CONTAINERS_MAX;

/// A container that the kernel does not know any more for this long has ended, nanoseconds.
const VANISHED_NS: u64 = 3_000_000_000;

/// All containers of the node.
pub struct Attribution {
    selection: Selection,
    node: Arc<str>,
    /// What to add to the kernel's times for nanoseconds since the Unix epoch.
    epoch_offset_ns: i128,
    entries: HashMap<ContainerKey, Entry>,
    ended: Ended,
    held: Held,
    threads: usize,
    /// Of containers that are not followed any more.
    retired: Balance,
    /// Counts of no container.
    pub totals: Totals,
    /// To be named; the caller takes them.
    pub to_name: Vec<Sighting>,
    /// Not to be followed by the kernel any more; the caller takes them.
    pub to_ignore: Vec<ContainerKey>,
    /// To be followed by the kernel again; the caller takes them, and says so to [`Attribution::follows_again`].
    pub to_follow: Vec<ContainerKey>,
    /// Ended, to be freed in the kernel; the caller takes them.
    pub to_forget: Vec<ContainerKey>,
}

impl Attribution {
    /// Knows nobody yet.
    pub fn new(node: Arc<str>, selection: Selection, epoch_offset_ns: i128) -> Self {
        Self {
            selection,
            node,
            epoch_offset_ns,
            entries: HashMap::new(),
            ended: Ended::new(ENDED_MAX),
            held: Held::default(),
            threads: 0,
            retired: Balance::default(),
            totals: Totals::default(),
            to_name: Vec::new(),
            to_ignore: Vec::new(),
            to_follow: Vec::new(),
            to_forget: Vec::new(),
        }
    }

    /// Keys of the containers that are followed and alive, with one of their processes and their shim.
    pub fn living(&self) -> impl Iterator<Item = (ContainerKey, u32, u32)> {
        self.entries.iter().filter(|(_, e)| e.ended.is_none() && !e.let_go).map(|(key, e)| (*key, e.who.tgid, e.who.shim_tgid))
    }

    /// Containers known, in any state.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no container is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Threads remembered, all containers together.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// What is held for names.
    pub fn held(&self) -> Held {
        self.held
    }

    /// The balance of all containers followed since the beginning.
    pub fn balance(&self) -> Balance {
        let mut sum = self.retired;
        for entry in self.entries.values() {
            match entry.state {
                State::Named(_) => sum.add(entry.balance()),
                // Until it is known whether anybody wants it, what the kernel lost of it is nobody's loss.
                State::Naming(_) => sum.add(entry.delivered()),
                State::Unwanted(_) => {}
            }
        }
        sum
    }

    /// All containers known now, in any state, by id.
    pub fn list(&self) -> Vec<Listed> {
        let mut all: Vec<_> =
            self.entries.values().filter(|e| e.ended.is_none()).map(|e| e.listed(self.wall(e.since_ns))).collect();
        all.sort_by_key(Listed::id);
        all
    }

    /// Kernel time to wall time.
    fn wall(&self, ns: u64) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(ns) + self.epoch_offset_ns).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Takes what the start-up walk found.
    pub fn found(&mut self, who: Sighting, now_ns: u64) {
        self.ended.remove(who.key);
        self.add(who, now_ns);
    }

    /// False: there is no room for it, and the kernel is to stop following it.
    fn add(&mut self, who: Sighting, now_ns: u64) -> bool {
        let key = who.key;
        if self.entries.len() >= CONTAINERS_MAX && !self.entries.contains_key(&key) {
            self.totals.records_refused += 1;
            if !self.to_ignore.contains(&key) {
                self.to_ignore.push(key);
            }
            return false;
        }
        self.to_name.push(who.clone());
        if let Some(old) = self.entries.insert(key, Entry::new(who, now_ns)) {
            self.threads -= old.threads.len();
        }
        true
    }

    /// Takes one event.
    pub fn event(&mut self, event: Event, now_ns: u64, out: &mut Vec<Record>) {
        match event {
            Event::Birth(life) => {
                let key = ContainerKey(life.container);
                self.ended.remove(key);
                if let Some(entry) = self.entries.get_mut(&key).filter(|entry| !entry.let_go || entry.is_of(&life)) {
                    // Found by the walk as well, or inferred from its calls.
                    entry.seen_ns = now_ns;
                    if entry.let_go {
                        // Nobody in it was followed any more, and now somebody entered it.
                        entry.let_go = false;
                        self.to_ignore.push(key);
                    }
                    return;
                }
                let started_at = Some(self.wall(life.at_ns));
                self.add(
                    Sighting {
                        key,
                        cgroup_name: life.cgroup_name,
                        tgid: life.tgid,
                        shim_tgid: life.shim_tgid,
                        started_at,
                        found: Found::Birth,
                    },
                    now_ns,
                );
            }
            Event::Calls(calls) => self.calls(calls, now_ns, out),
            Event::Name(named) => self.name(&named, now_ns, out),
            Event::End(life, state) => self.end(&life, state, now_ns, out),
        }
    }

    fn calls(&mut self, mut calls: Calls, now_ns: u64, out: &mut Vec<Record>) {
        let key = ContainerKey(calls.container);
        if !self.entries.contains_key(&key) {
            if self.ended.contains(key) {
                if !calls.peek {
                    self.totals.calls_late += calls.tokens.len() as u64;
                }
                return;
            }
            // The ring buffer refused its birth.
            let (found, started_at) = (Found::Inferred, None);
            let who = Sighting { key, cgroup_name: String::new(), tgid: calls.tgid, shim_tgid: 0, started_at, found };
            if !self.add(who, now_ns) {
                self.totals.calls_refused += calls.tokens.len() as u64;
                self.unfollowed(&calls);
                return;
            }
            self.totals.births_inferred += 1;
        }
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.seen_ns = now_ns;
        if matches!(entry.state, State::Unwanted(_)) {
            self.totals.calls_unselected += calls.tokens.len() as u64;
            self.unfollowed(&calls);
            return;
        }
        let (repeated, threads) = (entry.threads.repeated, entry.threads.len());
        let fresh = entry.threads.accept(&mut calls, now_ns);
        self.threads += entry.threads.len() - threads;
        self.totals.calls_repeated += entry.threads.repeated - repeated;
        if self.threads > THREADS_MAX {
            self.forget_threads(now_ns);
        }
        let Some(fresh) = fresh else { return };
        self.totals.calls_in += fresh.tokens.len() as u64;
        self.totals.calls_lost += fresh.gap;
        // A thread that ends without another call has a chunk that never began.
        let started_ns = if calls.start_ns == 0 { now_ns } else { calls.start_ns.max(fresh.after_ns.unwrap_or(0)) };
        let started = self.wall(started_ns);
        let run = Run {
            tgid: calls.tgid,
            tid: calls.tid,
            process: ProcessName::from_kernel(calls.comm),
            first_seq: fresh.first_seq,
            started,
            gap: fresh.gap,
            tokens: fresh.tokens,
            last: fresh.last,
            by_exec: calls.by_exec,
        };
        let Some(entry) = self.entries.get_mut(&key) else { return };
        match &mut entry.state {
            State::Named(container) => {
                self.totals.calls_out += run.tokens.len() as u64;
                out.push(Record::Calls { container: Arc::clone(container), run });
            }
            State::Naming(waiting) => {
                self.held.add(waiting.push(Piece::Run(run)));
                if self.held.bytes > HELD_MAX {
                    self.totals.named_too_late += 1;
                    self.settle_bare(key, now_ns, out);
                }
            }
            State::Unwanted(_) => {}
        }
    }

    /// What a call was about. Of a container that is not known or not wanted, it is nobody's.
    fn name(&mut self, named: &Named, now_ns: u64, out: &mut Vec<Record>) {
        let key = ContainerKey(named.container);
        let at = self.wall(named.at_ns);
        let entry = self.entries.get_mut(&key).filter(|entry| !matches!(entry.state, State::Unwanted(_)));
        let (Some(entry), Some(name)) = (entry, named.raw.read()) else {
            self.totals.names_dropped += 1;
            return;
        };
        if entry.has_told(named.raw.token, &name, now_ns) {
            self.totals.names_dropped += 1;
            return;
        }
        self.totals.names_in += 1;
        let Named { tgid, tid, seq, .. } = *named;
        let call = NamedCall { tgid, tid, seq, at, token: named.raw.token, name };
        match &mut entry.state {
            State::Named(container) => out.push(Record::Name { container: Arc::clone(container), call }),
            State::Naming(waiting) => {
                self.held.add(waiting.push(Piece::Name(call)));
                if self.held.bytes > HELD_MAX {
                    self.totals.named_too_late += 1;
                    self.settle_bare(key, now_ns, out);
                }
            }
            State::Unwanted(_) => {}
        }
    }

    /// Counts calls of a thread that is not followed.
    fn unfollowed(&mut self, calls: &Calls) {
        self.totals.calls_in += calls.tokens.len() as u64;
        self.totals.calls_unfollowed += calls.tokens.len() as u64;
    }

    /// The container with most threads forgets those that ended; if there are none, the eighth that has been silent for longest.
    fn forget_threads(&mut self, now_ns: u64) {
        let Some(entry) = self.entries.values_mut().max_by_key(|e| e.threads.len()) else { return };
        let before = entry.threads.len();
        entry.threads.sweep(now_ns);
        if entry.threads.len() == before {
            self.totals.threads_forgotten += entry.threads.forget(before.div_ceil(8)) as u64;
        }
        self.threads -= before - entry.threads.len();
    }

    /// Goes on with what is known: under the bare id, or with names whose labels did not come.
    fn settle_bare(&mut self, key: ContainerKey, now_ns: u64, out: &mut Vec<Record>) {
        let Some(entry) = self.entries.get(&key) else { return };
        let info = entry.undecided.clone().unwrap_or_else(|| {
            let id = entry.who.cgroup_name.parse().ok();
            ContainerInfo::unnamed(key, Arc::clone(&self.node), id, entry.who.started_at).into()
        });
        self.settle(key, &info, now_ns, out);
    }

    fn end(&mut self, life: &Life, state: ContainerState, now_ns: u64, out: &mut Vec<Record>) {
        let key = ContainerKey(life.container);
        let at = self.wall(life.at_ns);
        let Some(entry) = self.entries.get_mut(&key) else {
            // There was no room for it here, but there may be something of it in the kernel.
            self.to_forget.push(key);
            return;
        };
        entry.kernel = state;
        entry.seen_ns = now_ns;
        if matches!(entry.state, State::Unwanted(_)) {
            // No thread of it is followed any more. Whether it lives is not for the kernel side to say.
            entry.let_go = true;
            self.to_forget.push(key);
            return;
        }
        entry.ended = Some(at);
        // Who is still being named gets its names first; they come, or the answer that there are none.
        if !matches!(entry.state, State::Naming(_)) {
            self.bury(key, now_ns, out);
        }
    }

    fn bury(&mut self, key: ContainerKey, now_ns: u64, out: &mut Vec<Record>) {
        let Some(mut entry) = self.entries.remove(&key) else { return };
        self.ended.insert(key, now_ns);
        self.to_forget.push(key);
        self.to_name.retain(|who| who.key != key);
        self.threads -= entry.threads.len();
        let at = *entry.ended.get_or_insert(self.wall(now_ns));
        if !matches!(entry.state, State::Unwanted(_)) {
            self.retired.add(entry.balance());
        }
        out.extend(entry.account());
        if let State::Named(container) = entry.state {
            out.push(Record::Death { container, at });
        }
    }

    /// Takes the kernel's counters of living containers; `None`: it does not know the container any more.
    ///
    /// One without threads was found by the walk as its last process ended, or the ring had no room for its end.
    pub fn counters(&mut self, key: ContainerKey, state: Option<ContainerState>, now_ns: u64, out: &mut Vec<Record>) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let threads = entry.threads.len();
        entry.threads.sweep(now_ns);
        self.threads -= threads - entry.threads.len();
        let alive = state.is_some_and(|s| s.live_threads > 0);
        if let Some(state) = state {
            entry.kernel = state;
        }
        if alive {
            entry.seen_ns = now_ns;
            out.extend(entry.account());
        } else if entry.ended.is_none() && now_ns.saturating_sub(entry.seen_ns) > VANISHED_NS {
            self.totals.ends_inferred += 1;
            if matches!(entry.state, State::Naming(_)) {
                self.settle_bare(key, now_ns, out);
            }
            self.bury(key, now_ns, out);
        }
    }

    /// Takes network counters.
    pub fn network(&self, key: ContainerKey, counters: v1::Network, out: &mut Vec<Record>) {
        if let Some(Entry { state: State::Named(container), .. }) = self.entries.get(&key) {
            out.push(Record::Network { container: Arc::clone(container), counters });
        }
    }

    /// Whether a container is followed and named: only then are network counters worth reading.
    pub fn is_named(&self, key: ContainerKey) -> bool {
        matches!(self.entries.get(&key), Some(Entry { state: State::Named(_), .. }))
    }

    /// Forgets keys of containers that ended a while ago, and stops waiting for what does not come.
    pub fn sweep(&mut self, now_ns: u64, out: &mut Vec<Record>) {
        self.ended.sweep(now_ns);
        self.stop_waiting_for_labels(now_ns, out);
    }

    /// Everything that is still held, under bare ids: the agent stops.
    pub fn finish(&mut self, now_ns: u64, out: &mut Vec<Record>) {
        let naming: HashSet<_> =
            self.entries.iter().filter(|(_, e)| matches!(e.state, State::Naming(_))).map(|(key, _)| *key).collect();
        for key in naming {
            self.settle_bare(key, now_ns, out);
        }
        for entry in self.entries.values_mut() {
            out.extend(entry.account());
        }
    }
}

#[cfg(test)]
mod tests;
