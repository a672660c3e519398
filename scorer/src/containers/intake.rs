//! What agents report about containers.
//!
//! In: checked batches. Out: windows in the queue, and what is known of each container. Never: a container or thread
//! beyond the limits.

use crate::containers::job::{Job, Key};
use crate::containers::registry::{CUTTING, Now, Registry};
use crate::containers::thread::{Thread, ThreadId};
use crate::detect::window::{Cut, Run};
use crate::ingest::wire;
use std::sync::Arc;
use std::time::Duration;

impl Registry {
    /// An agent of this node has connected: what it does not mention any more has ended unseen.
    pub fn connected(&mut self, node: &Arc<str>, now: Now) {
        let n = self.nodes.entry(Arc::clone(node)).or_default();
        n.streams += 1;
        n.gone = None;
        for (_, entry) in self.containers.iter_mut().filter(|(key, _)| key.node == *node) {
            entry.unconfirmed = Some(now.mono);
            // It will say again what it samples.
            entry.observed = None;
        }
    }

    /// Whether the node's agent tells what calls are about.
    pub fn leaves_names_out(&mut self, node: &Arc<str>, is: bool) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.names_left_out = is;
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

    /// Takes a batch; the windows that it completes wait from now on.
    pub fn take(&mut self, node: &Arc<str>, batch: wire::Batch, now: Now) {
        let received = now.mono.saturating_sub(batch.waited);
        self.metrics.agent_dropped_calls.inc_by(batch.dropped_before);
        for left in batch.left {
            if left.stage == CUTTING.unit {
                self.cutting.take(left.count);
                self.cutting.discard(left.reason, left.count);
            } else {
                self.metrics.drop(left.stage, left.reason, left.count);
            }
        }
        for birth in batch.births {
            self.birth(node, birth, now);
        }
        for name in batch.names {
            self.name(node, name, now);
        }
        for calls in &batch.calls {
            self.calls(node, calls, received, now);
        }
        for (id, network) in batch.network {
            if let Some(entry) = self.entry(node, &id, now) {
                entry.network = Some(network);
                self.changed(node, &id);
            }
        }
        for account in batch.accounts {
            self.account(node, &account, now);
        }
        for wire::Observed { container, ratio } in batch.observed {
            if let Some(entry) = self.entry(node, &container, now) {
                entry.observed = (ratio < 1.0).then_some(ratio);
                entry.sampled |= ratio < 1.0;
                self.changed(node, &container);
            }
        }
        for id in batch.deaths {
            let key = Key { node: Arc::clone(node), id };
            self.end(&key, now);
        }
        self.gauges();
    }

    fn account(&mut self, node: &Arc<str>, account: &wire::Account, now: Now) {
        let Some(entry) = self.entry(node, &account.container, now) else { return };
        entry.lost_node = account.lost;
        entry.sampled |= account.left_out > 0;
        let unsent = account.lost.saturating_add(account.left_out);
        let more = unsent.saturating_sub(std::mem::replace(&mut entry.unsent, unsent));
        let (untold, unread) = account.nameless;
        let (was_untold, was_unread) = std::mem::replace(&mut entry.nameless, account.nameless);
        if let Some(node) = self.nodes.get_mut(node) {
            node.unsent = node.unsent.saturating_add(more);
        }
        self.metrics.agent_names_untold.inc_by(untold.saturating_sub(was_untold));
        self.metrics.agent_names_unread.inc_by(unread.saturating_sub(was_unread));
    }

    fn name(&mut self, node: &Arc<str>, name: wire::Name, now: Now) {
        if let Some(entry) = self.entry(node, &name.container, now) {
            let thread = ThreadId { tgid: name.tgid, tid: name.tid };
            let late = entry.threads.get(&thread).is_some_and(|t| t.cutter.has_cut(name.sequence));
            let forgotten = entry.names.add(name.into());
            self.metrics.names.inc();
            self.metrics.names_late.inc_by(u64::from(late));
            self.metrics.names_forgotten.inc_by(forgotten);
        }
    }

    fn birth(&mut self, node: &Arc<str>, about: wire::Birth, now: Now) {
        if let Some(entry) = self.entry(node, &about.id, now) {
            let workload = about.workload();
            let renamed = entry.workload != workload;
            if renamed {
                // It was not named before, or is another one now: what was said was said of something else.
                entry.start_over();
                entry.version = None;
            }
            entry.workload.clone_from(&workload);
            entry.about = about.about.clone();
            node.as_ref().clone_into(&mut entry.about.node);
            entry.ended = None;
            if let Some(workload) = &workload
                && let Some(text) = self.origins.take(workload, &about.about)
            {
                self.metrics.workload_conflicts.inc();
                tracing::warn!(%workload, "two workloads may share this name and its profile: {text}");
            }
            self.changed(node, &about.id);
            if renamed {
                self.rename(&Key { node: Arc::clone(node), id: about.id }, workload);
            }
        }
    }

