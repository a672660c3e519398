//! An interpolated n-gram model: how surprising is each call, given up to nine before it? *Pure.*
//!
//! In: normal sequences, then others. Out: surprisals in nats, and their mean. Never: the arguments' meaning;
//! a token is a token.
//!
//! Source: Witten and Bell, 1991 (method C): p(w | h) = (c(hw) + T(h) p(w | h')) / (c(h) + T(h)), where T(h) is how many
//! different calls followed h and h' is h without its first call; below the empty history all tokens of training, and
//! one more for all others, are equally likely.

use crate::evaluate::baseline::method::{Example, Method};
use std::collections::HashMap;
use surprisal_proto::token::Token;

/// The longest n-gram counted.
pub(super) const ORDER: usize = 10;

/// The history of no calls.
const ROOT: u32 = 0;

/// Counts of n-grams as a trie: a node is an n-gram, its children are those one call longer.
#[derive(Clone, Debug)]
pub struct Ngram {
    order: usize,
    nodes: Vec<Node>,
    children: HashMap<(u32, Token), u32>,
    /// Probability of every token before anything is counted.
    base: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// How often it occurred.
    count: u32,
    /// How often a counted call followed.
    followed: u32,
    /// How many different calls did.
    kinds: u32,
}

impl Ngram {
    /// Counts n-grams of up to `order` calls (at least 1) that end in the scored part of `normal`.
    pub fn fit(normal: &[Example<'_>], order: usize) -> Self {
        let nodes = vec![Node::default()];
        let mut model = Self { order: order.max(1), nodes, children: HashMap::new(), base: 1.0 };
        for example in normal {
            let mut suffixes = vec![ROOT];
            for (at, &token) in example.calls.iter().enumerate() {
                suffixes = model.count(&suffixes, token, at >= example.context);
            }
        }
        model.base = 1.0 / f64::from(model.nodes[ROOT as usize].kinds + 1);
        model
    }

    /// Different n-grams seen, of all lengths.
    pub fn known(&self) -> usize {
        self.nodes.len() - 1
    }

    /// −ln p of each scored call, nats; finite.
    pub fn surprisals(&self, example: &Example<'_>) -> Vec<f64> {
        let mut surprisals = Vec::with_capacity(example.scored().len());
        let mut suffixes = vec![ROOT];
        let mut next = Vec::with_capacity(self.order);
        for (at, &token) in example.calls.iter().enumerate() {
            let mut p = self.base;
            next.clear();
            next.push(ROOT);
            for &history in &suffixes {
                let Node { followed, kinds, .. } = self.nodes[history as usize];
                let child = self.children.get(&(history, token)).copied();
                let count = child.map_or(0, |c| self.nodes[c as usize].count);
                if followed > 0 {
                    p = (f64::from(count) + f64::from(kinds) * p) / (f64::from(followed) + f64::from(kinds));
                }
                // An n-gram never seen begins no longer one that was.
                next.extend(child.filter(|_| next.len() < self.order));
            }
            std::mem::swap(&mut suffixes, &mut next);
            if at >= example.context {
                surprisals.push(-p.ln());
            }
        }
        surprisals
    }

    /// Mean surprisal of the scored calls, nats.
    pub fn mean(&self, example: &Example<'_>) -> f64 {
        let surprisals = self.surprisals(example);
        surprisals.iter().sum::<f64>() / surprisals.len() as f64
    }

    /// `token` after the n-grams `suffixes`, shortest first. Returns the n-grams that now end here.
    fn count(&mut self, suffixes: &[u32], token: Token, counted: bool) -> Vec<u32> {
        let mut next = vec![ROOT];
        for &history in suffixes {
            let fresh = self.nodes.len() as u32;
            let child = *self.children.entry((history, token)).or_insert(fresh);
            if child == fresh {
                self.nodes.push(Node::default());
            }
            if counted {
                let new = self.nodes[child as usize].count == 0;
                self.nodes[child as usize].count += 1;
                self.nodes[history as usize].followed += 1;
                self.nodes[history as usize].kinds += u32::from(new);
            }
            if next.len() < self.order {
                next.push(child);
            }
        }
        next
    }
}

impl Method for Ngram {
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        let mut known: HashMap<&Example<'_>, f64> = HashMap::new();
        // Recorded sequences repeat themselves.
        examples.iter().map(|example| *known.entry(example).or_insert_with(|| self.mean(example))).collect()
    }
}

