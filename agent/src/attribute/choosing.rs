//! Whether a container is followed, as its names come and change.
//!
//! In: names, late ones among them. Out: births, deaths and what was held; keys to let go of, keys to follow again. Pure.
//!
//! A container that is let go of stays in the table while it lives, so that people see it and why; and so that it can be followed again
//! when its pod's labels or annotations change. Then it is as if the agent had just found it: its threads go on in the middle.

use super::{
    Attribution,
    entry::{Entry, State},
    waiting::Piece,
};
use crate::{
    container::{Answer, ContainerInfo, ContainerKey},
    record::Record,
    sequence::Sequencer,
};
use std::sync::Arc;
use surprisal_agent_ebpf::abi::ContainerState;

/// How long a container's calls wait for its pod's labels where a rule looks at them, nanoseconds. Then it is not followed until they come.
pub(super) const LABELS_WAIT_NS: u64 = 5_000_000_000;

impl Attribution {
    /// All names that are known: what may have to be corrected.
    pub fn infos(&self) -> impl Iterator<Item = &Arc<ContainerInfo>> {
        self.entries.values().filter_map(|entry| match &entry.state {
            State::Naming(_) => entry.undecided.as_ref(),
            State::Named(info) | State::Unwanted(info) => Some(info),
        })
    }

    /// Takes a container's names, again if they have changed. An unnamed `info` is an answer too: nothing better will come soon.
    pub fn named(&mut self, info: &Arc<ContainerInfo>, now_ns: u64, out: &mut Vec<Record>) {
        let key = info.key;
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let answer = self.selection.answer(info);
        let waits = matches!(entry.state, State::Naming(_)) && now_ns.saturating_sub(entry.since_ns) < LABELS_WAIT_NS;
        if answer == Answer::NotYet && waits && entry.ended.is_none() {
            entry.undecided = Some(Arc::clone(info));
            return;
        }
        self.settle(key, info, now_ns, out);
        if self.entries.get(&key).is_some_and(|e| e.ended.is_some()) {
            self.bury(key, now_ns, out);
        }
    }

    /// Those whose labels did not come are not followed for now.
    pub(super) fn stop_waiting_for_labels(&mut self, now_ns: u64, out: &mut Vec<Record>) {
        let over = |e: &&Entry| e.undecided.is_some() && now_ns.saturating_sub(e.since_ns) >= LABELS_WAIT_NS;
        let infos: Vec<_> = self.entries.values().filter(over).filter_map(|e| e.undecided.clone()).collect();
        for info in infos {
            self.named(&info, now_ns, out);
        }
    }

    /// Follows it or lets go of it.
    pub(super) fn settle(&mut self, key: ContainerKey, info: &Arc<ContainerInfo>, now_ns: u64, out: &mut Vec<Record>) {
        match self.selection.answer(info) {
            Answer::Yes => self.take_in(key, info, out),
            Answer::No | Answer::NotYet => self.let_go(key, info, now_ns, out),
        }
    }

    fn take_in(&mut self, key: ContainerKey, info: &Arc<ContainerInfo>, out: &mut Vec<Record>) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.undecided = None;
        out.push(Record::Birth(Arc::clone(info)));
        match std::mem::replace(&mut entry.state, State::Named(Arc::clone(info))) {
            State::Naming(waiting) => {
                self.held.take(waiting.held());
                for piece in waiting.into_pieces() {
                    let container = Arc::clone(info);
                    out.push(match piece {
                        Piece::Run(run) => {
                            self.totals.calls_out += run.tokens.len() as u64;
                            Record::Calls { container, run }
                        }
                        Piece::Name(call) => Record::Name { container, call },
                    });
                }
            }
            State::Named(_) => {}
            State::Unwanted(_) => {
                entry.threads = Sequencer::in_the_middle();
                entry.let_go = false;
                self.to_follow.push(key);
            }
        }
    }

    fn let_go(&mut self, key: ContainerKey, info: &Arc<ContainerInfo>, now_ns: u64, out: &mut Vec<Record>) {
        let at = self.wall(now_ns);
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.undecided = None;
        out.extend(entry.account());
        match std::mem::replace(&mut entry.state, State::Unwanted(Arc::clone(info))) {
            State::Unwanted(_) => return,
            State::Naming(waiting) => {
                self.held.take(waiting.held());
                self.totals.calls_unselected += waiting.held().calls;
            }
            // Nobody hears of it any more.
            State::Named(container) => out.push(Record::Death { container, at }),
        }
        // What still waits in the kernel is counted when it comes; what was lost there nobody wants.
        self.retired.add(entry.delivered());
        self.threads -= std::mem::take(&mut entry.threads).len();
        self.to_ignore.push(key);
    }

    /// It is followed again in the kernel, whose counters stand at `state` now. What was issued before is nobody's.
    pub fn follows_again(&mut self, key: ContainerKey, state: Option<ContainerState>) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.before = state.unwrap_or_default();
            entry.kernel = entry.before;
        }
    }

    /// Containers that were let go of and that the kernel follows no thread of: with one of their processes and their shim.
    pub fn unfollowed_containers(&self) -> impl Iterator<Item = (ContainerKey, u32, u32)> {
        self.entries.iter().filter(|(_, e)| e.let_go).map(|(key, e)| (*key, e.who.tgid, e.who.shim_tgid))
    }

    /// One of them has ended.
    pub fn gone(&mut self, key: ContainerKey, now_ns: u64, out: &mut Vec<Record>) {
        if self.entries.get(&key).is_some_and(|e| e.let_go) {
            self.bury(key, now_ns, out);
        }
    }
}
