//! One decision tree over 1-3-grams. *Pure.*
//!
//! In: normal examples and attacks. Out: the share of attacks in the leaf that an example falls into. Never: a tree
//! without labels.
//!
//! Quinlan's C4.5 (Weka's J48) splits by information gain and leaves at least two examples in a leaf; so does this one,
//! but it does not prune.

use crate::evaluate::baseline::features::{Features, Scale, matrix, sample_both};
use crate::evaluate::baseline::method::{Example, FitError, Kind, Method};
use smartcore::linalg::basic::arrays::Array as _;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::tree::decision_tree_classifier::{DecisionTreeClassifier, DecisionTreeClassifierParameters, SplitCriterion};

/// n-grams counted.
const FEATURES: usize = 500;
/// Examples learned from at most.
const EXAMPLES: usize = 20_000;

pub(super) struct DecisionTree {
    features: Features,
    tree: DecisionTreeClassifier<f32, u32, DenseMatrix<f32>, Vec<u32>>,
}

impl DecisionTree {
    pub(super) fn fit(normal: &[Example<'_>], attack: &[Example<'_>], seed: u64) -> Result<Self, FitError> {
        let (normal, attack) = sample_both(normal, attack, EXAMPLES, seed);
        let features = Features::choose(&[&normal, &attack], 3, FEATURES);
        let labels = [vec![0; normal.len()], vec![1; attack.len()]].concat();
        let rows = features.rows(&[normal, attack].concat(), Scale::Share);
        let parameters = DecisionTreeClassifierParameters {
            criterion: SplitCriterion::Entropy,
            max_depth: None,
            min_samples_leaf: 2,
            min_samples_split: 4,
            seed: Some(seed),
        };
        let tree = DecisionTreeClassifier::fit(&matrix(&rows), &labels, parameters).map_err(|source| FitError::Library {
            kind: Kind::DecisionTree,
            rows: rows.len(),
            columns: features.columns(),
            source,
        })?;
        Ok(Self { features, tree })
    }
}

impl Method for DecisionTree {
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        let share = |rows: &Vec<Vec<f32>>| {
            let shares = self.tree.predict_proba(&matrix(rows)).expect("a fitted tree predicts rows of its width");
            (0..rows.len()).map(|row| *shares.get((row, 1))).collect::<Vec<f64>>()
        };
        // In portions: a million windows must not lie in memory as rows.
        examples.chunks(4096).flat_map(|part| share(&self.features.rows(part, Scale::Share))).collect()
    }

    fn decision(&self) -> Option<f64> {
        Some(0.5)
    }
}