/// Which of two models expects a sequence less.
#[derive(Clone, Debug)]
pub(super) struct Ratio {
    normal: Ngram,
    attack: Ngram,
}

impl Ratio {
    pub(super) fn fit(normal: &[Example<'_>], attack: &[Example<'_>]) -> Self {
        Self { normal: Ngram::fit(normal, ORDER), attack: Ngram::fit(attack, ORDER) }
    }
}

impl Method for Ratio {
    /// Mean surprisal under normal's model less that under the attacks'.
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        self.normal.score(examples).into_iter().zip(self.attack.score(examples)).map(|(n, a)| n - a).collect()
    }

    fn decision(&self) -> Option<f64> {
        Some(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::baseline::toy::{example, tokens};

    #[track_caller]
    fn check(order: usize, calls: &[u16], context: usize, expect: &[f64]) {
        let training = [tokens(&[1, 2, 1, 2]), tokens(&[1, 3])];
        let training: Vec<_> = training.iter().map(|t| example(t)).collect();
        let calls = tokens(calls);
        let scored = Example { context, ..example(&calls) };
        let got: Vec<f64> = Ngram::fit(&training, order).surprisals(&scored).iter().map(|s| (-s).exp()).collect();
        assert_eq!(got.len(), expect.len());
        assert!(got.iter().zip(expect).all(|(g, e)| (g - e).abs() < 1e-12), "{got:?} {expect:?}");
    }

    #[test]
    fn probabilities_by_hand() {
        // Alone: 1 three times, 2 twice, 3 once, of 6; 3 kinds; base 1/4.
        let (one, two, three, other) = (3.75 / 9.0, 2.75 / 9.0, 1.75 / 9.0, 0.75 / 9.0);
        check(1, &[1, 2, 3, 9], 0, &[one, two, three, other]);
        // After 1: 2 twice, 3 once; 2 kinds. After 2: 1 once; 1 kind. After 3 and 9: nothing was seen.
        let after_1 = |count: f64, shorter: f64| (count + 2.0 * shorter) / 5.0;
        let after_2 = |count: f64, shorter: f64| f64::midpoint(count, shorter);
        check(2, &[1, 2, 1, 3], 0, &[one, after_1(2.0, two), after_2(1.0, one), after_1(1.0, three)]);
        check(2, &[1, 9, 2, 2], 0, &[one, after_1(0.0, other), two, after_2(0.0, two)]);
        check(2, &[3, 1], 0, &[three, one]);
        // After 2 1: 2 once; 1 kind.
        check(3, &[2, 1, 2], 2, &[f64::midpoint(1.0, after_1(2.0, two))]);
        // Context is read, not scored.
        check(2, &[1, 2], 1, &[after_1(2.0, two)]);
    }

    #[test]
    fn context_is_not_counted_twice() {
        let calls = tokens(&[1, 2, 3, 4]);
        let whole = Ngram::fit(&[example(&calls)], 3);
        let halves = [Example { calls: &calls[..2], ..example(&calls) }, Example { context: 2, ..example(&calls) }];
        let halves = Ngram::fit(&halves, 3);
        for scored in [&[1, 2, 3, 4][..], &[4, 4, 2, 3], &[2, 3]] {
            let scored = tokens(scored);
            assert_eq!(whole.surprisals(&example(&scored)), halves.surprisals(&example(&scored)));
        }
    }

    #[test]
    fn probabilities_of_all_calls_sum_to_one() {
        let calls = tokens(&[1, 2, 3, 1, 2, 2, 1, 3, 3, 1, 2]);
        let model = Ngram::fit(&[example(&calls)], 4);
        for history in [&[][..], &[1], &[1, 2], &[3, 1, 2], &[9, 1], &[2, 9]] {
            // 9 stands for every call that was not seen.
            let p: f64 = [1, 2, 3, 9]
                .iter()
                .map(|&next| {
                    let calls = tokens(&[history, &[next]].concat());
                    (-model.surprisals(&Example { context: history.len(), ..example(&calls) })[0]).exp()
                })
                .sum();
            assert!((p - 1.0).abs() < 1e-12, "{history:?}: {p}");
        }
    }
}
