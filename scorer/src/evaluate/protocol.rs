//! Who may learn from what.
//!
//! In: a [`DataSet`] and a [`Fitter`]. Out: [`Scores`]. Never: an attack, or a trace that is judged, shown to a
//! method of the normal-only protocol; a trace judged by a method that was fitted with it.

use crate::evaluate::baseline::method::{Example, Method};
use crate::evaluate::data::{DataSet, Item};
use crate::evaluate::methods::{Fitter, Unfit};
use crate::train::progress::Progress;
use rand::seq::SliceRandom as _;
use rand::{SeedableRng as _, rngs::StdRng};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use surprisal_proto::token::Token;

/// Above this a labelled method means "attack", unless it says otherwise.
const EVEN: f64 = 0.5;

/// What a method said.
#[derive(Clone, Debug, Default)]
pub struct Scores {
    /// Of the held-out training items, in their order; empty where labels are learned from.
    pub held_out: Vec<f64>,
    /// Of the judged items, in their order.
    pub judged: Vec<f64>,
    /// For each judged item the number above which its method itself says "attack"; empty where the threshold
    /// is chosen on held-out items.
    pub decisions: Vec<f64>,
    /// Time spent fitting and scoring.
    pub took: [Duration; 2],
}

/// The scores that a report was made from.
#[derive(Clone, Debug)]
pub struct Said {
    /// Protocol.
    pub protocol: &'static str,
    /// Method.
    pub method: String,
    /// Of the items of [`judged`], in their order.
    pub scores: Scores,
}

/// The names of the protocols.
pub const NORMAL_ONLY: &str = "normal-only";
/// See [`NORMAL_ONLY`].
pub const LABELLED_CV: &str = "labelled-cv";

/// What a protocol judges.
pub fn judged<'a>(protocol: &str, data: &'a DataSet) -> Vec<&'a Item> {
    if protocol == LABELLED_CV { data.train.iter().chain(&data.test).collect() } else { data.test.iter().collect() }
}

/// How the normal-only protocol is carried out.
#[derive(Clone, Copy, Debug)]
pub struct NormalOnly {
    /// Fit once, without the held-out items, and judge by that; else fit a second time, with all of them, to judge.
    pub one_fit: bool,
    /// Seed of everything random.
    pub seed: u64,
}

fn examples<'a>(items: impl IntoIterator<Item = &'a Item>) -> Vec<Example<'a>> {
    items.into_iter().map(Item::example).collect()
}

/// Learns from `normal-train`, scores the rest. The held-out items are scored by a method that was fitted without them.
pub fn normal_only(data: &DataSet, fitter: &dyn Fitter, how: NormalOnly, progress: &Progress) -> Result<Scores, Unfit> {
    let out = data.held_out();
    let part = |held: bool| examples(data.train.iter().zip(&out).filter(move |(_, h)| **h == held).map(|(i, _)| i));
    let (learned, held) = (part(false), part(true));
    let mut scores = Scores::default();
    let began = Instant::now();
    let mut method = fitter.fit(&learned, how.seed, progress)?;
    scores.took[0] += began.elapsed();
    scores.held_out = scored(&*method, &held, &mut scores.took[1]);
    if !how.one_fit {
        let began = Instant::now();
        method = fitter.fit(&examples(&data.train), how.seed, progress)?;
        scores.took[0] += began.elapsed();
    }
    scores.judged = scored(&*method, &examples(&data.test), &mut scores.took[1]);
    Ok(scores)
}

fn scored(method: &dyn Method, examples: &[Example<'_>], took: &mut Duration) -> Vec<f64> {
    let began = Instant::now();
    let scores = method.score(examples);
    *took += began.elapsed();
    assert_eq!(scores.len(), examples.len(), "a method gives a score for each example");
    scores.into_iter().map(|s| if s.is_nan() { f64::INFINITY } else { s }).collect()
}

/// The folds of a cross-validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folds {
    /// How many.
    pub count: usize,
    /// For each item, its fold.
    pub of: Vec<usize>,
    /// Items that are identical to one of another fold: what a method has seen although it was left out.
    pub seen: u64,
}

impl Folds {
    /// Divides items at random such that each fold has its share of normal ones and of attacks. With `group` identical items
    /// stay together; then folds may differ in size.
    pub fn new(items: &[&Item], count: usize, group: bool, seed: u64) -> Self {
        let mut twins: BTreeMap<&[Token], Vec<usize>> = BTreeMap::new();
        for (n, item) in items.iter().enumerate() {
            twins.entry(&item.calls).or_default().push(n);
        }
        let mut units: Vec<Vec<usize>> =
            if group { twins.values().cloned().collect() } else { (0..items.len()).map(|n| vec![n]).collect() };
        // In the order of the data, so that only the seed decides.
        units.sort();
        units.shuffle(&mut StdRng::seed_from_u64(seed));
        // Large groups first: small ones then even out what they left.
        units.sort_by_key(|u| std::cmp::Reverse(u.len()));
        let mut of = vec![0; items.len()];
        let mut sizes = vec![[0usize; 2]; count];
        for unit in units {
            let kind = usize::from(items[unit[0]].is_attack());
            let fold = (0..count).min_by_key(|f| (sizes[*f][kind], *f)).unwrap_or(0);
            for n in unit {
                of[n] = fold;
                sizes[fold][usize::from(items[n].is_attack())] += 1;
            }
        }
        let torn = |t: &&Vec<usize>| t.iter().any(|n| of[*n] != of[t[0]]);
        let seen = twins.values().filter(torn).map(|t| t.len() as u64).sum();
        Self { count, of, seen }
    }
}

/// Learns from the labels of all folds but one, scores that one, for each. Scores of all folds are pooled.
pub fn labelled_cv(items: &[&Item], folds: &Folds, fitter: &dyn Fitter, seed: u64, progress: &Progress) -> Result<Scores, Unfit> {
    let mut scores = Scores { judged: vec![0.0; items.len()], decisions: vec![EVEN; items.len()], ..Scores::default() };
    for fold in 0..folds.count {
        let others = |attack: bool| {
            let kept = items.iter().zip(&folds.of).filter(move |(i, f)| **f != fold && i.is_attack() == attack);
            examples(kept.map(|(i, _)| *i))
        };
        let began = Instant::now();
        let method = fitter.fit_labelled(&others(false), &others(true), seed, progress)?;
        scores.took[0] += began.elapsed();
        let left_out: Vec<usize> = (0..items.len()).filter(|n| folds.of[*n] == fold).collect();
        let said = scored(&*method, &examples(left_out.iter().map(|n| items[*n])), &mut scores.took[1]);
        for (n, score) in left_out.into_iter().zip(said) {
            scores.judged[n] = score;
            scores.decisions[n] = method.decision().unwrap_or(EVEN);
        }
    }
    Ok(scores)
}

#[cfg(test)]
pub(super) mod tests;
