//! Which calls were used together before: the nearest known set of calls. *Pure.*
//!
//! In: sequences of normal calls, then others. Out: of each, one less the greatest cosine between its set of calls and a known
//! one: 0 for a set that was seen, 1 for one that shares nothing; and what that counts for in nats. Never: order or
//! frequency: that is the model's.
//!
//! The cosine of two sets is |A ∩ B| / √(|A| |B|). An attacker who repeats harmless calls dilutes a mean surprisal; a set does
//! not change by repetition. The two are brought to one unit by what held-out normal windows show: a standard deviation of the
//! distance counts for as many nats a call as one of the mean surprisal.

use crate::detect::vocab::Vocabulary;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use surprisal_proto::token::Token;

/// The different sets of calls of normal sequences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownSets {
    /// Which bit stands for a token.
    bits: HashMap<Token, usize>,
    /// Distinct, ascending.
    sets: Vec<Set>,
}

/// A set of calls.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Set {
    /// All calls in it, those that have no bit included.
    size: u32,
    bits: Box<[u64]>,
}

impl KnownSets {
    /// Learns the sets of these sequences.
    pub fn learn<'a>(sequences: impl IntoIterator<Item = &'a [Token]> + Clone) -> Self {
        let tokens: BTreeSet<Token> = sequences.clone().into_iter().flatten().copied().collect();
        let mut this = Self { bits: tokens.into_iter().zip(0..).collect(), sets: Vec::new() };
        let sets: BTreeSet<Set> = sequences.into_iter().map(|calls| this.set(calls)).collect();
        this.sets = sets.into_iter().collect();
        this
    }

    /// Different sets known.
    pub fn len(&self) -> usize {
        self.sets.len()
    }

    /// None is known.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// The set of these calls, in whatever order and number.
    pub fn set(&self, calls: &[Token]) -> Set {
        let mut bits = vec![0; self.bits.len().div_ceil(64)].into_boxed_slice();
        let mut others = BTreeSet::new();
        for token in calls {
            match self.bits.get(token) {
                Some(&bit) => bits[bit / 64] |= 1 << (bit % 64),
                None => drop(others.insert(token)),
            }
        }
        let size = bits.iter().map(|word: &u64| word.count_ones()).sum::<u32>() + others.len() as u32;
        Set { size, bits }
    }

    /// From the nearest known set: 0 to 1.
    pub fn distance(&self, set: &Set) -> f64 {
        // Squared cosines as fractions: exact, so that equal sets give exactly 0.
        let nearest = self.sets.iter().map(|known| {
            let shared: u32 = known.bits.iter().zip(&set.bits).map(|(a, b)| (a & b).count_ones()).sum();
            f64::from(shared).powi(2) / (f64::from(known.size) * f64::from(set.size))
        });
        1.0 - nearest.fold(0.0, f64::max).sqrt()
    }

    fn tokens<'a>(&'a self, set: &'a Set) -> BTreeSet<Token> {
        self.bits.iter().filter(|(_, bit)| set.bits[**bit / 64] >> (**bit % 64) & 1 == 1).map(|(token, _)| *token).collect()
    }
}

/// What distances count for.
#[derive(Clone, Debug, PartialEq)]
pub struct Novelty {
    known: KnownSets,
    nats_per_distance: f64,
}

/// [`Novelty`] as a profile keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Nats a call that a distance of 1 counts for, finite and at least 0.
    pub nats_per_distance: f64,
    /// The known sets, as places in the vocabulary, ascending.
    pub sets: Vec<Vec<u16>>,
}

/// What is kept is damaged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeptError {
    /// It is no number of nats.
    #[error("nats_per_distance is no finite number of at least 0")]
    Nats,
    /// A set is empty or names a call that the vocabulary lacks.
    #[error("set {0} of calls is empty or not of this vocabulary")]
    Set(usize),
}

impl Novelty {
    /// Distances from `known`, a distance of 1 counting for `nats_per_distance`.
    pub fn new(known: KnownSets, nats_per_distance: f64) -> Self {
        Self { known, nats_per_distance }
    }

    /// What the calls of a window or trace count for by being used together, nats a call: 0 or above.
    pub fn nats(&self, calls: &[Token]) -> f64 {
        self.nats_per_distance * self.known.distance(&self.known.set(calls))
    }

    /// As a profile of this vocabulary keeps it.
    pub fn keep(&self, vocabulary: &Vocabulary) -> Kept {
        let places: HashMap<Token, u16> = vocabulary.tokens().iter().copied().zip(0..).collect();
        let places = |set: &Set| self.known.tokens(set).iter().filter_map(|t| places.get(t).copied()).collect();
        Kept { nats_per_distance: self.nats_per_distance, sets: self.known.sets.iter().map(places).collect() }
    }

    /// From what a profile of this vocabulary keeps.
    pub fn restore(kept: &Kept, vocabulary: &Vocabulary) -> Result<Self, KeptError> {
        if !(kept.nats_per_distance.is_finite() && kept.nats_per_distance >= 0.0) {
            return Err(KeptError::Nats);
        }
        let tokens = vocabulary.tokens();
        let set = |(n, places): (usize, &Vec<u16>)| {
            let set: Option<Vec<Token>> = places.iter().map(|p| tokens.get(usize::from(*p)).copied()).collect();
            set.filter(|s| !s.is_empty()).ok_or(KeptError::Set(n))
        };
        let sets = kept.sets.iter().enumerate().map(set).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::new(KnownSets::learn(sets.iter().map(Vec::as_slice)), kept.nats_per_distance))
    }
}

/// How many nats a call a distance of 1 counts for: the ratio of the standard deviations of the mean surprisals and the distances
/// of the same held-out examples, each with how often it occurred; at most `most`.
pub fn nats_per_distance(held_out: &[(f64, f64, u64)], most: f64) -> f64 {
    let ratio = deviation(held_out.iter().map(|(s, _, n)| (*s, *n))) / deviation(held_out.iter().map(|(_, d, n)| (*d, *n)));
    if ratio.is_finite() { ratio.min(most) } else { most }
}

fn deviation(values: impl Iterator<Item = (f64, u64)> + Clone) -> f64 {
    let total: f64 = values.clone().map(|(_, n)| n as f64).sum();
    let mean = values.clone().map(|(v, n)| v * n as f64).sum::<f64>() / total;
    (values.map(|(v, n)| (v - mean).powi(2) * n as f64).sum::<f64>() / total).sqrt()
}

#[cfg(test)]
mod tests;
