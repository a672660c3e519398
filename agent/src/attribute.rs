//! Which container a record belongs to, and whether anyone wants it.
//!
//! In: [`Event`]s from the kernel, names from [`crate::identity`] as they come, kernel counters once a second.
//! Out: [`Record`]s in the order that `record` promises, requests for names, keys to let go of. Pure: times and
//! counters are given to it.
//!
//! Names come late: until a container is named, its runs are held, within [`HELD_MAX`] bytes for all containers
//! together; what does not fit goes out under the bare id at once rather than wait or be lost.
//!
//! Memory is bounded: [`CONTAINERS_MAX`] containers of at most [`CONTAINER_BYTES`] (as a rule 2 KiB: names are short),
//! [`THREADS_MAX`] threads of all containers together at [`THREAD_BYTES`](crate::sequence::THREAD_BYTES) each, and
//! [`HELD_MAX`]. A container over the bound is let go of in the kernel and its calls are counted; where there are too many
//! threads, the container with most of them forgets those that have been silent for longest.
//!
//! **Invariant:** calls in = calls out + calls dropped by reason + calls held ([`Totals`], [`Attribution::held`]).

use crate::{
    container::{ContainerInfo, ContainerKey, Selection},
    decode::{Calls, Event, Life},
    identity::Sighting,
    record::{ProcessName, Record, Run},
    sequence::Sequencer,
};
use jiff::Timestamp;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use surprisal_agent_ebpf::abi::ContainerState;
use surprisal_proto::v1;

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

/// An ended container's key is remembered for this long: a peek may still be on its way, nanoseconds.
const TOMBSTONE_NS: u64 = 2_000_000_000;

/// A container that the kernel does not know any more for this long has ended, nanoseconds.
const VANISHED_NS: u64 = 3_000_000_000;

/// Counts that belong to no container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Calls taken in, each once: passed on, held, or dropped for one of the reasons below.
    pub calls_in: u64,
    /// Of them, those whose thread was not followed here: of containers that are not selected, or for which there was no room.
    pub calls_unfollowed: u64,
    /// Calls of containers for which there was no room.
    pub calls_refused: u64,
    /// Records of containers for which there was no room.
    pub records_refused: u64,
    /// Threads forgotten for lack of room before they ended.
    pub threads_forgotten: u64,
    /// Calls of containers that are not selected.
    pub calls_unselected: u64,
    /// Calls that were repetitions of what a peek had brought.
    pub calls_repeated: u64,
    /// Calls of containers that had ended: their last account told them lost, and they are not taken in.
    pub calls_late: u64,
    /// Calls passed on.
    pub calls_out: u64,
    /// Calls found lost in the kernel.
    pub calls_lost: u64,
    /// Containers sent on before they were named, because too much was held.
    pub named_too_late: u64,
    /// Containers whose birth was not seen.
    pub births_inferred: u64,
    /// Containers whose end was not seen.
    pub ends_inferred: u64,
}

/// Calls of all containers that are or were followed, as their accounts say: issued = delivered + lost + pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Calls their threads are known to have issued.
    pub issued: u64,
    /// Calls read from the kernel.
    pub delivered: u64,
    /// Calls lost because the ring buffer was full.
    pub lost: u64,
}

impl Balance {
    fn add(&mut self, other: Self) {
        self.issued += other.issued;
        self.delivered += other.delivered;
        self.lost += other.lost;
    }
}

/// What is held for names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Calls.
    pub calls: u64,
    /// Memory, bytes; at most [`HELD_MAX`] and one run.
    pub bytes: usize,
}

enum State {
    Naming { held: Vec<Run>, bytes: usize },
    Named(Arc<ContainerInfo>),
    Unwanted,
}

struct Entry {
    state: State,
    who: Sighting,
    threads: Sequencer,
    /// Last counters known.
    kernel: ContainerState,
    sent: (u64, u64, u64),
    seen_ns: u64,
    ended: Option<Timestamp>,
}