    /// What waits of a container is judged by its new name's profile, if there is one.
    fn rename(&mut self, key: &Key, workload: Option<Arc<str>>) {
        if let Some(workload) = workload.filter(|w| self.judges.contains_key(w.as_ref())) {
            self.queue.rename(key, &workload);
            return;
        }
        let jobs = self.queue.remove(key);
        self.judging.discard("no_profile", jobs.len() as u64);
        let Some(entry) = self.containers.get_mut(key) else { return };
        for job in jobs {
            if let Some(thread) = entry.threads.get_mut(&job.thread) {
                thread.done();
            }
        }
    }

    fn calls(&mut self, node: &Arc<str>, calls: &wire::Calls, received: Duration, now: Now) {
        let n = calls.tokens.len() as u64;
        self.metrics.calls.inc_by(n);
        self.cutting.take(n);
        if let Some(node) = self.nodes.get_mut(node) {
            node.calls = node.calls.saturating_add(n);
        }
        let (limits, threads) = (self.limits, self.threads);
        let Some(entry) = self.entry(node, &calls.container, now) else {
            self.cutting.discard("containers_full", n);
            return;
        };
        entry.calls = entry.calls.saturating_add(n);
        let id = ThreadId { tgid: calls.tgid, tid: calls.tid };
        if !entry.threads.contains_key(&id) {
            if threads >= limits.threads || entry.threads.len() >= limits.threads_per_container {
                entry.shed_calls = entry.shed_calls.saturating_add(n);
                self.cutting.discard("threads_full", n);
                return;
            }
            entry.threads.insert(id, Thread::default());
            self.threads += 1;
        }
        let key = Key { node: Arc::clone(node), id: calls.container.clone() };
        let Some(entry) = self.containers.get_mut(&key) else { return };
        let Some(thread) = entry.threads.get_mut(&id) else { return };
        thread.heard = now.mono;
        thread.flushed = false;
        if *thread.process != *calls.process {
            thread.process = calls.process.as_str().into();
        }
        thread.by_exec = calls.by_exec;
        let run = Run {
            first_sequence: calls.first_sequence,
            gap: calls.gap,
            started_ns: calls.started_ns,
            calls: &calls.tokens,
            last: calls.last,
        };
        let mut cuts = Vec::new();
        let unseen = thread.cutter.is_new();
        let only_context = thread.cutter.push(run, &mut cuts);
        self.cutting.discard("context", only_context as u64);
        // What is missing before the first run of a thread was lost only as far as somebody says so: it may have
        // come to an earlier scorer.
        let missing = if unseen { calls.gap } else { lost(&cuts) };
        entry.lost_gaps = entry.lost_gaps.saturating_add(missing);
        entry.lost_said = entry.lost_said.saturating_add(calls.gap);
        self.cut(&key, id, cuts, received);
        if calls.last
            && let Some(entry) = self.containers.get_mut(&key)
            && entry.threads.remove(&id).is_some()
        {
            self.threads -= 1;
        }
    }

    /// Finds places for what was cut from a thread.
    pub(super) fn cut(&mut self, key: &Key, id: ThreadId, cuts: Vec<Cut>, at: Duration) {
        let Some(entry) = self.containers.get_mut(key) else { return };
        let Some(thread) = entry.threads.get_mut(&id) else { return };
        for cut in cuts {
            let window = match cut {
                Cut::Gapped { dropped, .. } => {
                    entry.gapped += 1;
                    self.metrics.windows_gapped.inc();
                    self.cutting.discard("gap", dropped);
                    continue;
                }
                Cut::Window(window) => window,
            };
            self.metrics.windows.inc();
            self.cutting.pass(window.calls.len() as u64);
            self.judging.take(1);
            let Some(workload) = entry.workload.as_ref().filter(|w| self.judges.contains_key(w.as_ref())) else {
                self.judging.discard("no_profile", 1);
                continue;
            };
            if !self.queue.has_place(key, thread.waiting(), self.limits.waiting) {
                entry.shed_windows += 1;
                entry.shed_calls = entry.shed_calls.saturating_add(window.calls.len() as u64);
                self.judging.discard("overload", 1);
                continue;
            }
            thread.wait();
            self.queue.push(Job {
                key: key.clone(),
                thread: id,
                process: Arc::clone(&thread.process),
                by_exec: thread.by_exec,
                workload: Arc::clone(workload),
                window,
                cut_at: at,
            });
        }
    }
}

/// Calls lost in the gaps among these.
fn lost(cuts: &[Cut]) -> u64 {
    cuts.iter().fold(0, |sum, cut| sum.saturating_add(if let Cut::Gapped { lost, .. } = cut { *lost } else { 0 }))
}
