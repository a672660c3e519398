//! Keys of containers that have ended a moment ago.
//!
//! In: keys. Out: whether one has just ended: a late peek must not bring it back. Pure: the caller's clock.

use crate::container::ContainerKey;
use std::collections::HashMap;

/// A key is remembered for this long: a peek may still be on its way, nanoseconds.
pub(super) const TOMBSTONE_NS: u64 = 2_000_000_000;

/// The keys, with the time of their end.
#[derive(Debug)]
pub(super) struct Ended {
    at_ns: HashMap<ContainerKey, u64>,
    most: usize,
}

impl Ended {
    /// Remembers at most so many keys.
    pub(super) fn new(most: usize) -> Self {
        Self { at_ns: HashMap::new(), most }
    }

    /// It has ended.
    pub(super) fn insert(&mut self, key: ContainerKey, now_ns: u64) {
        if self.at_ns.len() >= self.most {
            // Thousands a second: a late peek may bring one back, which is then seen to be gone.
            self.at_ns.clear();
        }
        self.at_ns.insert(key, now_ns);
    }

    /// The key is used again.
    pub(super) fn remove(&mut self, key: ContainerKey) {
        self.at_ns.remove(&key);
    }

    /// Whether it has just ended.
    pub(super) fn contains(&self, key: ContainerKey) -> bool {
        self.at_ns.contains_key(&key)
    }

    /// Forgets those that ended a while ago.
    pub(super) fn sweep(&mut self, now_ns: u64) {
        self.at_ns.retain(|_, at| now_ns.saturating_sub(*at) < TOMBSTONE_NS);
    }

    /// Whether none is remembered.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.at_ns.is_empty()
    }
}
