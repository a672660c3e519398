//! Windows that wait for the model: bounded, and fair between containers. *Pure.*
//!
//! In: [`Job`]s. Out: the same, containers taking turns. Never: a container that has the model to itself while
//! another waits, a place that one container or thread can take from all others.
//!
//! - **Turns.** Containers that have windows here are served round robin, one window a turn, each its oldest first
//!   (Nagle 1987, "On packet switches with infinite storage").
//! - **Places.** A container may fill an eighth of the places that are free, and has one if no more than that is free; of what its
//!   own share leaves free, a thread may fill a half (dynamic thresholds: Choudhury and Hahne, 1998). So one that is noisy
//!   fills a ninth of the queue, however much it sends, and however many are noisy, places stay free for those that are not.
//! - **Age.** A window that waited longer than [`LATE`] when its turn comes is not worth the model's time any more.

use crate::containers::job::{Job, Key};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// A window that has waited longer is dropped when its turn comes: a verdict is promised within 3 s.
pub const LATE: Duration = Duration::from_secs(3);
/// Bytes that a waiting window takes, at most: a full window with its context, whose it is, and its place here.
pub const WINDOW_BYTES: usize = 768;
/// One container's share of the free places.
const SHARE: usize = 8;

/// Windows that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: HashMap<Key, VecDeque<Job>>,
    turns: VecDeque<Key>,
    len: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a window of this container finds a place, of `most`; `of_thread`: windows of its thread that wait for the model.
    pub(super) fn has_place(&self, key: &Key, of_thread: usize, most: usize) -> bool {
        let free = most.saturating_sub(self.len);
        let of_container = self.waiting.get(key).map_or(0, VecDeque::len);
        let share = (free / SHARE).max(1);
        free > 0 && of_container < share && (of_thread == 0 || of_thread < (share - of_container).div_ceil(2))
    }

    pub(super) fn push(&mut self, job: Job) {
        let queue = self.waiting.entry(job.key.clone()).or_default();
        if queue.is_empty() {
            self.turns.push_back(job.key.clone());
        }
        queue.push_back(job);
        self.len += 1;
    }

    /// A container's windows are another workload's from now on.
    pub(super) fn rename(&mut self, key: &Key, workload: &Arc<str>) {
        for job in self.waiting.get_mut(key).into_iter().flatten() {
            job.workload = Arc::clone(workload);
        }
    }

    /// A container's windows are nobody's any more.
    pub(super) fn remove(&mut self, key: &Key) -> VecDeque<Job> {
        let jobs = self.waiting.remove(key).unwrap_or_default();
        self.turns.retain(|turn| turn != key);
        self.len -= jobs.len();
        jobs
    }

    /// The next window whose turn it is; those that are late go to `late`.
    pub(super) fn pop(&mut self, now: Duration, late: &mut Vec<Job>) -> Option<Job> {
        while let Some(key) = self.turns.pop_front() {
            let Some(queue) = self.waiting.get_mut(&key) else { continue };
            let mut next = None;
            while let Some(job) = queue.pop_front() {
                self.len -= 1;
                if now.saturating_sub(job.cut_at) <= LATE {
                    next = Some(job);
                    break;
                }
                late.push(job);
            }
            if queue.is_empty() {
                self.waiting.remove(&key);
            } else {
                self.turns.push_back(key);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::thread::ThreadId;
    use crate::detect::window::Window;
    use proptest::prelude::*;

    fn key(id: u32) -> Key {
        Key { node: "n".into(), id: format!("c{id}").as_str().try_into().expect("an id") }
    }

    fn job(id: u32, tid: u32, seconds: u64) -> Job {
        Job {
            key: key(id),
            thread: ThreadId { tgid: tid, tid },
            process: "p".into(),
            by_exec: false,
            workload: "w".into(),
            window: Window { first_sequence: 0, started_ns: 0, from_start: true, context: vec![], calls: vec![] },
            cut_at: Duration::from_secs(seconds),
        }
    }

    /// Offers a window of each of these containers, each of a thread of its own, in turn; says how many found a place.
    fn offer(queue: &mut Queue, most: usize, ids: &[u32], times: usize) -> Vec<usize> {
        let mut admitted = vec![0; ids.len()];
        for tid in 0..times {
            for (n, id) in ids.iter().enumerate() {
                if queue.has_place(&key(*id), 0, most) {
                    queue.push(job(*id, tid as u32, 0));
                    admitted[n] += 1;
                }
            }
        }
        admitted
    }

    #[test]
    fn one_that_is_noisy_fills_a_ninth() {
        let mut queue = Queue::default();
        assert_eq!(offer(&mut queue, 900, &[1], 10_000), [100]);
        // Another one finds places as if it were alone with what is left.
        assert_eq!(offer(&mut queue, 900, &[2], 10_000), [89]);
        assert!(queue.has_place(&key(3), 0, 900));
    }

    #[test]
    fn one_thread_leaves_half_to_the_others() {
        let mut queue = Queue::default();
        let mut n = 0;
        while queue.has_place(&key(1), n, 900) {
            queue.push(job(1, 7, 0));
            n += 1;
        }
        assert!((30..60).contains(&n), "{n}");
        assert!(queue.has_place(&key(1), 0, 900));
    }

    #[test]
    fn turns_are_taken_and_the_late_are_passed_over() {
        let mut queue = Queue::default();
        for (id, seconds) in [(1, 10), (1, 11), (1, 12), (2, 2), (2, 12), (3, 2)] {
            queue.push(job(id, 1, seconds));
        }
        let mut late = Vec::new();
        let mut order = Vec::new();
        while let Some(job) = queue.pop(Duration::from_secs(12), &mut late) {
            order.push((job.key.id.as_str().to_owned(), job.cut_at.as_secs()));
        }
        assert_eq!(
            order.iter().map(|(id, s)| (id.as_str(), *s)).collect::<Vec<_>>(),
            [("c1", 10), ("c2", 12), ("c1", 11), ("c1", 12)]
        );
        assert_eq!((late.len(), queue.len(), queue.waiting.len(), queue.turns.len()), (2, 0, 0, 0));
    }

    #[test]
    fn a_new_name_is_that_of_all_windows() {
        let mut queue = Queue::default();
        for (id, seconds) in [(1, 10), (2, 10), (1, 11)] {
            queue.push(job(id, 1, seconds));
        }
        queue.rename(&key(1), &"other".into());
        assert_eq!(queue.remove(&key(2)).len(), 1);
        assert!(queue.remove(&key(3)).is_empty());
        let mut workloads = Vec::new();
        while let Some(job) = queue.pop(Duration::from_secs(11), &mut Vec::new()) {
            workloads.push(job.workload);
        }
        assert_eq!(workloads, ["other".into(), "other".into()] as [Arc<str>; 2]);
        assert!(queue.is_empty() && queue.turns.is_empty());
    }

    proptest! {
        /// Never above its bound, nothing vanishes, and who has nothing here is refused only when all is full.
        #[test]
        fn bounded_and_whole(steps in prop::collection::vec((0u32..20, 0u32..3, any::<bool>()), 0..400), most in 1usize..60) {
            let mut queue = Queue::default();
            let (mut pushed, mut popped, mut late) = (0, 0, Vec::new());
            for (id, tid, push) in steps {
                if push {
                    let mine = queue.waiting.get(&key(id)).map_or(0, VecDeque::len);
                    let place = queue.has_place(&key(id), 0, most);
                    prop_assert!(place || mine > 0 || queue.len() == most);
                    if place {
                        queue.push(job(id, tid, 0));
                        pushed += 1;
                    }
                } else if queue.pop(Duration::ZERO, &mut late).is_some() {
                    popped += 1;
                }
                prop_assert!(queue.len() <= most);
                prop_assert_eq!(queue.len(), pushed - popped);
                prop_assert_eq!(queue.waiting.values().map(VecDeque::len).sum::<usize>(), queue.len());
                prop_assert_eq!(queue.turns.len(), queue.waiting.len());
                prop_assert_eq!(queue.is_empty(), pushed == popped);
            }
        }
    }
}
