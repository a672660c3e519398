//! Runs of one container that wait for its names.
//!
//! In: runs. Out: the same runs in the same order, and what they take. Pure. Never: bounds itself (the bound is for all
//! containers together).

use super::counts::Held;
use crate::record::Run;

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    runs: Vec<Run>,
    held: Held,
}

impl Waiting {
    /// Keeps a run. Returns what it takes.
    pub(super) fn push(&mut self, run: Run) -> Held {
        let takes = Held { calls: run.tokens.len() as u64, bytes: size_of::<Run>() + 2 * run.tokens.len() };
        self.runs.push(run);
        self.held.add(takes);
        takes
    }

    /// What all of it takes.
    pub(super) fn held(&self) -> Held {
        self.held
    }

    /// The runs, in their order.
    pub(super) fn into_runs(self) -> Vec<Run> {
        self.runs
    }
}
