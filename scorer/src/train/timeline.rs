//! Scores put back into the order of time, and what left-out stretches would have scored. *Pure.*
//!
//! In: a workload's windows, which of them are held out, the scores of the ones that differ. Out: what the threshold is
//! calibrated on. Never: a model.
//!
//! A stretch is one of the parts of a container's recording that [`super::split`] makes. Only every fifth is
//! held out; the other four fifths were learned, and score low however new they were. What they would have scored had they been
//! left out is estimated without another training: a call that only one stretch makes, or makes after that
//! call (a *new* one, had the stretch been left out), would have cost about as much as a new one costs, on top of what the
//! window scored. Windows of which a quarter or more would have been new are excepted, as in `split`: what is nowhere else in
//! the recordings cannot be both learned and held out. So is the first stretch, the start, which is never left out.

use crate::detect::score::Score;
use crate::detect::window::{SHORTEST, Window};
use crate::train::select::Counted;
use crate::train::split::{NEW_PAIRS, pairs, places};
use crate::train::workload::Piece;
use std::collections::{BTreeMap, HashMap};
use surprisal_proto::token::Token;

/// What a known call in a new place costs, as a share of what a call costs that training never saw.
const NEW_PLACE: f64 = 0.5;

/// What a window looks like to a model.
type Shape<'a> = (bool, &'a [Token], &'a [Token]);

fn shape(window: &Window) -> Shape<'_> {
    (window.from_start, &window.context, &window.calls)
}

/// A container's stretch.
type Stretch = (u32, usize);

