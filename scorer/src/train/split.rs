//! What is trained on, and what is held out. *Pure.*
//!
//! In: a workload's windows. Out: two sets of them. Never: neighbours torn apart at random: windows of one
//! thread resemble each other, and a random split would call that resemblance a good model.
//!
//! Each container's windows are sorted by time and divided into [`BLOCKS`] stretches; every fifth is
//! held out, never the first: a start happens once, and must be learned. What a held-out stretch does that
//! is nowhere else in the recordings (a quarter of its pairs of consecutive calls are new) is learned too: it
//! cannot be both learned and held out, and an unlearned start would lift the threshold above every attack.
//! Such windows are counted (`one_offs`).

use crate::train::workload::Piece;
use std::collections::{BTreeMap, HashSet};
use surprisal_proto::token::Token;

/// Stretches of time for each container.
pub const BLOCKS: usize = 20;
/// Of these many stretches one is held out: the fourth.
const EVERY: usize = 5;
const HELD: usize = 3;
/// Share of new pairs from which a window is a one-off.
pub const NEW_PAIRS: f64 = 0.25;

/// Which windows are for what; indices into the pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// To learn from.
    pub train: Vec<usize>,
    /// To calibrate on.
    pub held_out: Vec<usize>,
    /// Of `train`: would have been held out, but happen nowhere else.
    pub one_offs: u64,
}

/// Of `n` things in the order of time, whether the one of this `rank` is held out.
pub fn is_held(rank: usize, n: usize) -> bool {
    rank * BLOCKS / n.max(1) % EVERY == HELD
}

/// Pairs of consecutive calls in a window, context counted in.
pub fn pairs(piece: &Piece) -> impl Iterator<Item = (Token, Token)> {
    let w = &piece.window;
    let all = || w.context.iter().chain(&w.calls).copied();
    all().zip(all().skip(1))
}

/// Splits.
pub fn split(pieces: &[Piece]) -> Split {
    let mut by_container: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (i, piece) in pieces.iter().enumerate() {
        by_container.entry(piece.container).or_default().push(i);
    }
    let mut split = Split::default();
    for windows in by_container.values_mut() {
        windows.sort_by_key(|i| pieces[*i].window.started_ns);
        let n = windows.len();
        for (rank, i) in windows.iter().enumerate() {
            if is_held(rank, n) { &mut split.held_out } else { &mut split.train }.push(*i);
        }
    }
    let known: HashSet<_> = split.train.iter().flat_map(|i| pairs(&pieces[*i])).collect();
    let (one_offs, held_out): (Vec<_>, Vec<_>) = std::mem::take(&mut split.held_out).into_iter().partition(|i| {
        let (mut n, mut new) = (0u32, 0u32);
        for pair in pairs(&pieces[*i]) {
            n += 1;
            new += u32::from(!known.contains(&pair));
        }
        f64::from(new) >= NEW_PAIRS * f64::from(n) && new > 0
    });
    split.one_offs = one_offs.len() as u64;
    split.train.extend(one_offs);
    split.train.sort_unstable();
    split.held_out = held_out;
    split.held_out.sort_unstable();
    split
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::window::Window;
    use proptest::prelude::*;

    fn piece(container: u32, at: u64, calls: &[u16]) -> Piece {
        let calls = calls.iter().copied().map(Token).collect();
        Piece { container, window: Window { first_sequence: 0, started_ns: at, from_start: true, context: vec![], calls } }
    }

    #[test]
    fn stretches_of_time_but_never_the_start() {
        let pieces: Vec<_> = (0..100).map(|n| piece(0, n, &[1, 2, 1, 2])).collect();
        let s = split(&pieces);
        let expect: Vec<usize> = [15..20, 40..45, 65..70, 90..95].into_iter().flatten().collect();
        assert_eq!((s.held_out, s.one_offs, s.train.len()), (expect, 0, 80));
    }

    #[test]
    fn what_happens_once_is_learned() {
        let mut pieces: Vec<_> = (0..100).map(|n| piece(0, n, &[1, 2, 1, 2])).collect();
        pieces[42] = piece(0, 42, &[7, 8, 9]);
        let s = split(&pieces);
        assert!(s.train.contains(&42) && !s.held_out.contains(&42));
        assert_eq!((s.one_offs, s.held_out.len()), (1, 19));
    }

    proptest! {
        #[test]
        fn every_window_is_in_one_part(windows in prop::collection::vec((0u32..3, any::<u64>(), prop::collection::vec(0u16..5, 1..6)), 0..200)) {
            let pieces: Vec<_> = windows.iter().map(|(c, at, calls)| piece(*c, *at, calls)).collect();
            let s = split(&pieces);
            let mut all = [s.train, s.held_out].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..pieces.len()).collect::<Vec<_>>());
        }
    }
}
