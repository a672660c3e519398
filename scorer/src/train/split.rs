//! What is trained on, and what is held out. *Pure.*
//!
//! In: a workload's windows. Out: two sets of them. Never: neighbours torn apart at random: windows of one
//! thread resemble each other, and a random split would call that resemblance a good model.
//!
//! Each container's windows are sorted by time and divided into [`BLOCKS`] stretches of as many windows; every fifth is
//! held out, never the first: a start happens once, and must be learned. It is many windows in little time where
//! a container then rests, so the first stretch also has all windows of the first [`BLOCKS`]th of its time. What a held-out stretch does that
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
    is_held_block(rank * BLOCKS / n.max(1))
}

fn is_held_block(block: usize) -> bool {
    block % EVERY == HELD
}

/// Where a window is in its container's recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Container, and which of its [`BLOCKS`] stretches.
    pub stretch: (u32, usize),
    /// Windows of the container before it.
    pub rank: usize,
}

/// Each window's place, in the order of `pieces`.
pub fn places(pieces: &[Piece]) -> Vec<Place> {
    let mut by_container: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (i, piece) in pieces.iter().enumerate() {
        by_container.entry(piece.container).or_default().push(i);
    }
    let mut places = vec![Place::default(); pieces.len()];
    for (container, mut windows) in by_container {
        let at = |i: usize| pieces[i].window.started_ns;
        windows.sort_by_key(|i| at(*i));
        let (first, n) = (at(windows[0]), windows.len());
        let twentieth = (at(windows[n - 1]) - first) / BLOCKS as u64;
        // At most half: what does all that it ever does in its first seconds must be held out too.
        let start = windows.partition_point(|i| at(*i) - first < twentieth).min(n / 2);
        for (rank, i) in windows.into_iter().enumerate() {
            let block = if rank < start { 0 } else { rank * BLOCKS / n };
            places[i] = Place { stretch: (container, block), rank };
        }
    }
    places
}

/// Pairs of consecutive calls in a window, context counted in.
pub fn pairs(piece: &Piece) -> impl Iterator<Item = (Token, Token)> {
    let w = &piece.window;
    let all = || w.context.iter().chain(&w.calls).copied();
    all().zip(all().skip(1))
}

/// Splits.
pub fn split(pieces: &[Piece]) -> Split {
    let mut split = Split::default();
    for (i, place) in places(pieces).into_iter().enumerate() {
        if is_held_block(place.stretch.1) { &mut split.held_out } else { &mut split.train }.push(i);
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
    fn a_start_of_many_windows_is_one_stretch() {
        // Windows in the first second, and in each second after it: which of the first second's, and of the others, are held out.
        let held = |start: u64, seconds: u64| {
            let times = (0..start).chain((1..seconds).map(|second| second * 1000));
            let pieces: Vec<_> = times.map(|at| piece(0, at, &[1, 2, 1, 2])).collect();
            let s = split(&pieces);
            let of_start = s.held_out.iter().filter(|i| (**i as u64) < start).count();
            (of_start, s.held_out.len() - of_start)
        };
        assert_eq!(held(40, 61), (0, 13));
        // A start that is nearly all there is.
        assert_eq!(held(190, 11), (20, 0));
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
