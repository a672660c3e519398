//! STIDE: which n-grams did training never see? *Pure.*
//!
//! In: normal sequences, then others. Out: of each, the share of its n-grams that are new. Never: a frequency;
//! seen once is seen.
//!
//! Source: Forrest et al., "A sense of self for Unix processes", 1996; Hofmeyr et al., 1998. Here an n-gram is scored
//! if its last call is; a sequence shorter than n calls is one gram, known if a known one begins with it.

use crate::evaluate::baseline::method::{Example, Method};
use surprisal_proto::token::Token;

/// n of the literature: the shortest that found every attack in Hofmeyr et al.
pub(super) const LENGTH: usize = 6;

/// Bits of a token in a key, one more than it has: 0 stands for "no call".
const BITS: usize = 17;
/// The longest n-gram whose key fits.
const LONGEST: usize = 128 / BITS;

/// The n-grams of normal sequences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stide {
    length: usize,
    /// Ascending; the first call in the highest bits.
    known: Vec<u128>,
}

impl Stide {
    /// Learns all n-grams of `length` calls in `normal`, context included; `length` is cut to 1 to 7.
    pub fn fit(normal: &[Example<'_>], length: usize) -> Self {
        let length = length.clamp(1, LONGEST);
        let mut known: Vec<u128> = Vec::new();
        let mut sorted = 0;
        for example in normal {
            known.extend(grams(example.calls, length).map(|gram| key(gram, length)));
            // So that repetitive training does not hold every repetition at once.
            if known.len() > 2 * sorted + (1 << 20) {
                known.sort_unstable();
                known.dedup();
                sorted = known.len();
            }
        }
        known.sort_unstable();
        known.dedup();
        Self { length, known }
    }

    /// Distinct n-grams learned.
    pub fn known(&self) -> usize {
        self.known.len()
    }

    /// How many n-grams end in what is scored, and how many of them are new.
    pub fn count(&self, example: &Example<'_>) -> (usize, usize) {
        let first = (example.context + 1).saturating_sub(self.length);
        let (mut all, mut new) = (0, 0);
        for gram in grams(&example.calls[first..], self.length) {
            all += 1;
            new += usize::from(!self.contains(gram));
        }
        (all, new)
    }

    /// Whether a known n-gram is `gram`, or begins with it if it is shorter.
    fn contains(&self, gram: &[Token]) -> bool {
        let low = key(gram, self.length);
        // All keys that begin with the gram: the calls that it lacks may be anything.
        let high = low | ((1u128 << (BITS * (self.length - gram.len()))) - 1);
        let at = self.known.partition_point(|&k| k < low);
        self.known.get(at).is_some_and(|&k| k <= high)
    }
}

impl Method for Stide {
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        examples
            .iter()
            .map(|example| {
                let (all, new) = self.count(example);
                new as f64 / all as f64
            })
            .collect()
    }
}

/// All n-grams; the whole where it is shorter than one. At least one, if there is a call.
fn grams(calls: &[Token], length: usize) -> std::slice::Windows<'_, Token> {
    calls.windows(length.min(calls.len()).max(1))
}

/// The calls from the highest bits down, as if `length` long.
fn key(gram: &[Token], length: usize) -> u128 {
    let key = gram.iter().fold(0, |key, token| (key << BITS) | (u128::from(token.0) + 1));
    key << (BITS * (length - gram.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::baseline::toy::{example, tokens};

    #[track_caller]
    fn check(training: &[&[u16]], length: usize, calls: &[u16], context: usize, (all, new): (usize, usize)) {
        let training: Vec<_> = training.iter().map(|t| tokens(t)).collect();
        let training: Vec<_> = training.iter().map(|t| example(t)).collect();
        let stide = Stide::fit(&training, length);
        let calls = tokens(calls);
        let scored = Example { context, ..example(&calls) };
        assert_eq!(stide.count(&scored), (all, new), "{training:?} {calls:?}");
        assert_eq!(stide.score(&[scored]), [new as f64 / all as f64]);
    }

    #[test]
    fn new_ngrams_by_hand() {
        let learned: &[&[u16]] = &[&[1, 2, 3, 4], &[2, 3, 9]];
        // Known: 123 234 239.
        check(learned, 3, &[1, 2, 3, 4], 0, (2, 0));
        check(learned, 3, &[1, 2, 3, 9, 1], 0, (3, 1));
        check(learned, 3, &[4, 3, 2, 1], 0, (2, 2));
        // Only n-grams that end in the scored part, which may begin in the context.
        check(learned, 3, &[9, 9, 1, 2, 3, 4], 4, (2, 0));
        check(learned, 3, &[9, 9, 1, 2, 3, 4], 3, (3, 1));
        check(learned, 3, &[9, 1, 2, 3], 1, (2, 1));
        // Shorter than an n-gram: known if one begins so.
        check(learned, 3, &[2, 3], 0, (1, 0));
        check(learned, 3, &[3, 4], 0, (1, 1));
        check(learned, 3, &[7], 0, (1, 1));
        check(&[&[5, 6]], 3, &[5, 6], 0, (1, 0));
        check(&[&[5, 6]], 3, &[5, 6, 7], 0, (1, 1));
        // Numbers at both ends of the range stay apart.
        check(&[&[0, 0, 0xffff]], 3, &[0, 0, 0xffff, 0], 0, (2, 1));
        check(&[&[0xffff, 0, 1, 2, 3, 4, 5]], 7, &[0xffff, 0, 1, 2, 3, 4, 5], 0, (1, 0));
        check(learned, 1, &[1, 9, 7], 0, (3, 1));
    }

    #[test]
    fn repetition_adds_nothing() {
        let calls = tokens(&[1, 2, 1, 2, 1, 2, 1]);
        let stide = Stide::fit(&[example(&calls), example(&calls)], 2);
        assert_eq!(stide.known(), 2);
    }
}
