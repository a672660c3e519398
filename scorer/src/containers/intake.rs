//! What agents say of containers.
//!
//! In: checked batches. Out: [`Job`]s, and what is known of each container. Never: a container or thread beyond
//! the limits.

use super::{Job, Key, Now, Registry, ThreadId, thread::Thread};
use crate::ingest::wire::{self, ContainerId};
use crate::window::{Cut, Run};
use std::sync::Arc;

impl Registry {
    /// An agent of this node has connected: what it does not mention any more has ended unseen.
    pub fn connected(&mut self, node: &Arc<str>, now: Now) {
        let n = self.nodes.entry(Arc::clone(node)).or_default();
        n.streams += 1;
        n.gone = None;
        for (_, entry) in self.containers.iter_mut().filter(|(key, _)| key.node == *node) {
            entry.unconfirmed = Some(now.mono);
        }
    }

    /// An agent's stream of this node has ended.
    pub fn disconnected(&mut self, node: &Arc<str>, now: Now) {
        if let Some(n) = self.nodes.get_mut(node) {
            n.streams = n.streams.saturating_sub(1);
            if n.streams == 0 {
                n.gone = Some(now.mono);
            }
        }
    }

    /// Takes a batch; adds the windows that it completes to `jobs`.
    pub fn take(&mut self, node: &Arc<str>, batch: wire::Batch, now: Now, jobs: &mut Vec<Job>) {
        for birth in batch.births {
            self.birth(node, birth, now);
        }
        for calls in &batch.calls {
            self.calls(node, calls, now, jobs);
        }
        for (id, network) in batch.network {
            if let Some(entry) = self.entry(node, &id, now) {
                entry.network = Some(network);
                self.changed(node, &id);
            }
        }
        for account in batch.accounts {
            if let Some(entry) = self.entry(node, &account.container, now) {
                entry.lost_node = account.lost;
            }
        }
        for id in batch.deaths {
            self.death(node, &id, now, jobs);
        }
        self.gauges();
    }

    fn birth(&mut self, node: &Arc<str>, about: wire::Birth, now: Now) {
        if let Some(entry) = self.entry(node, &about.id, now) {
            let workload = about.workload();
            if entry.workload != workload {
                // It was not named before, or is another one now: what was said was said of something else.
                entry.recent.clear();
                entry.version = None;
                entry.judged = 0;
            }
            entry.workload = workload;
            entry.about = about.about;
            node.as_ref().clone_into(&mut entry.about.node);
            entry.ended = None;
            self.changed(node, &about.id);
        }
    }

    fn calls(&mut self, node: &Arc<str>, calls: &wire::Calls, now: Now, jobs: &mut Vec<Job>) {
        let n = calls.tokens.len() as u64;
        self.metrics.calls.inc_by(n);
        let (limits, threads) = (self.limits, self.threads);
        let Some(entry) = self.entry(node, &calls.container, now) else { return };
        entry.calls = entry.calls.saturating_add(n);
        let id = ThreadId { tgid: calls.tgid, tid: calls.tid };
        if !entry.threads.contains_key(&id) {
            if threads >= limits.threads || entry.threads.len() >= limits.threads_per_container {
                entry.shed_calls = entry.shed_calls.saturating_add(n);
                self.metrics.drop("calls", "threads_full", n);
                return;
            }
            entry.threads.insert(id, Thread::default());
            self.threads += 1;
        }
        let Some(entry) = self.containers.get_mut(&Key { node: Arc::clone(node), id: calls.container.clone() }) else { return };
        let Some(thread) = entry.threads.get_mut(&id) else { return };
        thread.heard = now.mono;
        thread.flushed = false;
        if *thread.process != *calls.process {
            thread.process = calls.process.as_str().into();
        }
        let run = Run {
            first_sequence: calls.first_sequence,
            gap: calls.gap,
            started_ns: calls.started_ns,
            calls: &calls.tokens,
            last: calls.last,
        };
        let mut cuts = Vec::new();
        let unseen = thread.cutter.is_new();
        thread.cutter.push(run, &mut cuts);
        // What is missing before the first run of a thread was lost only as far as somebody says so: it may have
        // come to an earlier scorer.
        let missing = if unseen { calls.gap } else { lost(&cuts) };
        entry.lost_gaps = entry.lost_gaps.saturating_add(missing);
        let key = Key { node: Arc::clone(node), id: calls.container.clone() };
        self.cut(&key, id, cuts, now, jobs);
        if calls.last
            && let Some(entry) = self.containers.get_mut(&key)
            && entry.threads.remove(&id).is_some()
        {
            self.threads -= 1;
        }
    }

    /// Makes jobs of what was cut from a thread.
    pub(super) fn cut(&mut self, key: &Key, id: ThreadId, cuts: Vec<Cut>, now: Now, jobs: &mut Vec<Job>) {
        let Some(entry) = self.containers.get_mut(key) else { return };
        let Some(thread) = entry.threads.get_mut(&id) else { return };
        for cut in cuts {
            let window = match cut {
                Cut::Gapped { dropped, .. } => {
                    entry.gapped += 1;
                    self.metrics.drop("windows", "gap", 1);
                    self.metrics.drop("calls", "pending_at_gap", dropped);
                    continue;
                }
                Cut::Window(window) => window,
            };
            self.metrics.windows.inc();
            let Some(workload) = entry.workload.as_ref().filter(|w| self.judges.contains_key(w.as_ref())) else {
                self.metrics.drop("windows", "no_profile", 1);
                continue;
            };
            // Under load, a thread that keeps the model busy is sampled; one that has little to say is heard.
            let busy = self.waiting >= self.limits.waiting && thread.waiting() >= self.limits.waiting_per_thread;
            if busy || self.waiting >= self.limits.waiting_most {
                entry.shed_windows += 1;
                entry.shed_calls = entry.shed_calls.saturating_add(window.calls.len() as u64);
                self.metrics.drop("windows", "overload", 1);
                continue;
            }
            self.waiting += 1;
            thread.wait();
            jobs.push(Job {
                key: key.clone(),
                thread: id,
                process: Arc::clone(&thread.process),
                workload: Arc::clone(workload),
                window,
                cut_at: now.mono,
            });
        }
    }

    fn death(&mut self, node: &Arc<str>, id: &ContainerId, now: Now, jobs: &mut Vec<Job>) {
        let key = Key { node: Arc::clone(node), id: id.clone() };
        self.end(&key, now, jobs);
    }
}

/// Calls lost in the gaps among these.
fn lost(cuts: &[Cut]) -> u64 {
    cuts.iter().fold(0, |sum, cut| sum.saturating_add(if let Cut::Gapped { lost, .. } = cut { *lost } else { 0 }))
}