/// All containers of the node.
pub struct Attribution {
    selection: Selection,
    node: Arc<str>,
    /// What to add to the kernel's times for nanoseconds since the Unix epoch.
    epoch_offset_ns: i128,
    entries: HashMap<ContainerKey, Entry>,
    ended: HashMap<ContainerKey, u64>,
    held: Held,
    threads: usize,
    /// Of containers that are not followed any more.
    retired: Balance,
    /// Counts of no container.
    pub totals: Totals,
    /// To be named; the caller takes them.
    pub to_name: Vec<Sighting>,
    /// To be let go of in the kernel; the caller takes them.
    pub to_ignore: Vec<ContainerKey>,
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
            ended: HashMap::new(),
            held: Held::default(),
            threads: 0,
            retired: Balance::default(),
            totals: Totals::default(),
            to_name: Vec::new(),
            to_ignore: Vec::new(),
            to_forget: Vec::new(),
        }
    }

    /// Keys of the containers that are followed and alive, with one of their processes and their shim.
    pub fn living(&self) -> impl Iterator<Item = (ContainerKey, u32, u32)> {
        self.entries.iter().filter(|(_, e)| e.ended.is_none()).map(|(key, e)| (*key, e.who.tgid, e.who.shim_tgid))
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
                State::Naming { .. } => sum.add(entry.delivered()),
                State::Unwanted => {}
            }
        }
        sum
    }

    /// Kernel time to wall time.
    fn wall(&self, ns: u64) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(ns) + self.epoch_offset_ns).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Takes what the start-up walk found.
    pub fn found(&mut self, who: Sighting, now_ns: u64) {
        self.ended.remove(&who.key);
        self.add(who, now_ns);
    }

    /// False: there is no room for it. The kernel is to let go of it.
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
        let entry = Entry {
            state: State::Naming { held: Vec::new(), bytes: 0 },
            who,
            threads: Sequencer::default(),
            kernel: ContainerState::default(),
            sent: (0, 0, 0),
            seen_ns: now_ns,
            ended: None,
        };
        if let Some(old) = self.entries.insert(key, entry) {
            self.threads -= old.threads.len();
        }
        true
    }

    /// Takes one event.
    pub fn event(&mut self, event: Event, now_ns: u64, out: &mut Vec<Record>) {
        match event {
            Event::Birth(life) => {
                let key = ContainerKey(life.container);
                self.ended.remove(&key);
                if let Some(entry) = self.entries.get_mut(&key) {
                    // Found by the walk as well, or inferred from its calls.
                    entry.seen_ns = now_ns;
                    return;
                }
                let started_at = Some(self.wall(life.at_ns));
                self.add(
                    Sighting { key, cgroup_name: life.cgroup_name, tgid: life.tgid, shim_tgid: life.shim_tgid, started_at },
                    now_ns,
                );
            }
            Event::Calls(calls) => self.calls(calls, now_ns, out),
            Event::End(life, state) => self.end(&life, state, now_ns, out),
        }
    }

    fn calls(&mut self, mut calls: Calls, now_ns: u64, out: &mut Vec<Record>) {
        let key = ContainerKey(calls.container);
        if !self.entries.contains_key(&key) {
            if self.ended.contains_key(&key) {
                if !calls.peek {
                    self.totals.calls_late += calls.tokens.len() as u64;
                }
                return;
            }
            // The ring buffer refused its birth.
            let who = Sighting { key, cgroup_name: String::new(), tgid: calls.tgid, shim_tgid: 0, started_at: None };
            if !self.add(who, now_ns) {
                self.totals.calls_refused += calls.tokens.len() as u64;
                self.unfollowed(&calls);
                return;
            }
            self.totals.births_inferred += 1;
        }
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.seen_ns = now_ns;
        if matches!(entry.state, State::Unwanted) {
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
        let started_ns = calls.start_ns.max(fresh.after_ns.unwrap_or(0));
        let started = Timestamp::from_nanosecond(i128::from(started_ns) + self.epoch_offset_ns).unwrap_or(Timestamp::UNIX_EPOCH);
        let run = Run {
            tgid: calls.tgid,
            tid: calls.tid,
            process: ProcessName::from_kernel(calls.comm),
            first_seq: fresh.first_seq,
            started,
            gap: fresh.gap,
            tokens: fresh.tokens,
            last: fresh.last,
        };
        let Some(entry) = self.entries.get_mut(&key) else { return };
        match &mut entry.state {
            State::Named(container) => {
                self.totals.calls_out += run.tokens.len() as u64;
                out.push(Record::Calls { container: Arc::clone(container), run });
            }
            State::Naming { held, bytes } => {
                let size = size_of::<Run>() + 2 * run.tokens.len();
                self.held.calls += run.tokens.len() as u64;
                held.push(run);
                *bytes += size;
                self.held.bytes += size;
                if self.held.bytes > HELD_MAX {
                    self.totals.named_too_late += 1;
                    self.settle_bare(key, out);
                }
            }
            State::Unwanted => {}
        }
    }

    /// Calls that no thread's numbers are kept for.
    fn unfollowed(&mut self, calls: &Calls) {
        self.totals.calls_in += calls.tokens.len() as u64;
        self.totals.calls_unfollowed += calls.tokens.len() as u64;
    }

    /// The container with most threads forgets those that ended, then an eighth.
    fn forget_threads(&mut self, now_ns: u64) {
        let Some(entry) = self.entries.values_mut().max_by_key(|e| e.threads.len()) else { return };
        let before = entry.threads.len();
        entry.threads.sweep(now_ns);
        if entry.threads.len() == before {
            self.totals.threads_forgotten += entry.threads.forget(before.div_ceil(8)) as u64;
        }
        self.threads -= before - entry.threads.len();
    }

    /// Goes on without its names.
    fn settle_bare(&mut self, key: ContainerKey, out: &mut Vec<Record>) {
        let Some(entry) = self.entries.get(&key) else { return };
        let id = entry.who.cgroup_name.parse().ok();
        let bare = ContainerInfo::unnamed(key, Arc::clone(&self.node), id, entry.who.started_at);
        self.settle(key, &Arc::new(bare), out);
    }

    /// Takes a container's names. An unnamed `info` is an answer too: nothing better will come soon.
    pub fn named(&mut self, info: &Arc<ContainerInfo>, now_ns: u64, out: &mut Vec<Record>) {
        let key = info.key;
        self.settle(key, info, out);
        if self.entries.get(&key).is_some_and(|e| e.ended.is_some()) {
            self.bury(key, now_ns, out);
        }
    }

    fn settle(&mut self, key: ContainerKey, info: &Arc<ContainerInfo>, out: &mut Vec<Record>) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if !self.selection.wants(info) {
            if let State::Naming { held, bytes } = &entry.state {
                let calls = held.iter().map(|r| r.tokens.len() as u64).sum::<u64>();
                self.held.bytes -= bytes;
                self.held.calls -= calls;
                self.totals.calls_unselected += calls;
            }
            if !matches!(entry.state, State::Unwanted) {
                // What still waits in the kernel is counted when it comes; what was lost there nobody wants.
                self.retired.add(entry.delivered());
            }
            entry.state = State::Unwanted;
            self.threads -= std::mem::take(&mut entry.threads).len();
            self.to_ignore.push(key);
            return;
        }
        out.push(Record::Birth(Arc::clone(info)));
        if let State::Naming { held, bytes } = std::mem::replace(&mut entry.state, State::Named(Arc::clone(info))) {
            self.held.bytes -= bytes;
            for run in held {
                self.held.calls -= run.tokens.len() as u64;
                self.totals.calls_out += run.tokens.len() as u64;
                out.push(Record::Calls { container: Arc::clone(info), run });
            }
        }
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
        entry.ended = Some(at);
        entry.seen_ns = now_ns;
        // Who is still being named gets its names first; they come, or the answer that there are none.
        if !matches!(entry.state, State::Naming { .. }) {
            self.bury(key, now_ns, out);
        }
    }

    fn bury(&mut self, key: ContainerKey, now_ns: u64, out: &mut Vec<Record>) {
        let Some(mut entry) = self.entries.remove(&key) else { return };
        if self.ended.len() >= ENDED_MAX {
            // Thousands a second: a late peek may bring one back, which is then seen to be gone.
            self.ended.clear();
        }
        self.ended.insert(key, now_ns);
        self.to_forget.push(key);
        self.to_name.retain(|who| who.key != key);
        self.threads -= entry.threads.len();
        let at = *entry.ended.get_or_insert(self.wall(now_ns));
        if !matches!(entry.state, State::Unwanted) {
            self.retired.add(entry.balance());
        }
        if let State::Named(container) = &entry.state {
            let container = Arc::clone(container);
            out.extend(entry.account(&container));
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
            if let State::Named(container) = &entry.state {
                let container = Arc::clone(container);
                out.extend(entry.account(&container));
            }
        } else if entry.ended.is_none() && now_ns.saturating_sub(entry.seen_ns) > VANISHED_NS {
            self.totals.ends_inferred += 1;
            if matches!(entry.state, State::Naming { .. }) {
                self.settle_bare(key, out);
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

    /// Forgets keys of containers that ended a while ago.
    pub fn sweep(&mut self, now_ns: u64) {
        self.ended.retain(|_, at| now_ns.saturating_sub(*at) < TOMBSTONE_NS);
    }

    /// Everything that is still held, under bare ids: the agent stops.
    pub fn finish(&mut self, out: &mut Vec<Record>) {
        let naming: HashSet<_> =
            self.entries.iter().filter(|(_, e)| matches!(e.state, State::Naming { .. })).map(|(key, _)| *key).collect();
        for key in naming {
            self.settle_bare(key, out);
        }
        for entry in self.entries.values_mut() {
            if let State::Named(container) = &entry.state {
                let container = Arc::clone(container);
                out.extend(entry.account(&container));
            }
        }
    }
}

impl Entry {
    /// Its balance as far as it is read.
    fn delivered(&self) -> Balance {
        Balance { issued: self.threads.delivered, delivered: self.threads.delivered, lost: 0 }
    }

    fn balance(&self) -> Balance {
        let delivered = self.threads.delivered;
        // The kernel counts a call as issued when its chunk is submitted; a peek may have brought it before. After the
        // end nothing is pending, so what was not delivered was lost, whatever the kernel's own count says.
        let issued = self.kernel.issued.max(delivered + self.kernel.lost_calls);
        let lost = if self.ended.is_some() { issued - delivered } else { self.kernel.lost_calls };
        Balance { issued, delivered, lost }
    }

    /// Its balance, when it changed.
    fn account(&mut self, container: &Arc<ContainerInfo>) -> Option<Record> {
        let Balance { issued, delivered, lost } = self.balance();
        let now = (issued, delivered, lost);
        if now == self.sent && self.ended.is_none() {
            return None;
        }
        self.sent = now;
        Some(Record::Account {
            container: Arc::clone(container),
            issued,
            delivered,
            lost_ring: lost,
            threads_untracked: self.kernel.threads_untracked,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Kind, Names};

    const KEY: ContainerKey = ContainerKey(7);

    fn life(at_ns: u64) -> Life {
        Life { container: 7, at_ns, cgroup_id: 7, mnt_ns: 1, net_ns: 2, tgid: 100, shim_tgid: 50, cgroup_name: "abc".into() }
    }

    fn calls(first_seq: u64, tokens: &[u16], peek: bool, last: bool) -> Event {
        Event::Calls(Calls {
            container: 7,
            tgid: 100,
            tid: 100,
            born_ns: 1,
            comm: [0; 16],
            first_seq,
            start_ns: 5,
            tokens: tokens.to_vec(),
            peek,
            last,
        })
    }

    fn info(namespace: &str) -> Arc<ContainerInfo> {
        let names = Names { runtime_namespace: namespace.into(), kind: Kind::Container, ..Names::default() };
        ContainerInfo::named(KEY, "n".into(), "abc".parse().expect("an id"), names, None).into()
    }

    fn attribution(rule: Option<&str>) -> Attribution {
        let include = rule.map(|r| r.parse().expect("a rule")).into_iter().collect();
        Attribution::new("n".into(), Selection::new(include, Vec::new()), 1_000)
    }

    /// Records in a few letters.
    fn show(out: &[Record]) -> String {
        let word = |r: &Record| match r {
            Record::Birth(c) => format!("birth {}", c.id),
            Record::Calls { run, .. } => format!("calls {}+{:?}", run.first_seq, run.tokens),
            Record::Network { .. } => "network".into(),
            Record::Account { issued, delivered, lost_ring, .. } => format!("account {issued}={delivered}+{lost_ring}"),
            Record::Death { .. } => "death".into(),
        };
        out.iter().map(word).collect::<Vec<_>>().join(", ")
    }

    fn state(issued: u64, lost_calls: u64) -> ContainerState {
        ContainerState { live_threads: 1, issued, lost_calls, ..ContainerState::default() }
    }

    #[test]
    fn calls_wait_for_names_and_come_after_the_birth() {
        let (mut a, mut out) = (attribution(None), Vec::new());
        a.event(Event::Birth(life(1)), 1, &mut out);
        a.event(calls(0, &[59], false, false), 2, &mut out);
        assert_eq!((show(&out), a.to_name.len()), (String::new(), 1));
        a.named(&info("default"), 3, &mut out);
        a.event(calls(1, &[0, 1], false, true), 4, &mut out);
        a.event(Event::End(life(9), state(3, 0)), 5, &mut out);
        assert_eq!(show(&out), "birth abc, calls 0+[59], calls 1+[0, 1], account 3=3+0, death");
        assert_eq!((a.len(), a.held.bytes, a.to_forget.as_slice()), (0, 0, [KEY].as_slice()));
    }

    #[test]
    fn a_container_that_ended_before_it_was_named_loses_nothing() {
        let (mut a, mut out) = (attribution(None), Vec::new());
        a.event(Event::Birth(life(1)), 1, &mut out);
        a.event(calls(0, &[59, 231], false, true), 2, &mut out);
        a.event(Event::End(life(3), state(4, 2)), 3, &mut out);
        assert_eq!(show(&out), "");
        a.named(&info("default"), 4, &mut out);
        assert_eq!(show(&out), "birth abc, calls 0+[59, 231], account 4=2+2, death");
    }

    #[test]
    fn who_is_not_selected_is_let_go_of_and_counted() {
        let (mut a, mut out) = (attribution(Some("namespace=prod")), Vec::new());
        a.event(Event::Birth(life(1)), 1, &mut out);
        a.event(calls(0, &[59], false, false), 2, &mut out);
        a.named(&info("default"), 3, &mut out);
        a.event(calls(1, &[0], false, true), 4, &mut out);
        a.event(Event::End(life(9), state(2, 0)), 5, &mut out);
        assert_eq!((show(&out), a.to_ignore.as_slice(), a.totals.calls_unselected), (String::new(), [KEY].as_slice(), 2));
        assert_eq!((a.len(), a.held.bytes), (0, 0));
    }

    #[test]
    fn a_late_peek_does_not_bring_a_container_back() {
        let (mut a, mut out) = (attribution(None), Vec::new());
        a.event(Event::Birth(life(1)), 1, &mut out);
        a.named(&info("default"), 1, &mut out);
        a.event(calls(0, &[59], false, true), 2, &mut out);
        a.event(Event::End(life(3), state(1, 0)), 3, &mut out);
        a.event(calls(0, &[59], true, false), 4, &mut out);
        assert_eq!(show(&out), "birth abc, calls 0+[59], account 1=1+0, death");
        a.sweep(4 + TOMBSTONE_NS);
        assert!(a.ended.is_empty() && a.is_empty());
    }

    #[test]
    fn refused_births_and_ends_are_inferred() {
        let (mut a, mut out) = (attribution(None), Vec::new());
        a.event(calls(0, &[59], false, false), 2, &mut out);
        a.named(&info("default"), 3, &mut out);
        a.counters(KEY, Some(state(1, 0)), 4, &mut out);
        a.counters(KEY, None, 4 + VANISHED_NS, &mut out);
        a.counters(KEY, None, 5 + VANISHED_NS, &mut out);
        assert_eq!(show(&out), "birth abc, calls 0+[59], account 1=1+0, account 1=1+0, death");
        assert_eq!((a.totals.births_inferred, a.totals.ends_inferred), (1, 1));
    }

    #[test]
    fn a_container_that_vanishes_before_it_is_named_loses_nothing() {
        let (mut a, mut out) = (attribution(None), Vec::new());
        a.event(Event::Birth(life(1)), 1, &mut out);
        a.event(calls(0, &[59], false, false), 2, &mut out);
        a.counters(KEY, None, 3 + VANISHED_NS, &mut out);
        assert_eq!(show(&out), "birth abc, calls 0+[59], account 1=1+0, death");
        assert_eq!((a.held(), a.to_name.len(), a.threads()), (Held::default(), 0, 0));
    }

    #[test]
    fn calls_balance_at_every_step() {
        let (mut a, mut out) = (attribution(Some("namespace=prod")), Vec::new());
        let check = |a: &Attribution| {
            let t = a.totals;
            assert_eq!(t.calls_in, t.calls_out + t.calls_unselected + t.calls_refused + a.held().calls);
            assert_eq!(a.balance().delivered + t.calls_unfollowed, t.calls_in, "what the kernel delivered is what came in");
            let threads: usize = a.entries.values().map(|e| e.threads.len()).sum();
            assert_eq!(a.threads(), threads);
        };
        for namespace in ["default", "prod"] {
            a.event(Event::Birth(life(1)), 1, &mut out);
            for (n, event) in [calls(0, &[59], true, false), calls(0, &[59, 1], false, false), calls(5, &[2], false, false)]
                .into_iter()
                .enumerate()
            {
                a.event(event, n as u64, &mut out);
                check(&a);
            }
            a.named(&info(namespace), 3, &mut out);
            check(&a);
            a.event(calls(6, &[3], false, false), 4, &mut out);
            a.counters(KEY, Some(state(9, 3)), 4, &mut out);
            check(&a);
            a.event(Event::End(life(9), state(9, 3)), 5, &mut out);
            check(&a);
            a.event(calls(7, &[4], false, false), 6, &mut out);
            check(&a);
            a.sweep(7 + TOMBSTONE_NS);
        }
        assert_eq!((a.totals.calls_out, a.totals.calls_unselected, a.totals.calls_late), (4, 4, 2));
        assert_eq!(a.balance(), Balance { issued: 3 + 9, delivered: 3 + 4, lost: 5 });
    }

    #[test]
    fn containers_are_bounded_and_those_without_room_are_counted() {
        let (mut a, mut out) = (attribution(None), Vec::new());
        for key in 0..=CONTAINERS_MAX as u64 {
            a.event(Event::Birth(Life { container: 1000 + key, ..life(1) }), 1, &mut out);
        }
        assert_eq!(
            (a.len(), a.to_name.len(), a.to_ignore.as_slice()),
            (CONTAINERS_MAX, CONTAINERS_MAX, [ContainerKey(5096)].as_slice())
        );
        a.event(calls(0, &[59, 1], false, false), 2, &mut out);
        assert_eq!((a.totals.records_refused, a.totals.calls_refused, a.totals.calls_in), (2, 2, 2));
    }

    #[test]
    fn threads_are_bounded_and_the_largest_container_pays() {
        let (mut a, mut out) = (attribution(None), Vec::new());
        let thread = |container: u64, tid: u32| match calls(0, &[59], false, false) {
            Event::Calls(calls) => Event::Calls(Calls { container, tid, ..calls }),
            other => other,
        };
        for key in [7, 8] {
            a.event(Event::Birth(Life { container: key, ..life(1) }), 1, &mut out);
            a.named(&Arc::new(ContainerInfo { key: ContainerKey(key), ..(*info("default")).clone() }), 1, &mut out);
        }
        a.event(thread(8, 1), 1, &mut out);
        for tid in 0..THREADS_MAX as u32 + 10 {
            a.event(thread(7, tid), 2, &mut out);
            out.clear();
        }
        assert!(a.threads() <= THREADS_MAX && a.threads() > THREADS_MAX / 2);
        assert_eq!(a.totals.threads_forgotten, (THREADS_MAX + 11 - a.threads()) as u64);
        assert_eq!(a.entries[&ContainerKey(8)].threads.len(), 1);
        assert_eq!((a.totals.calls_in, a.totals.calls_lost), (THREADS_MAX as u64 + 11, 0));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let (mut a, mut out) = (attribution(None), Vec::new());
        a.event(Event::Birth(life(1)), 1, &mut out);
        let chunk = vec![1; 256];
        let mut seq = 0;
        while a.totals.named_too_late == 0 {
            a.event(calls(seq, &chunk, false, false), 2, &mut out);
            seq += 256;
            assert!(seq < 1 << 24, "never let go");
        }
        assert_eq!(a.held.bytes, 0);
        assert_eq!(out.iter().map(Record::calls).sum::<u64>(), seq);
        // The names that come after all replace the bare id.
        a.named(&info("default"), 3, &mut out);
        assert!(matches!(out.last(), Some(Record::Birth(c)) if c.is_named()));
    }
}