/// The held-out windows' scores, stretch by stretch, in the order of time. `scored`: of the windows that differ, those
/// that were scored; the others (there were too many) are left out.
pub fn held_out(pieces: &[Piece], held_out: &[usize], scored: &[(Counted<'_>, Score)]) -> Vec<Vec<Score>> {
    let scores: HashMap<_, _> = scored.iter().map(|(w, score)| (shape(w.window), *score)).collect();
    let places = places(pieces);
    let mut stretches: BTreeMap<Stretch, Vec<(usize, Score)>> = BTreeMap::new();
    for i in held_out {
        if let Some(score) = scores.get(&shape(&pieces[*i].window)) {
            let place = places[*i];
            stretches.entry(place.stretch).or_default().push((place.rank, *score));
        }
    }
    let in_order = |mut windows: Vec<(usize, Score)>| {
        windows.sort_by_key(|(rank, _)| *rank);
        windows.into_iter().map(|(_, score)| score).collect()
    };
    stretches.into_values().map(in_order).collect()
}

/// What the windows of a stretch would have scored at most, had it been left out: an upper estimate, of the stretch for which it is the
/// second highest; 0 where fewer than two stretches do anything new. What one stretch does once says nothing of the others.
/// `unseen_nats`: what a call costs that training never saw.
pub fn left_out(pieces: &[Piece], trained: &[(Counted<'_>, Score)], unseen_nats: f64) -> Score {
    let places = places(pieces);
    let mut calls: HashMap<Token, Option<Stretch>> = HashMap::new();
    let mut follows: HashMap<(Token, Token), Option<Stretch>> = HashMap::new();
    for (piece, place) in pieces.iter().zip(&places) {
        let w = &piece.window;
        for call in w.context.iter().chain(&w.calls) {
            note(&mut calls, *call, place.stretch);
        }
        for pair in pairs(piece) {
            note(&mut follows, pair, place.stretch);
        }
    }
    // In one stretch only, and that is not the start.
    let only_once = |at: Option<&Option<Stretch>>| at.copied().flatten().filter(|(_, block)| *block > 0);
    // The highest estimate of each stretch that does something new.
    let mut highest: BTreeMap<Stretch, f64> = BTreeMap::new();
    for (counted, score) in trained {
        let w = counted.window;
        let all: Vec<Token> = w.context.iter().chain(&w.calls).copied().collect();
        let new_pair = |i: usize| i.checked_sub(1).and_then(|before| only_once(follows.get(&(all[before], all[i]))));
        let scored = || w.context.len()..all.len();
        let Some(stretch) = scored().find_map(new_pair) else { continue };
        if scored().filter_map(new_pair).count() as f64 >= NEW_PAIRS * w.calls.len() as f64 {
            continue;
        }
        let cost = |i: usize| match (only_once(calls.get(&all[i])), new_pair(i)) {
            (Some(_), _) => unseen_nats,
            (None, Some(_)) => NEW_PLACE * unseen_nats,
            (None, None) => 0.0,
        };
        let nats = score.nats() + scored().map(cost).sum::<f64>() / w.calls.len().max(SHORTEST) as f64;
        highest.entry(stretch).and_modify(|highest| *highest = highest.max(nats)).or_insert(nats);
    }
    let mut highest: Vec<_> = highest.into_values().collect();
    highest.sort_by(|a, b| b.total_cmp(a));
    Score::new(highest.get(1).copied().unwrap_or(0.0))
}

/// Remembers where something happens; `None`: in several stretches.
fn note<K: Eq + std::hash::Hash>(seen: &mut HashMap<K, Option<Stretch>>, what: K, stretch: Stretch) {
    seen.entry(what).and_modify(|at| *at = at.filter(|s| *s == stretch)).or_insert(Some(stretch));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::select::distinct;

    fn piece(container: u32, at: u64, calls: &[u16]) -> Piece {
        let calls = calls.iter().copied().map(Token).collect();
        Piece { container, window: Window { first_sequence: at, started_ns: at, from_start: true, context: vec![], calls } }
    }

    #[test]
    fn scores_are_put_back_where_they_were() {
        // Two containers of 40 windows, two in each stretch; every other window is like the first.
        let pieces: Vec<_> = (0..80).map(|n| piece(n as u32 % 2, n, &[1, if n % 4 < 2 { 2 } else { 3 }])).collect();
        let held: Vec<_> = (12..16).chain(32..36).collect();
        let distinct = distinct(&pieces, &held);
        let scored: Vec<_> = distinct
            .into_iter()
            .map(|(_, w)| {
                let nats = f64::from(w.window.calls[1].0);
                (w, Score::new(nats))
            })
            .collect();
        let got = held_out(&pieces, &held, &scored);
        let nats: Vec<Vec<_>> = got.iter().map(|s| s.iter().map(|s| s.nats()).collect()).collect();
        assert_eq!(nats, [[2.0, 3.0], [2.0, 3.0], [2.0, 3.0], [2.0, 3.0]]);
        // What was not scored is left out.
        assert_eq!(held_out(&pieces, &held, &scored[..1]).concat().len(), 4);
    }

    #[test]
    fn what_only_one_stretch_does_would_have_been_new() {
        let usual = [1u16, 2].repeat(16);
        let with = |change: &[(usize, u16)]| {
            let mut calls = usual.clone();
            for (i, call) in change {
                calls[*i] = *call;
            }
            calls
        };
        let estimate = |odd: &[(usize, Vec<u16>)]| {
            let mut pieces: Vec<_> = (0..100).map(|n| piece(0, n, &usual)).collect();
            for (at, calls) in odd {
                pieces[*at] = piece(0, *at as u64, calls);
            }
            let all: Vec<_> = (0..100).collect();
            let trained: Vec<_> = distinct(&pieces, &all).into_iter().map(|(_, w)| (w, Score::new(0.25))).collect();
            left_out(&pieces, &trained, 16.0).nats()
        };
        let check = |odd: &[(usize, Vec<u16>)], expect: f64| {
            let got = estimate(odd);
            assert!((got - expect).abs() < 1e-9, "{got} is not {expect}");
        };
        check(&[], 0.0);
        // A call that is nowhere else, and the usual one after it: 16 + 8 nats in 32 calls. One such stretch is none.
        let (seven, eight) = (with(&[(9, 7)]), with(&[(9, 8)]));
        check(&[(50, seven.clone())], 0.0);
        check(&[(50, seven.clone()), (80, eight.clone())], 0.25 + 24.0 / 32.0);
        // Known calls in a new order cost half; the second highest counts, and of each stretch the highest.
        let order = with(&[(9, 3), (11, 1)]);
        check(&[(20, with(&[(5, 3)])), (30, with(&[(5, 3)])), (50, seven.clone()), (80, order.clone())], 0.25 + 16.0 / 32.0);
        check(&[(50, seven.clone()), (51, with(&[(5, 6), (11, 9)])), (80, eight.clone())], 0.25 + 24.0 / 32.0);
        // The same in another stretch, or at the start.
        check(&[(50, seven.clone()), (80, with(&[(5, 7)]))], 0.0);
        check(&[(2, seven), (80, eight)], 0.0);
        // What is mostly new is learned, and no measure of what comes.
        check(&[(50, (100..132).collect()), (80, (200..232).collect())], 0.0);
    }
}
