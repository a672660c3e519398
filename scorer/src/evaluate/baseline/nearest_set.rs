//! The nearest known set of calls: has any sequence used about these calls before? *Pure.*
//!
//! In: normal sequences, then others. Out: of each, [`crate::detect::novelty`]'s distance to the nearest known set, 0 to 1. Never: order
//! or frequency. Only scored calls count.

use crate::detect::novelty::KnownSets;
use crate::evaluate::baseline::method::{Example, Method};
use std::collections::HashMap;

/// The different sets of calls of normal sequences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearestSet(KnownSets);

impl NearestSet {
    /// Learns the sets of `normal`.
    pub fn fit(normal: &[Example<'_>]) -> Self {
        Self(KnownSets::learn(normal.iter().map(Example::scored)))
    }
}

impl Method for NearestSet {
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        let mut known = HashMap::new();
        examples
            .iter()
            .map(|example| {
                let set = self.0.set(example.scored());
                *known.entry(set).or_insert_with_key(|set| self.0.distance(set))
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
    use super::*;
    use crate::evaluate::baseline::toy::{example, tokens};

    #[test]
    fn only_scored_calls_make_the_set() {
        let training = [tokens(&[1, 2, 3, 1]), tokens(&[4, 5])];
        let training: Vec<_> = training.iter().map(|t| example(t)).collect();
        let known = NearestSet::fit(&training);
        for (calls, context, distance) in [(&[9, 8, 4, 5][..], 2, 0.0), (&[4, 1], 0, 0.5), (&[9], 0, 1.0)] {
            let calls = tokens(calls);
            assert_eq!(known.score(&[Example { context, ..example(&calls) }]), [distance]);
        }
    }
}
