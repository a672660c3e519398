//! Isolation forest: how few random cuts set an example apart? *Pure.*
//!
//! In: normal examples, then others. Out: 2^(−mean depth / expected depth), 0 to 1: near 1 for what is cut off at once.
//! Never: a label.
//!
//! Source: Liu, Ting and Zhou, 2008, with their 100 trees of 256 examples. Own code:
//! `extended-isolation-forest` takes the number of features at compile time, here the data decide it; smartcore has none.

use crate::evaluate::baseline::features::{Features, Scale};
use crate::evaluate::baseline::method::{Example, Method};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::index};

/// Calls counted at most.
const FEATURES: usize = 500;
const TREES: usize = 100;
/// Examples of a tree.
const SAMPLE: usize = 256;

pub(super) struct IsolationForest {
    features: Features,
    trees: Vec<Tree>,
    /// Mean depth of an unsuccessful search among the examples of a tree; more than 0.
    expected: f64,
}

/// Nodes, the root first.
type Tree = Vec<Node>;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Node {
    /// Rows whose number in `column` is less than `at` go to the next node, others to node `right`.
    Cut { column: usize, at: f32, right: usize },
    /// Ends here, with the depth that the rows in it would still have needed.
    Leaf(f64),
}

impl IsolationForest {
    pub(super) fn fit(normal: &[Example<'_>], seed: u64) -> Self {
        let features = Features::choose(&[normal], 1, FEATURES);
        let mut random = StdRng::seed_from_u64(seed);
        let size = SAMPLE.min(normal.len());
        let limit = (size as f64).log2().ceil() as u32;
        let grow_one = |_| {
            let chosen = index::sample(&mut random, normal.len(), size);
            let mut rows: Vec<Vec<f32>> = chosen.iter().map(|i| features.row(&normal[i], Scale::Share)).collect();
            let mut tree = Tree::new();
            grow(&mut tree, &mut rows, limit, &mut random);
            tree
        };
        let trees = (0..TREES).map(grow_one).collect();
        Self { features, trees, expected: expected_depth(size).max(1.0) }
    }
}

impl Method for IsolationForest {
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        let score = |example| {
            let row = self.features.row(example, Scale::Share);
            let mean = self.trees.iter().map(|tree| depth(tree, &row)).sum::<f64>() / self.trees.len() as f64;
            (-mean / self.expected).exp2()
        };
        examples.iter().map(score).collect()
    }
}

/// Adds to `tree` what separates `rows` by at most `limit` cuts.
fn grow(tree: &mut Tree, rows: &mut [Vec<f32>], limit: u32, random: &mut StdRng) {
    let range = |column: usize| {
        let values = rows.iter().map(|row| row[column]);
        values.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
    };
    let columns = rows.first().map_or(0, Vec::len);
    let varied: Vec<_> = (0..columns).map(|c| (c, range(c))).filter(|(_, (low, high))| low < high).collect();
    if limit == 0 || varied.is_empty() {
        tree.push(Node::Leaf(expected_depth(rows.len())));
        return;
    }
    let (column, (low, high)) = varied[random.random_range(0..varied.len())];
    // Above the least, so that both sides have rows.
    let at = random.random_range(low..high).max(low.next_up());
    let place = tree.len();
    tree.push(Node::Leaf(0.0));
    rows.sort_by(|a, b| a[column].total_cmp(&b[column]));
    let (left, right) = rows.split_at_mut(rows.partition_point(|row| row[column] < at));
    grow(tree, left, limit - 1, random);
    tree[place] = Node::Cut { column, at, right: tree.len() };
    grow(tree, right, limit - 1, random);
}

fn depth(tree: &Tree, row: &[f32]) -> f64 {
    let (mut place, mut depth) = (0, 0.0);
    loop {
        match tree[place] {
            Node::Leaf(more) => return depth + more,
            Node::Cut { column, at, right } => {
                place = if row[column] < at { place + 1 } else { right };
                depth += 1.0;
            }
        }
    }
}

/// Mean depth of an unsuccessful search in a binary tree of `n`: 2 H(n−1) − 2 (n−1) / n.
fn expected_depth(n: usize) -> f64 {
    let harmonic: f64 = (1..n).map(|i| 1.0 / i as f64).sum();
    if n < 2 { 0.0 } else { 2.0 * harmonic - 2.0 * (n - 1) as f64 / n as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_depths_by_hand() {
        for (n, expect) in [(0, 0.0), (1, 0.0), (2, 1.0), (3, 3.0 - 4.0 / 3.0), (4, 2.0 * (11.0 / 6.0) - 1.5)] {
            assert!((expected_depth(n) - expect).abs() < 1e-12, "{n}");
        }
        // The approximation by Euler's constant that Liu et al. use gives 10.245 for 256.
        assert!((expected_depth(256) - 10.245).abs() < 0.01);
    }

    #[test]
    fn a_tree_sends_each_row_to_its_own_leaf() {
        let rows: Vec<Vec<f32>> = (0..8_u8).map(|i| vec![f32::from(i), 0.0]).collect();
        let mut tree = Tree::new();
        grow(&mut tree, &mut rows.clone(), 100, &mut StdRng::seed_from_u64(1));
        assert_eq!(tree.len(), 15);
        assert!(tree.iter().all(|n| !matches!(n, Node::Leaf(more) if *more > 0.0)));
        // The depths of the leaves of a full binary tree: Kraft's sum is 1.
        let kraft: f64 = rows.iter().map(|row| (-depth(&tree, row)).exp2()).sum();
        assert!((kraft - 1.0).abs() < 1e-12);
        // Equal rows end in one leaf, with the depth that they lack.
        let mut tree = Tree::new();
        grow(&mut tree, &mut [vec![1.0], vec![1.0]], 100, &mut StdRng::seed_from_u64(1));
        assert_eq!(tree, [Node::Leaf(1.0)]);
    }
}
