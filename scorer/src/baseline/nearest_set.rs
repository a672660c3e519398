//! The nearest known set of calls: has any sequence used about these calls before? *Pure.*
//!
//! In: normal sequences, then others. Out: of each, one less the greatest cosine between its set of calls and a known
//! one: 0 for a set that was seen, 1 for one that shares nothing. Never: order or frequency.
//!
//! The cosine of two sets is |A ∩ B| / √(|A| |B|). Only scored calls count.

use super::{Example, Method};
use std::collections::{BTreeSet, HashMap};
use surprisal_proto::token::Token;

/// The different sets of calls of normal sequences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearestSet {
    /// Which bit stands for a token.
    bits: HashMap<Token, usize>,
    /// Distinct, ascending.
    sets: Vec<Set>,
}

/// A set of calls.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Set {
    /// All calls in it, those that have no bit included.
    size: u32,
    bits: Box<[u64]>,
}

impl NearestSet {
    /// Learns the sets of `normal`.
    pub fn fit(normal: &[Example<'_>]) -> Self {
        let tokens: BTreeSet<Token> = normal.iter().flat_map(|e| e.scored().iter().copied()).collect();
        let mut this = Self { bits: tokens.into_iter().zip(0..).collect(), sets: Vec::new() };
        let sets: BTreeSet<Set> = normal.iter().map(|e| this.set(e)).collect();
        this.sets = sets.into_iter().collect();
        this
    }

    /// Different sets learned.
    pub fn known(&self) -> usize {
        self.sets.len()
    }

    /// 0 to 1.
    pub fn distance(&self, example: &Example<'_>) -> f64 {
        self.distance_of(&self.set(example))
    }

    fn distance_of(&self, set: &Set) -> f64 {
        // Squared cosines as fractions: exact, so that equal sets give exactly 0.
        let nearest = self.sets.iter().map(|known| {
            let shared: u32 = known.bits.iter().zip(&set.bits).map(|(a, b)| (a & b).count_ones()).sum();
            f64::from(shared).powi(2) / (f64::from(known.size) * f64::from(set.size))
        });
        1.0 - nearest.fold(0.0, f64::max).sqrt()
    }

    fn set(&self, example: &Example<'_>) -> Set {
        let mut bits = vec![0; self.bits.len().div_ceil(64)].into_boxed_slice();
        let mut others = BTreeSet::new();
        for token in example.scored() {
            match self.bits.get(token) {
                Some(&bit) => bits[bit / 64] |= 1 << (bit % 64),
                None => drop(others.insert(token)),
            }
        }
        let size = bits.iter().map(|word: &u64| word.count_ones()).sum::<u32>() + others.len() as u32;
        Set { size, bits }
    }
}

impl Method for NearestSet {
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        let mut known = HashMap::new();
        examples
            .iter()
            .map(|example| {
                let set = self.set(example);
                *known.entry(set).or_insert_with_key(|set| self.distance_of(set))
            })
            .collect()
    }
}

/// Which of two classes has the nearer set.
#[derive(Clone, Debug)]
pub(super) struct Nearer {
    normal: NearestSet,
    attack: NearestSet,
}

impl Nearer {
    pub(super) fn fit(normal: &[Example<'_>], attack: &[Example<'_>]) -> Self {
        Self { normal: NearestSet::fit(normal), attack: NearestSet::fit(attack) }
    }
}

impl Method for Nearer {
    /// Distance to normal less that to the attacks.
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        self.normal.score(examples).into_iter().zip(self.attack.score(examples)).map(|(n, a)| n - a).collect()
    }

    /// A set as near to one as to the other is normal.
    fn decision(&self) -> Option<f64> {
        Some(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::toy::{example, tokens};
    use super::*;

    #[track_caller]
    fn check(calls: &[u16], context: usize, cosine_squared: f64) {
        let training = [tokens(&[1, 2, 3, 1]), tokens(&[3, 3, 2, 1]), tokens(&[4, 5])];
        let training: Vec<_> = training.iter().map(|t| example(t)).collect();
        let calls = tokens(calls);
        let scored = Example { context, ..example(&calls) };
        let known = NearestSet::fit(&training);
        assert_eq!(known.known(), 2);
        let got = known.score(&[scored])[0];
        assert!((got - (1.0 - cosine_squared.sqrt())).abs() < 1e-15, "{calls:?}: {got}");
        assert!((got - known.distance(&scored)).abs() < 1e-15);
    }

    #[test]
    fn distances_by_hand() {
        check(&[3, 2, 1], 0, 1.0);
        check(&[5, 5, 4], 0, 1.0);
        check(&[1, 2], 0, 4.0 / 6.0);
        check(&[1, 2, 3, 4], 0, 9.0 / 12.0);
        check(&[4, 1], 0, 1.0 / 4.0);
        // Calls that training never saw make the set larger, each once.
        check(&[4, 5, 9, 9, 8], 0, 4.0 / 8.0);
        check(&[9], 0, 0.0);
        // Context is no part of the set.
        check(&[9, 8, 4, 5], 2, 1.0);
    }

    #[test]
    fn many_different_calls_take_several_words() {
        let (all, odd): (Vec<u16>, Vec<u16>) = ((0..200).collect(), (0..200).step_by(2).collect());
        let (all, odd) = (tokens(&all), tokens(&odd));
        let got = NearestSet::fit(&[example(&all)]).distance(&example(&odd));
        assert!((got - (1.0 - 0.5_f64.sqrt())).abs() < 1e-15);
    }
}
