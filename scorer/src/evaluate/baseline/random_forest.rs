//! A random forest over 1-3-grams. *Pure.*
//!
//! In: normal examples and attacks. Out: the mean over all trees of the share of attacks in the leaf. Never: a forest
//! without labels.
//!
//! Source: Breiman, 2001. Trees of regression on 0 and 1: halving the variance there is halving Gini's impurity, and the
//! leaves' means are the shares that a vote of classifiers would round away.

use crate::evaluate::baseline::features::{Features, Scale, matrix, sample_both};
use crate::evaluate::baseline::method::{Example, FitError, Kind, Method};
use smartcore::ensemble::random_forest_regressor::{RandomForestRegressor, RandomForestRegressorParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;

/// n-grams counted.
const FEATURES: usize = 1000;
const TREES: usize = 100;
/// Examples learned from at most.
const EXAMPLES: usize = 20_000;

pub(super) struct RandomForest {
    features: Features,
    forest: RandomForestRegressor<f32, f64, DenseMatrix<f32>, Vec<f64>>,
}

impl RandomForest {
    pub(super) fn fit(normal: &[Example<'_>], attack: &[Example<'_>], seed: u64) -> Result<Self, FitError> {
        let (normal, attack) = sample_both(normal, attack, EXAMPLES, seed);
        let features = Features::choose(&[&normal, &attack], 3, FEATURES);
        let labels = [vec![0.0; normal.len()], vec![1.0; attack.len()]].concat();
        let rows = features.rows(&[normal, attack].concat(), Scale::Share);
        let parameters = RandomForestRegressorParameters {
            max_depth: None,
            min_samples_leaf: 1,
            min_samples_split: 2,
            n_trees: TREES,
            m: Some(features.columns().isqrt().max(1)),
            keep_samples: false,
            seed,
        };
        let forest = RandomForestRegressor::fit(&matrix(&rows), &labels, parameters).map_err(|source| FitError::Library {
            kind: Kind::RandomForest,
            rows: rows.len(),
            columns: features.columns(),
            source,
        })?;
        Ok(Self { features, forest })
    }
}

impl Method for RandomForest {
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        let share =
            |rows: &Vec<Vec<f32>>| self.forest.predict(&matrix(rows)).expect("a fitted forest predicts rows of its width");
        examples.chunks(4096).flat_map(|part| share(&self.features.rows(part, Scale::Share))).collect()
    }

    fn decision(&self) -> Option<f64> {
        Some(0.5)
    }
}
