//! Who may learn from what.
//!
//! In: a [`DataSet`] and a [`Fitter`]. Out: [`Scores`]. Never: an attack, or a trace that is judged, shown to a
//! method of the normal-only protocol; a trace judged by a method that was fitted with it.

use super::data::{DataSet, Item};
use super::methods::{Fitter, Unfit};
use crate::evaluate::baseline::Example;
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

fn scored(method: &dyn crate::evaluate::baseline::Method, examples: &[Example<'_>], took: &mut Duration) -> Vec<f64> {
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
    /// Parts items at random such that each fold has its share of normal ones and of attacks. With `group` identical items
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
pub(super) mod tests {
    use super::super::data::tests::{trace, traces};
    use super::super::data::{Item, Set};
    use super::*;
    use crate::evaluate::baseline::Method;
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    /// A fake: scores by the first call, and remembers what it was fitted with.
    #[derive(Default)]
    pub(crate) struct FirstCall {
        fitted: RefCell<Vec<(BTreeSet<u16>, BTreeSet<u16>)>>,
    }

    struct Fitted(BTreeSet<u16>);

    impl Method for Fitted {
        /// The first call; negated where it was fitted with it.
        fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
            let first = |e: &Example<'_>| f64::from(e.calls[0].0) * if self.0.contains(&e.calls[0].0) { -1.0 } else { 1.0 };
            examples.iter().map(first).collect()
        }
    }

    fn firsts(examples: &[Example<'_>]) -> BTreeSet<u16> {
        examples.iter().map(|e| e.calls[0].0).collect()
    }

    impl Fitter for FirstCall {
        fn key(&self) -> &'static str {
            "first-call"
        }
        fn fit(&self, normal: &[Example<'_>], _: u64, _: &Progress) -> Result<Box<dyn Method>, Unfit> {
            self.fitted.borrow_mut().push((firsts(normal), BTreeSet::new()));
            Ok(Box::new(Fitted(firsts(normal))))
        }
        fn fit_labelled(&self, n: &[Example<'_>], a: &[Example<'_>], _: u64, _: &Progress) -> Result<Box<dyn Method>, Unfit> {
            self.fitted.borrow_mut().push((firsts(n), firsts(a)));
            Ok(Box::new(Fitted(firsts(n).union(&firsts(a)).copied().collect())))
        }
    }

    fn data() -> DataSet {
        let train = (1..=5).map(|n| trace(Set::NormalTrain, u64::from(n), None, &[n])).collect();
        let test = vec![trace(Set::NormalTest, 1, None, &[20]), trace(Set::Attack, 1, Some("a"), &[30])];
        traces(train, test)
    }

    #[test]
    fn what_is_held_out_is_scored_by_what_never_saw_it() {
        for (one_fit, fits) in [(true, vec![4]), (false, vec![4, 5])] {
            let fitter = FirstCall::default();
            let how = NormalOnly { one_fit, seed: 1 };
            let scores = normal_only(&data(), &fitter, how, &Progress::default()).expect("fits");
            assert_eq!((scores.held_out, scores.judged), (vec![5.0], vec![20.0, 30.0]));
            assert_eq!(fitter.fitted.borrow().iter().map(|(n, a)| n.len() + 100 * a.len()).collect::<Vec<_>>(), fits);
        }
    }

    fn labelled(n: u16, attacks: u16) -> Vec<Item> {
        let item = |i: u16| trace(Set::NormalTest, u64::from(i), (i <= attacks).then_some("a"), &[i]);
        (1..=n).map(item).collect()
    }

    #[test]
    fn nothing_is_judged_by_what_saw_it() {
        let items = labelled(20, 8);
        let items: Vec<&Item> = items.iter().collect();
        let folds = Folds::new(&items, 4, false, 7);
        let fitter = FirstCall::default();
        let scores = labelled_cv(&items, &folds, &fitter, 1, &Progress::default()).expect("fits");
        // The fake negates what it was fitted with.
        assert_eq!(scores.judged, (1..=20).map(f64::from).collect::<Vec<_>>());
        assert_eq!(fitter.fitted.borrow().iter().map(|(n, a)| (n.len(), a.len())).collect::<Vec<_>>(), [(9, 6); 4]);
        assert_eq!(folds.seen, 0);
    }

    #[test]
    fn folds_are_stratified_seeded_and_keep_twins_when_told() {
        let mut items = labelled(30, 10);
        for n in [3, 4, 5, 17] {
            items[n].calls = vec![Token(99)];
        }
        let items: Vec<&Item> = items.iter().collect();
        let sizes = |folds: &Folds| {
            let of = |fold| (0..30).filter(move |n| folds.of[*n] == fold);
            (0..5).map(|f| (of(f).filter(|n| items[*n].is_attack()).count(), of(f).count())).collect::<Vec<_>>()
        };
        let (one, same, other) =
            (Folds::new(&items, 5, false, 1), Folds::new(&items, 5, false, 1), Folds::new(&items, 5, false, 2));
        assert_eq!(one, same);
        assert_ne!(one, other);
        assert_eq!(sizes(&one), [(2, 6); 5]);
        assert_eq!(one.seen, 4, "four twins lie in more than one fold");
        let grouped = Folds::new(&items, 5, true, 1);
        assert_eq!(grouped.seen, 0);
        assert!([4, 5, 17].iter().all(|n| grouped.of[*n] == grouped.of[3]));
        assert_eq!(sizes(&grouped).iter().map(|s| s.1).sum::<usize>(), 30);
    }
}
