//! One container: how far its naming is, its threads, its balance.
//!
//! In: a sighting, its state and counters as they change. Out: its balance, and the account of it that sinks get. Pure.

use super::{
    counts::Balance,
    listed::{Listed, Naming},
    waiting::Waiting,
};
use crate::{container::ContainerInfo, decode::Life, identity::Sighting, names::Name, record::Record, sequence::Sequencer};
use jiff::Timestamp;
use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};
use surprisal_agent_ebpf::abi::{ContainerState, NAMES_AGAIN_S};

/// Names remembered as told.
const TOLD: usize = 64;
/// The bits of a hash that are kept of one.
const TAG: u64 = 0xffff_ffff_0000_0000;

/// How far its naming is.
pub(super) enum State {
    /// Asked for; its runs wait.
    Naming(Waiting),
    /// Known and wanted.
    Named(Arc<ContainerInfo>),
    /// Known, and not selected.
    Unwanted(Arc<ContainerInfo>),
}

/// A container.
pub(super) struct Entry {
    pub(super) state: State,
    pub(super) who: Sighting,
    pub(super) threads: Sequencer,
    /// The kernel's latest counters.
    pub(super) kernel: ContainerState,
    /// The balance that was told last, with names untold and unread.
    sent: (Balance, u64, u64),
    /// When it was found.
    pub(super) since_ns: u64,
    /// When the kernel last gave a sign of it.
    pub(super) seen_ns: u64,
    pub(super) ended: Option<Timestamp>,
    /// Its names, while the labels that decide about it have not come.
    pub(super) undecided: Option<Arc<ContainerInfo>>,
    /// Nobody wants it, and the kernel follows no thread of it any more.
    pub(super) let_go: bool,
    /// The kernel's counters when it began to be followed again: what was before is nobody's.
    pub(super) before: ContainerState,
    /// Names that were told: hash above, second below. The kernel side compares bytes, and behind a socket's path there may be others
    /// each time.
    told: Vec<u64>,
}

impl Entry {
    /// A container that has to be named.
    pub(super) fn new(who: Sighting, now_ns: u64) -> Self {
        Self {
            state: State::Naming(Waiting::default()),
            who,
            threads: Sequencer::default(),
            kernel: ContainerState::default(),
            sent: (Balance::default(), 0, 0),
            since_ns: now_ns,
            seen_ns: now_ns,
            ended: None,
            undecided: None,
            let_go: false,
            before: ContainerState::default(),
            told: Vec::new(),
        }
    }

    /// Whether a name was told already, less than [`NAMES_AGAIN_S`] ago; from now on it was.
    pub(super) fn has_told(&mut self, token: u16, name: &Name, now_ns: u64) -> bool {
        let mut hasher = DefaultHasher::new();
        (token, &name.text, &name.argv0).hash(&mut hasher);
        let (hash, now_s) = (hasher.finish(), (now_ns / 1_000_000_000) as u32);
        self.told.resize(TOLD, 0);
        let place = &mut self.told[hash as usize % TOLD];
        let entry = hash & TAG | u64::from(now_s);
        let before = std::mem::replace(place, entry);
        let told = before & TAG == entry & TAG && before != 0 && now_s.wrapping_sub(before as u32) < NAMES_AGAIN_S;
        if told {
            *place = before;
        }
        told
    }

    /// Whether somebody entered this container, not another one with the same key.
    pub(super) fn is_of(&self, life: &Life) -> bool {
        !life.cgroup_name.is_empty() && life.cgroup_name == self.who.cgroup_name && life.shim_tgid == self.who.shim_tgid
    }

    /// As people see it.
    pub(super) fn listed(&self, since: Timestamp) -> Listed {
        let (naming, info) = match &self.state {
            State::Naming(_) => (Naming::Asked, None),
            State::Named(info) => (Naming::Followed, Some(info)),
            State::Unwanted(info) => (Naming::Unwanted, Some(info)),
        };
        Listed { who: self.who.clone(), naming, info: info.map(Arc::clone), since }
    }

    /// Its balance as far as it was read from the kernel.
    pub(super) fn delivered(&self) -> Balance {
        Balance { issued: self.threads.delivered, delivered: self.threads.delivered, lost: 0 }
    }

    /// Its balance.
    pub(super) fn balance(&self) -> Balance {
        let delivered = self.threads.delivered;
        // The kernel counts a call as issued when its chunk is submitted; a peek may have brought it before. After the
        // end nothing is pending, so what was not delivered was lost, whatever the kernel's own count says.
        let since = |now: u64, before: u64| now.saturating_sub(before);
        let lost = since(self.kernel.lost_calls, self.before.lost_calls);
        let issued = since(self.kernel.issued, self.before.issued).max(delivered + lost);
        let lost = if self.ended.is_some() { issued - delivered } else { lost };
        Balance { issued, delivered, lost }
    }

    /// Its balance as a record, when it changed or is the last. `None` too for a container that is not named.
    pub(super) fn account(&mut self) -> Option<Record> {
        let State::Named(container) = &self.state else { return None };
        let since = |now: u64, before: u64| now.saturating_sub(before);
        let names_untold = since(self.kernel.names_untold, self.before.names_untold);
        let names_unread = since(self.kernel.names_unread, self.before.names_unread);
        let now = (self.balance(), names_untold, names_unread);
        if now == self.sent && self.ended.is_none() {
            return None;
        }
        self.sent = now;
        let Balance { issued, delivered, lost } = now.0;
        Some(Record::Account {
            container: Arc::clone(container),
            issued,
            delivered,
            lost_ring: lost,
            threads_untracked: self.kernel.threads_untracked,
            names_untold,
            names_unread,
        })
    }
}
