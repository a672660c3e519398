//! Planted cases for the tests of all methods. *Pure.*
//!
//! In: call numbers or a seed. Out: sequences of which it is plain what is normal. Never: anything real.

use crate::evaluate::baseline::fit::{fit, fit_labelled};
use crate::evaluate::baseline::method::{Example, FitError, Kind, Method};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use surprisal_proto::token::Token;

pub(super) fn tokens(numbers: &[u16]) -> Vec<Token> {
    numbers.iter().copied().map(Token).collect()
}

/// A whole sequence, all of it scored.
pub(super) fn example(calls: &[Token]) -> Example<'_> {
    Example { calls, context: 0, from_start: true }
}

/// `count` sequences of 60 to 100 calls that repeat a few phrases, with some noise between them.
fn phrases(phrases: &[&[u16]], noise: &[u16], count: usize, seed: u64) -> Vec<Vec<Token>> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..count)
        .map(|_| {
            let length = random.random_range(60..100);
            let mut calls = Vec::new();
            while calls.len() < length {
                calls.extend_from_slice(phrases[random.random_range(0..phrases.len())]);
                if random.random_bool(0.2) {
                    calls.push(noise[random.random_range(0..noise.len())]);
                }
            }
            tokens(&calls)
        })
        .collect()
}

const NORMAL: &[&[u16]] = &[&[3, 4, 3, 6], &[5, 3, 3, 6], &[102, 3, 4, 6]];
/// The same calls in another order and mixture, and a few that are new.
const ATTACK: &[&[u16]] = &[&[102, 63, 63, 11], &[6, 4, 5, 5, 102], &[11, 5, 125]];
const NOISE: &[u16] = &[13, 78, 192, 45];

/// The probability that an attack scores higher than a normal example, ties counted half.
fn auc(normal: &[f64], attack: &[f64]) -> f64 {
    let wins: f64 = attack
        .iter()
        .flat_map(|a| normal.iter().map(move |n| if a > n { 1.0 } else { f64::from(u8::from((a - n).abs() < 1e-12)) / 2.0 }))
        .sum();
    wins / (normal.len() * attack.len()) as f64
}

fn examples(calls: &[Vec<Token>]) -> Vec<Example<'_>> {
    calls.iter().map(|c| example(c)).collect()
}

fn separates(kind: Kind, method: &dyn Method) -> Vec<f64> {
    let (normal, attack) = (phrases(NORMAL, NOISE, 60, 3), phrases(ATTACK, NOISE, 40, 4));
    let (normal, attack) = (method.score(&examples(&normal)), method.score(&examples(&attack)));
    assert!(normal.iter().chain(&attack).all(|s| s.is_finite()), "{kind}");
    let auc = auc(&normal, &attack);
    // One tree asks about one n-gram at a time.
    let enough = if kind == Kind::DecisionTree { 0.9 } else { 0.97 };
    assert!(auc > enough, "{kind}: AUC {auc}");
    if let Some(at) = method.decision() {
        let right = normal.iter().filter(|s| **s <= at).count() + attack.iter().filter(|s| **s > at).count();
        assert!(right >= 95, "{kind}: {right} of 100 on their side of {at}");
    }
    [normal, attack].concat()
}

#[test]
fn every_method_separates_the_planted_case_and_repeats_itself() {
    let (normal, attack) = (phrases(NORMAL, NOISE, 120, 1), phrases(ATTACK, NOISE, 60, 2));
    let (normal, attack) = (examples(&normal), examples(&attack));
    for kind in Kind::ALL {
        let runs: Vec<_> = (0..2).map(|_| fit(kind, &normal, 7).map(|m| separates(kind, m.as_ref()))).collect();
        match &runs[..] {
            [Ok(a), Ok(b)] => assert_eq!(a, b, "{kind}"),
            _ => assert!(!kind.learns_from_normal(), "{kind}: {runs:?}"),
        }
        let runs: Vec<_> = (0..2).map(|_| fit_labelled(kind, &normal, &attack, 7).map(|m| separates(kind, m.as_ref()))).collect();
        match &runs[..] {
            [Ok(a), Ok(b)] => assert_eq!(a, b, "{kind}"),
            _ => assert!(!kind.learns_from_labels(), "{kind}: {runs:?}"),
        }
    }
}

#[test]
fn what_a_protocol_lacks_is_said() {
    let calls = tokens(&[1, 2, 3]);
    let some = [example(&calls)];
    let text = |r: Result<Box<dyn Method>, FitError>| r.err().map(|e| e.to_string()).unwrap_or_default();
    assert_eq!(
        text(fit(Kind::DecisionTree, &some, 1)),
        "decision-tree cannot be fitted in the normal-only protocol: it separates classes, and there is only one"
    );
    assert_eq!(
        text(fit_labelled(Kind::Stide, &some, &some, 1)),
        "stide cannot be fitted in the labelled protocol: it has no use for labels"
    );
    assert_eq!(text(fit(Kind::Ngram, &[], 1)), "ngram: no normal example to learn from");
    assert_eq!(text(fit_labelled(Kind::Svm, &some, &[], 1)), "svm: no attack example to learn from");
}

#[test]
fn one_example_of_one_call_is_enough_for_every_method() {
    let (one, other) = (tokens(&[1]), tokens(&[2]));
    let (one, other) = ([example(&one)], [example(&other)]);
    for kind in Kind::ALL {
        let methods = [
            kind.learns_from_normal().then(|| fit(kind, &one, 1)),
            kind.learns_from_labels().then(|| fit_labelled(kind, &one, &other, 1)),
        ];
        for method in methods.into_iter().flatten() {
            let scores = method.expect("fits").score(&[one[0], other[0]]);
            assert!(scores.iter().all(|s| s.is_finite()), "{kind}: {scores:?}");
            assert!(scores[0] <= scores[1], "{kind}: {scores:?}");
        }
    }
}

#[test]
fn names_are_those_of_the_command_line() {
    use clap::ValueEnum as _;
    for kind in Kind::ALL {
        assert_eq!(kind.to_possible_value().expect("none is hidden").get_name(), kind.as_str());
    }
    assert_eq!(Kind::value_variants(), Kind::ALL);
}
