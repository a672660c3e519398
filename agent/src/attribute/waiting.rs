//! What is told of one container while its names are looked for.
//!
//! In: runs and calls' names. Out: the same in the same order, and what they take. Pure. Never: bounds itself (the bound is for all
//! containers together).

use super::counts::Held;
use crate::record::{NamedCall, Run};

/// One thing that waits.
#[derive(Debug)]
pub(super) enum Piece {
    /// Calls.
    Run(Run),
    /// What one was about.
    Name(NamedCall),
}

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pieces: Vec<Piece>,
    held: Held,
}

impl Waiting {
    /// Keeps a piece. Returns what it takes.
    pub(super) fn push(&mut self, piece: Piece) -> Held {
        let (calls, bytes) = match &piece {
            Piece::Run(run) => (run.tokens.len() as u64, 2 * run.tokens.len()),
            Piece::Name(call) => (0, call.name.text.len() + call.name.argv0.len()),
        };
        let takes = Held { calls, bytes: size_of::<Piece>() + bytes };
        self.pieces.push(piece);
        self.held.add(takes);
        takes
    }

    /// What all of it takes.
    pub(super) fn held(&self) -> Held {
        self.held
    }

    /// The pieces, in their order.
    pub(super) fn into_pieces(self) -> Vec<Piece> {
        self.pieces
    }
}
