//! What was recorded of one workload. *Pure.*
//!
//! In: what its threads were cut into. Out: its windows, at most [`MOST_KEPT`], and counts of the rest. Never: a window that a gap
//! cut.

use crate::detect::names::Heard;
use crate::detect::window::{Cut, Window};

/// Windows kept of one workload; of more, every second, fourth, … is kept.
pub const MOST_KEPT: usize = 400_000;

/// One window of a workload.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Container, a small number within the workload.
    pub container: u32,
    /// The window.
    pub window: Window,
}

/// What was recorded of one workload.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// Its windows, in the order they were completed.
    pub pieces: Vec<Piece>,
    /// Calls recorded.
    pub calls: u64,
    /// Windows cut, kept or not.
    pub windows: u64,
    /// Windows that a gap cut.
    pub gapped: u64,
    /// What its calls were about.
    pub names: Heard,
    /// Seconds recorded, summed over containers.
    pub container_seconds: f64,
    /// Containers.
    pub containers: u32,
    /// Image of the first container; empty: not known.
    pub image: String,
    /// Every how many windows one is kept, less 1.
    skip: u64,
}

impl Workload {
    pub(super) fn add(&mut self, container: u32, cuts: &mut Vec<Cut>) {
        for cut in cuts.drain(..) {
            match cut {
                Cut::Gapped { .. } => self.gapped += 1,
                Cut::Window(window) => {
                    if self.windows & self.skip == 0 {
                        self.pieces.push(Piece { container, window });
                    }
                    self.windows += 1;
                    if self.pieces.len() > MOST_KEPT {
                        let mut n = 0u64;
                        self.pieces.retain(|_| {
                            n += 1;
                            n % 2 == 1
                        });
                        self.skip = self.skip * 2 + 1;
                    }
                }
            }
        }
    }

    /// Windows that one container makes a day, by the rate of the recordings.
    pub fn windows_per_container_day(&self) -> f64 {
        // A recording shorter than a second says nothing of a rate.
        self.windows as f64 / self.container_seconds.max(1.0) * 86_400.0
    }

    /// Adds another's windows, as if they were one workload.
    pub fn merge(&mut self, other: Self) {
        let from = self.containers;
        self.pieces.extend(other.pieces.into_iter().map(|p| Piece { container: p.container + from, ..p }));
        self.calls += other.calls;
        self.names.merge(other.names, self.windows);
        self.windows += other.windows;
        self.gapped += other.gapped;
        self.container_seconds += other.container_seconds;
        self.containers += other.containers;
        if self.image.is_empty() {
            self.image = other.image;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use surprisal_proto::token::Token;

    #[test]
    fn a_long_recording_is_thinned_evenly_and_counted() {
        let mut w = Workload::default();
        for n in 0..MOST_KEPT as u64 + 10 {
            let window = Window { first_sequence: n, started_ns: n, from_start: true, context: vec![], calls: vec![Token(1)] };
            w.add(0, &mut vec![Cut::Window(window)]);
        }
        assert_eq!(w.windows, MOST_KEPT as u64 + 10);
        assert!(w.pieces.windows(2).all(|p| p[1].window.first_sequence - p[0].window.first_sequence == 2), "every second");
        assert_eq!(w.pieces.len(), MOST_KEPT / 2 + 5);
    }
}
