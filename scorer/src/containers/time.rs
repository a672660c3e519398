//! What passing time does to containers.
//!
//! In: the time. Out: windows of threads that went quiet; old windows expire, the dead are forgotten. Never: a
//! clock: time is passed in.

use crate::containers::job::Key;
use crate::containers::registry::{Node, Now, Registry};
use crate::containers::thread::{Thread, ThreadId};
use crate::detect::window::{Cut, QUIET};
use std::collections::HashMap;
use std::time::Duration;

/// Silence after which a thread is forgotten: its next calls become context first.
pub const THREAD_FORGOTTEN: Duration = Duration::from_mins(10);
/// How long a dead container's last score can be read.
pub const ENDED_KEPT: Duration = Duration::from_mins(5);
/// How long a container that is never named is kept.
pub const UNNAMED_KEPT: Duration = Duration::from_mins(1);
/// How long a container counts as living after its agent came back without mentioning it, or went away.
pub const UNCONFIRMED_KEPT: Duration = Duration::from_mins(10);

impl Registry {
    /// A container has ended: its pending windows are scored, its threads are let go.
    pub(super) fn end(&mut self, key: &Key, now: Now) {
        let Some(entry) = self.containers.get_mut(key) else { return };
        if entry.ended.is_some() {
            return;
        }
        entry.ended = Some(now.mono);
        let ids: Vec<_> = entry.threads.keys().copied().collect();
        for id in &ids {
            self.flush(key, *id, now);
        }
        if let Some(entry) = self.containers.get_mut(key) {
            entry.threads = HashMap::new();
            self.threads -= ids.len();
        }
        self.changed(&key.node.clone(), &key.id.clone());
    }

    pub(super) fn flush(&mut self, key: &Key, id: ThreadId, now: Now) {
        let thread = self.containers.get_mut(key).and_then(|e| e.threads.get_mut(&id));
        let Some(thread) = thread else { return };
        thread.flushed = true;
        let cuts = thread.cutter.flush().map(Cut::Window).into_iter().collect();
        self.cut(key, id, cuts, now.mono);
    }

    /// Lets time pass: quiet threads are cut, old windows expire, the dead are forgotten. Call a few times a second.
    pub fn tick(&mut self, now: Now) {
        let mut quiet = Vec::new();
        let mut ended = Vec::new();
        let mut gone = Vec::new();
        let (mut changed, mut forgotten, mut pending) = (Vec::new(), 0, 0);
        let since = |then: Duration| now.mono.saturating_sub(then);
        for (key, entry) in &mut self.containers {
            let node_gone = self.nodes.get(&key.node).and_then(|n| n.gone).is_some_and(|gone| since(gone) >= UNCONFIRMED_KEPT);
            let unconfirmed = entry.unconfirmed.is_some_and(|then| since(then) >= UNCONFIRMED_KEPT);
            if entry.ended.is_none() && (node_gone || unconfirmed) {
                ended.push(key.clone());
            }
            let unnamed = entry.workload.is_none() && since(entry.heard) >= UNNAMED_KEPT;
            if entry.ended.is_some_and(|then| since(then) >= ENDED_KEPT) || unnamed {
                gone.push(key.clone());
                continue;
            }
            let before = entry.threads.len();
            entry.threads.retain(|_, t| {
                let kept = since(t.heard) < THREAD_FORGOTTEN;
                pending += if kept { 0 } else { t.cutter.pending() as u64 };
                kept
            });
            forgotten += before - entry.threads.len();
            let silent = |(_, t): &(&ThreadId, &Thread)| !t.flushed && since(t.heard) >= QUIET;
            quiet.extend(entry.threads.iter().filter(silent).map(|(id, _)| (key.clone(), *id)));
            // The score of the dead is their last.
            if entry.ended.is_none() {
                entry.firsts.expire(now.mono);
                if entry.recent.expire(now.mono) {
                    changed.push(key.clone());
                }
            }
        }
        self.threads -= forgotten;
        self.cutting.discard("forgotten", pending);
        for (key, id) in quiet {
            self.flush(&key, id, now);
        }
        for key in ended {
            self.end(&key, now);
        }
        for key in gone {
            self.forget(&key);
        }
        for key in changed {
            self.changed(&key.node, &key.id);
        }
        let nodes_in_use = |n: &Node| n.streams > 0 || n.containers > 0;
        self.nodes.retain(|_, n| nodes_in_use(n));
        self.gauges();
    }

    fn forget(&mut self, key: &Key) {
        if let Some(entry) = self.containers.remove(key) {
            self.threads -= entry.threads.len();
            let pending: usize = entry.threads.values().map(|t| t.cutter.pending()).sum();
            self.cutting.discard("forgotten", pending as u64);
            if let Some(node) = self.nodes.get_mut(&key.node) {
                node.containers -= 1;
            }
        }
    }
}
