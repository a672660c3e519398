//! Support vector machines over how often each call is made. *Pure.*
//!
//! In: examples. Out: the signed distance to the border, in units of the kernel: of normal's support, or of the margin
//! between normal and attack. Never: the order of calls.
//!
//! Sources: Schölkopf et al., 2001, for one class; Cortes and Vapnik, 1995, for two; both solved by Platt's sequential
//! minimal optimisation with the pair that violates the conditions most (Keerthi et al., 2001). Own code: smartcore's
//! has no one-class form, and `linfa-svm` brings a second linear algebra (ndarray) for the eighty lines of `solve`. The kernel is Gaussian over the roots of the calls'
//! shares, its width the data's variance (scikit-learn's `scale`).

use crate::evaluate::baseline::features::{Features, Scale, sample, sample_both};
use crate::evaluate::baseline::method::{Example, Method};

/// Calls counted at most.
const FEATURES: usize = 500;
/// Examples learned from at most: their kernel is held whole, 64 MB.
const EXAMPLES: usize = 4000;
/// At most this share of normal examples lies outside (ν).
const OUTSIDE: f64 = 0.05;
/// What an example on the wrong side costs (C).
const COST: f64 = 10.0;
/// How far the conditions may be violated.
const TOLERANCE: f64 = 1e-3;
/// Steps at most: far more than needed, so that bad data cannot hold it for ever.
const STEPS: usize = 1_000_000;

/// A sum of kernels around support vectors, less an offset.
struct Machine {
    features: Features,
    gamma: f64,
    support: Vec<(Vec<f32>, f64)>,
    offset: f64,
}

impl Machine {
    /// The problem's solution, where `target` and `limit` say what it is: see [`solve`].
    fn fit(features: Features, rows: Vec<Vec<f32>>, signs: &[f64], start: Vec<f64>, limit: f64, linear: f64) -> Self {
        let gamma = gamma(&rows);
        let kernel: Vec<Vec<f32>> = rows.iter().map(|a| rows.iter().map(|b| gaussian(gamma, a, b) as f32).collect()).collect();
        let (weights, offset) = solve(&kernel, signs, start, limit, linear);
        let support = rows.into_iter().zip(signs.iter().zip(weights).map(|(s, w)| s * w)).filter(|(_, w)| *w != 0.0).collect();
        Self { features, gamma, support, offset }
    }

    fn value(&self, example: &Example<'_>) -> f64 {
        let row = self.features.row(example, Scale::Root);
        self.support.iter().map(|(s, weight)| weight * gaussian(self.gamma, s, &row)).sum::<f64>() - self.offset
    }
}

/// How far outside normal's support.
pub(super) struct OneClass(Machine);

impl OneClass {
    pub(super) fn fit(normal: &[Example<'_>], seed: u64) -> Self {
        let normal = sample(normal, EXAMPLES, seed);
        let features = Features::choose(&[&normal], 1, FEATURES);
        let rows = features.rows(&normal, Scale::Root);
        // Weights that sum to ν n, the first ones full: where the solver may begin.
        let mut left = OUTSIDE * rows.len() as f64;
        let full = |_: &Vec<f32>| {
            let weight = left.clamp(0.0, 1.0);
            left -= weight;
            weight
        };
        let start: Vec<f64> = rows.iter().map(full).collect();
        let signs = vec![1.0; rows.len()];
        Self(Machine::fit(features, rows, &signs, start, 1.0, 0.0))
    }
}

impl Method for OneClass {
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        examples.iter().map(|e| -self.0.value(e)).collect()
    }
}

/// How far on the attacks' side.
pub(super) struct TwoClass(Machine);

impl TwoClass {
    pub(super) fn fit(normal: &[Example<'_>], attack: &[Example<'_>], seed: u64) -> Self {
        let (normal, attack) = sample_both(normal, attack, EXAMPLES, seed);
        let features = Features::choose(&[&normal, &attack], 1, FEATURES);
        let signs = [vec![-1.0; normal.len()], vec![1.0; attack.len()]].concat();
        let rows = features.rows(&[normal, attack].concat(), Scale::Root);
        let start = vec![0.0; rows.len()];
        Self(Machine::fit(features, rows, &signs, start, COST, -1.0))
    }
}

impl Method for TwoClass {
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        examples.iter().map(|e| self.0.value(e)).collect()
    }

    fn decision(&self) -> Option<f64> {
        Some(0.0)
    }
}

fn gaussian(gamma: f64, a: &[f32], b: &[f32]) -> f64 {
    let squared: f32 = a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum();
    (-gamma * f64::from(squared)).exp()
}

/// One by the sum of all columns' variances; 1 where nothing varies.
fn gamma(rows: &[Vec<f32>]) -> f64 {
    let n = rows.len() as f64;
    let mean_square = rows.iter().flatten().map(|x| f64::from(*x).powi(2)).sum::<f64>() / n;
    let mean = |column: usize| rows.iter().map(|row| f64::from(row[column])).sum::<f64>() / n;
    let square_mean: f64 = (0..rows[0].len()).map(|c| mean(c).powi(2)).sum();
    let variance = mean_square - square_mean;
    if variance > 1e-9 { 1.0 / variance } else { 1.0 }
}

