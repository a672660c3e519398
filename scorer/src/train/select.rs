//! Which windows are trained on when there are more than time allows. *Pure.*
//!
//! In: windows. Out: the ones that differ, each with a weight, bounded. Never: a random draw that loses what
//! is rare.
//!
//! Windows that are equal are one window with a weight of 1 + ln(how often): a loop that fills half the
//! recording matters more than a start, but not ten thousand times more. What a server rarely does is where
//! its false alarms come from, so a window whose rarest pair of consecutive calls is in few windows weighs up
//! to eight times as much, and of too many windows the rarest come first: they are drawn at random only
//! after every pair is in [`COVER`] of those kept (where there are as many).

use crate::detect::window::Window;
use crate::train::split::pairs;
use crate::train::workload::Piece;
use rand::seq::SliceRandom;
use rand::{SeedableRng, rngs::StdRng};
use std::collections::{BTreeSet, HashMap, HashSet};
use surprisal_proto::token::Token;

/// In how many windows a pair of calls is wanted.
pub const COVER: usize = 4;
/// How many times more a rare window weighs at most, and in how many windows its rarest pair must be for that to end.
const RARE: f32 = 8.0;
const COMMON: f32 = 32.0;

/// What a window looks like to the model: start, context, calls.
type Shape<'a> = (bool, &'a [Token], &'a [Token]);

/// A window, and how often it occurred.
#[derive(Clone, Debug)]
pub struct Counted<'a> {
    /// One of the equal windows.
    pub window: &'a Window,
    /// How many there were.
    pub count: u64,
    /// Of these windows, how many have this one's rarest pair of consecutive calls.
    pub rarest: usize,
}

impl Counted<'_> {
    /// Its weight in training.
    pub fn weight(&self) -> f32 {
        (1.0 + (self.count as f32).ln()) * (COMMON / self.rarest.max(1) as f32).clamp(1.0, RARE)
    }
}

/// Windows that differ, in the order they first occur.
pub fn distinct<'a>(pieces: &'a [Piece], chosen: &[usize]) -> Vec<(usize, Counted<'a>)> {
    let mut at: HashMap<Shape<'a>, usize> = HashMap::new();
    let mut windows: Vec<(usize, Counted<'a>)> = Vec::new();
    for i in chosen {
        let w = &pieces[*i].window;
        let slot = *at.entry((w.from_start, &w.context, &w.calls)).or_insert_with(|| {
            windows.push((*i, Counted { window: w, count: 0, rarest: 0 }));
            windows.len() - 1
        });
        windows[slot].1.count += 1;
    }
    let mut spread: HashMap<(Token, Token), usize> = HashMap::new();
    let pairs_of = |i: usize| pairs(&pieces[i]).collect::<HashSet<_>>();
    for (i, _) in &windows {
        for pair in pairs_of(*i) {
            *spread.entry(pair).or_default() += 1;
        }
    }
    for (i, window) in &mut windows {
        // A window of one call has no pair: it is as common as such windows are.
        window.rarest = pairs(&pieces[*i]).filter_map(|pair| spread.get(&pair).copied()).min().unwrap_or(COMMON as usize);
    }
    windows
}

/// At most `most` of these; the rest's number is the second value.
pub fn select<'a>(pieces: &[Piece], windows: Vec<(usize, Counted<'a>)>, most: usize, seed: u64) -> (Vec<Counted<'a>>, u64) {
    if windows.len() <= most {
        return (windows.into_iter().map(|(_, w)| w).collect(), 0);
    }
    let mut order: Vec<usize> = (0..windows.len()).collect();
    order.shuffle(&mut StdRng::seed_from_u64(seed));
    let mut rarest_first = order.clone();
    rarest_first.sort_by_key(|i| windows[*i].1.rarest);
    let mut covered: HashMap<(Token, Token), usize> = HashMap::new();
    let mut kept: BTreeSet<usize> = BTreeSet::new();
    for &i in &rarest_first {
        let distinct: HashSet<_> = pairs(&pieces[windows[i].0]).collect();
        if kept.len() < most && distinct.iter().any(|p| covered.get(p).copied().unwrap_or(0) < COVER) {
            kept.insert(i);
            for pair in distinct {
                *covered.entry(pair).or_default() += 1;
            }
        }
    }
    for &i in &order {
        if kept.len() >= most {
            break;
        }
        kept.insert(i);
    }
    let total = windows.len();
    let chosen: Vec<_> = windows.into_iter().enumerate().filter(|(i, _)| kept.contains(i)).map(|(_, (_, w))| w).collect();
    let left = (total - chosen.len()) as u64;
    (chosen, left)
}

/// At most `most` of these, drawn at random: what they say of the rest must not depend on what they are.
pub fn draw(mut windows: Vec<(usize, Counted<'_>)>, most: usize, seed: u64) -> Vec<Counted<'_>> {
    if windows.len() > most {
        windows.shuffle(&mut StdRng::seed_from_u64(seed));
        windows.truncate(most);
    }
    windows.into_iter().map(|(_, w)| w).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(calls: &[u16]) -> Piece {
        let calls = calls.iter().copied().map(Token).collect();
        Piece { container: 0, window: Window { first_sequence: 0, started_ns: 0, from_start: true, context: vec![], calls } }
    }

    #[test]
    fn equal_windows_are_one_with_a_weight() {
        let pieces = [piece(&[1, 2]), piece(&[3]), piece(&[1, 2]), piece(&[1, 2])];
        let d = distinct(&pieces, &[0, 1, 2, 3]);
        assert_eq!(d.iter().map(|(i, w)| (*i, w.count)).collect::<Vec<_>>(), [(0, 3), (1, 1)]);
        // The first's one pair is in one window; the second has none.
        assert!((d[0].1.weight() - RARE * (1.0 + 3f32.ln())).abs() < 1e-5 && (d[1].1.weight() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn rare_pairs_survive_sampling_and_the_draw_repeats() {
        // 500 different windows of common pairs, one with a pair of its own.
        let mut pieces: Vec<_> = (0..500u16).map(|n| piece(&[1, 2, 1 + n % 2, 1 + n / 2 % 2, 1 + n / 4 % 2, 3 + n])).collect();
        pieces.push(piece(&[900, 901]));
        for p in &mut pieces[..500] {
            p.window.calls.pop();
            p.window.context = vec![Token(1); 3 + usize::from(p.window.calls[2].0)];
        }
        let all: Vec<_> = (0..pieces.len()).collect();
        let n = distinct(&pieces, &all).len();
        let run = |seed| {
            let (chosen, left) = select(&pieces, distinct(&pieces, &all), 6, seed);
            assert_eq!((chosen.len(), left as usize), (6, n - 6));
            chosen.iter().map(|c| c.window.clone()).collect::<Vec<_>>()
        };
        for seed in 0..5 {
            assert!(run(seed).iter().any(|w| w.calls[0] == Token(900)), "seed {seed}");
            assert_eq!(run(seed), run(seed));
        }
        assert_eq!(select(&pieces, distinct(&pieces, &all), 1000, 0).1, 0);
        assert_eq!((draw(distinct(&pieces, &all), 6, 0).len(), draw(distinct(&pieces, &all), 1000, 0).len()), (6, n));
    }
}
