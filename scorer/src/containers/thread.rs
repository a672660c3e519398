//! One thread of a container.
//!
//! In: its runs (through the cutter). Out: how many of its windows wait. Never: a score.

use crate::detect::window::Cutter;
use std::sync::Arc;
use std::time::Duration;

/// Which thread of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThreadId {
    /// Process id on the node.
    pub tgid: u32,
    /// Thread id on the node.
    pub tid: u32,
}

/// Bytes that a thread takes, at most, with its place in the maps: up to a window of calls that are not complete, its context, its
/// name. Measured by `tests/memory.rs`.
pub const THREAD_BYTES: usize = 768;

/// What is kept of a thread.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) cutter: Cutter,
    pub(super) process: Arc<str>,
    /// It descends from a process that entered the container later.
    pub(super) by_exec: bool,
    /// When its last run arrived.
    pub(super) heard: Duration,
    /// Nothing is pending.
    pub(super) flushed: bool,
    waiting: u32,
}

impl Default for Thread {
    fn default() -> Self {
        Self { cutter: Cutter::default(), process: "".into(), by_exec: false, heard: Duration::ZERO, flushed: false, waiting: 0 }
    }
}

impl Thread {
    /// Windows that wait for the model.
    pub(super) fn waiting(&self) -> usize {
        self.waiting as usize
    }

    pub(super) fn wait(&mut self) {
        self.waiting += 1;
    }

    /// A thread id may be used again: then windows of the thread before come back too.
    pub(super) fn done(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }
}