/// Minimises ½ Σ wᵢ wⱼ sᵢ sⱼ kᵢⱼ + `linear` Σ wᵢ for weights of 0 to `limit` that keep Σ sᵢ wᵢ what it is at `start`.
/// Returns the weights and the offset.
fn solve(kernel: &[Vec<f32>], signs: &[f64], start: Vec<f64>, limit: f64, linear: f64) -> (Vec<f64>, f64) {
    let mut weights = start;
    // −sᵢ ∂/∂wᵢ: largest among those that may grow in direction s, smallest among those that may shrink, are equal at the end.
    let mut pull: Vec<f64> = signs.iter().map(|s| -s * linear).collect();
    for (j, weight) in weights.iter().enumerate().filter(|(_, w)| **w > 0.0) {
        for (p, k) in pull.iter_mut().zip(&kernel[j]) {
            *p -= weight * signs[j] * f64::from(*k);
        }
    }
    let extremes = |weights: &[f64], pull: &[f64]| {
        let (mut up, mut down) = ((0, f64::NEG_INFINITY), (0, f64::INFINITY));
        for (i, ((w, p), s)) in weights.iter().zip(pull).zip(signs).enumerate() {
            if (if *s > 0.0 { *w < limit } else { *w > 0.0 }) && *p > up.1 {
                up = (i, *p);
            }
            if (if *s > 0.0 { *w > 0.0 } else { *w < limit }) && *p < down.1 {
                down = (i, *p);
            }
        }
        (up, down)
    };
    for _ in 0..STEPS {
        let ((i, most), (j, least)) = extremes(&weights, &pull);
        // Also when one side is empty: then they are infinite.
        if most - least < TOLERANCE {
            break;
        }
        let curvature = f64::from(kernel[i][i]) + f64::from(kernel[j][j]) - 2.0 * f64::from(kernel[i][j]);
        let room = |at: usize, up: bool| if up == (signs[at] > 0.0) { limit - weights[at] } else { weights[at] };
        let step = ((most - least) / curvature.max(1e-12)).min(room(i, true)).min(room(j, false));
        weights[i] += signs[i] * step;
        weights[j] -= signs[j] * step;
        // Exactly at a bound, or it would be chosen again for a rounding error.
        for at in [i, j] {
            weights[at] = if weights[at] < 1e-12 {
                0.0
            } else if weights[at] > limit - 1e-12 {
                limit
            } else {
                weights[at]
            };
        }
        for (p, (ki, kj)) in pull.iter_mut().zip(kernel[i].iter().zip(&kernel[j])) {
            *p -= step * (f64::from(*ki) - f64::from(*kj));
        }
    }
    let ((_, most), (_, least)) = extremes(&weights, &pull);
    // What is free of both bounds lies between; where nothing is, any value between serves.
    let offset = match (most.is_finite(), least.is_finite()) {
        (true, true) => -f64::midpoint(most, least),
        (true, false) => -most,
        (false, true) => -least,
        (false, false) => 0.0,
    };
    (weights, offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points on a line.
    const POINTS: [f32; 6] = [0.0, 0.5, 1.0, 2.0, 2.5, 4.0];

    fn kernel() -> Vec<Vec<f32>> {
        POINTS.iter().map(|a| POINTS.iter().map(|b| gaussian(0.5, &[*a], &[*b]) as f32).collect()).collect()
    }

    fn values(signs: &[f64], (weights, offset): (Vec<f64>, f64)) -> Vec<f64> {
        let value =
            |row: &Vec<f32>| row.iter().zip(signs.iter().zip(&weights)).map(|(k, (s, w))| f64::from(*k) * s * w).sum::<f64>();
        kernel().iter().map(|row| value(row) - offset).collect()
    }

    #[track_caller]
    fn near(got: &[f64], expect: &[f64]) {
        assert!(got.iter().zip(expect).all(|(g, e)| (g - e).abs() < 2e-3), "{got:?} {expect:?}");
    }

    #[test]
    fn two_classes_as_scikit_learn_has_them() {
        // SVC(C=1, gamma=0.5).decision_function
        let signs = [-1.0, -1.0, 1.0, -1.0, 1.0, 1.0];
        near(
            &values(&signs, solve(&kernel(), &signs, vec![0.0; 6], 1.0, -1.0)),
            &[-1.0000, -0.8538, -0.5070, 0.2489, 0.5928, 1.0000],
        );
    }

    #[test]
    fn one_class_as_scikit_learn_has_it() {
        // OneClassSVM(nu=0.5, gamma=0.5).decision_function
        let start = vec![1.0, 1.0, 1.0, 0.0, 0.0, 0.0];
        near(
            &values(&[1.0; 6], solve(&kernel(), &[1.0; 6], start, 1.0, 0.0)),
            &[-0.0537, 0.0134, -0.0000, 0.0000, 0.0000, -0.0661],
        );
    }

    #[test]
    fn the_width_is_the_variance() {
        let rows = [vec![0.0, 1.0], vec![2.0, 1.0], vec![4.0, 1.0]];
        assert!((gamma(&rows) - 3.0 / 8.0).abs() < 1e-9);
        assert!((gamma(&rows[..1]) - 1.0).abs() < 1e-9);
    }
}
