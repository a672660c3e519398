//! Sequences as rows of numbers, for methods that know nothing of sequences. *Pure.*
//!
//! In: examples. Out: how often each of a fixed choice of n-grams occurs in them. Never: an n-gram chosen by what is
//! scored later, or by its label.

use crate::evaluate::baseline::method::Example;
use rand::{SeedableRng as _, rngs::StdRng, seq::index};
use smartcore::linalg::basic::matrix::DenseMatrix;
use std::collections::{HashMap, HashSet};
use surprisal_proto::token::Token;

/// Bits of a token in a key, one more than it has: 0 stands for "no call".
const BITS: usize = 17;

/// Which column counts which n-gram; the last counts the single calls that have no column.
#[derive(Clone, Debug)]
pub(super) struct Features {
    longest: usize,
    columns: HashMap<u64, usize>,
}

/// What a count becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Its share of the scored calls.
    Share,
    /// The root of that share: rows of single calls have length 1.
    Root,
}

impl Features {
    /// The `most` n-grams of up to `longest` calls (1 to 3) that occur in the most examples.
    pub(super) fn choose(examples: &[&[Example<'_>]], longest: usize, most: usize) -> Self {
        let longest = longest.clamp(1, 3);
        let mut occurs: HashMap<u64, u32> = HashMap::new();
        let mut seen = HashSet::new();
        for example in examples.iter().copied().flatten() {
            seen.clear();
            each_gram(example, longest, |key| {
                if seen.insert(key) {
                    *occurs.entry(key).or_default() += 1;
                }
            });
        }
        let mut occurs: Vec<_> = occurs.into_iter().collect();
        occurs.sort_unstable_by_key(|&(key, n)| (std::cmp::Reverse(n), key));
        occurs.truncate(most);
        Self { longest, columns: occurs.into_iter().map(|(key, _)| key).zip(0..).collect() }
    }

    /// Columns of a row.
    pub(super) fn columns(&self) -> usize {
        self.columns.len() + 1
    }

    /// How often each n-gram ends in what is scored.
    pub(super) fn counts(&self, example: &Example<'_>) -> Vec<u32> {
        let mut row = vec![0; self.columns()];
        let others = self.columns.len();
        each_gram(example, self.longest, |key| match self.columns.get(&key) {
            Some(&column) => row[column] += 1,
            None if key >> BITS == 0 => row[others] += 1,
            None => {}
        });
        row
    }

    /// A row of numbers.
    pub(super) fn row(&self, example: &Example<'_>, scale: Scale) -> Vec<f32> {
        let length = example.scored().len() as f32;
        let number = |count: u32| match scale {
            Scale::Share => count as f32 / length,
            Scale::Root => (count as f32 / length).sqrt(),
        };
        self.counts(example).into_iter().map(number).collect()
    }

    /// A row for each example, in order.
    pub(super) fn rows(&self, examples: &[Example<'_>], scale: Scale) -> Vec<Vec<f32>> {
        examples.iter().map(|e| self.row(e, scale)).collect()
    }
}

/// `rows` as the library wants them; all of one length, at least one.
pub(super) fn matrix<T: smartcore::numbers::basenum::Number>(rows: &Vec<Vec<T>>) -> DenseMatrix<T> {
    DenseMatrix::from_2d_vec(rows).expect("rows of one length make a matrix")
}

/// At most `most` of `examples`, in order, the same ones for the same seed.
pub(super) fn sample<'a>(examples: &[Example<'a>], most: usize, seed: u64) -> Vec<Example<'a>> {
    if examples.len() <= most {
        return examples.to_vec();
    }
    let mut random = StdRng::seed_from_u64(seed);
    let mut chosen = index::sample(&mut random, examples.len(), most).into_vec();
    chosen.sort_unstable();
    chosen.into_iter().map(|i| examples[i]).collect()
}

/// Samples of both classes, at most `most` together, in the proportion they have.
pub(super) fn sample_both<'a>(
    normal: &[Example<'a>],
    attack: &[Example<'a>],
    most: usize,
    seed: u64,
) -> (Vec<Example<'a>>, Vec<Example<'a>>) {
    let all = normal.len() + attack.len();
    let part = |n: usize| if all <= most { n } else { (n * most / all).max(1) };
    (sample(normal, part(normal.len()), seed), sample(attack, part(attack.len()), seed))
}

/// Calls `found` with the key of each n-gram of 1 to `longest` calls that ends in what is scored.
fn each_gram(example: &Example<'_>, longest: usize, mut found: impl FnMut(u64)) {
    for end in example.context..example.calls.len() {
        for length in 1..=longest.min(end + 1) {
            found(key(&example.calls[end + 1 - length..=end]));
        }
    }
}

fn key(gram: &[Token]) -> u64 {
    gram.iter().fold(0, |key, token| (key << BITS) | (u64::from(token.0) + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::baseline::toy::{example, tokens};

    #[test]
    fn the_commonest_ngrams_are_chosen_and_counted() {
        let (a, b) = (tokens(&[1, 2, 1, 2, 3]), tokens(&[1, 2, 4]));
        let examples = [example(&a), example(&b)];
        // In both: 1, 2 and 1 2; the next by key of those in one is 3.
        let features = Features::choose(&[&examples], 2, 4);
        let expect = [(key(&a[..1]), 0), (key(&a[1..2]), 1), (key(&a[..2]), 2), (key(&a[4..]), 3)];
        assert_eq!(features.columns, HashMap::from(expect));
        let scored = tokens(&[1, 2, 9, 1, 2, 3, 3, 2]);
        assert_eq!(features.counts(&example(&scored)), [2, 3, 2, 2, 1]);
        // An n-gram counts where its last call is scored.
        assert_eq!(features.counts(&Example { context: 4, ..example(&scored) }), [0, 2, 1, 2, 0]);
        assert_eq!(features.row(&Example { context: 4, ..example(&scored) }, Scale::Share), [0.0, 0.5, 0.25, 0.5, 0.0]);
    }

    #[test]
    fn a_sample_keeps_order_and_proportion() {
        let calls: Vec<_> = (0..50).map(|n| tokens(&[n])).collect();
        let examples: Vec<_> = calls.iter().map(|c| example(c)).collect();
        let some = sample(&examples, 10, 3);
        assert_eq!(some.len(), 10);
        assert!(some.is_sorted_by_key(|e| e.calls[0]));
        assert_eq!(some, sample(&examples, 10, 3));
        assert_eq!(sample(&examples, 50, 3), examples);
        let (normal, attack) = sample_both(&examples[..40], &examples[40..], 10, 3);
        assert_eq!((normal.len(), attack.len()), (8, 2));
    }
}
