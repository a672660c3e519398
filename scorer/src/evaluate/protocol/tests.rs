//! Tests of `protocol`.

use super::*;
use crate::evaluate::data::tests::{trace, traces};
use crate::evaluate::data::{Item, Set};
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
    let (one, same, other) = (Folds::new(&items, 5, false, 1), Folds::new(&items, 5, false, 1), Folds::new(&items, 5, false, 2));
    assert_eq!(one, same);
    assert_ne!(one, other);
    assert_eq!(sizes(&one), [(2, 6); 5]);
    assert_eq!(one.seen, 4, "four twins lie in more than one fold");
    let grouped = Folds::new(&items, 5, true, 1);
    assert_eq!(grouped.seen, 0);
    assert!([4, 5, 17].iter().all(|n| grouped.of[*n] == grouped.of[3]));
    assert_eq!(sizes(&grouped).iter().map(|s| s.1).sum::<usize>(), 30);
}
