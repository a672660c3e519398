//! Naive Bayes: how likely is each call, whatever came before it? *Pure.*
//!
//! In: examples. Out: from normal ones, the mean surprisal under a multinomial of calls; from both kinds, the log odds of
//! attack. Never: the order of calls.

use crate::evaluate::baseline::features::{Features, Scale, matrix};
use crate::evaluate::baseline::method::{Example, FitError, Kind, Method};
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::naive_bayes::multinomial::{MultinomialNB, MultinomialNBParameters};

/// Calls counted at most.
const FEATURES: usize = 500;
/// What is added to each count (Laplace).
const ADDED: f64 = 1.0;

/// Surprisal under normal's multinomial.
pub(super) struct Surprisal {
    features: Features,
    /// Nats, by column.
    surprisals: Vec<f64>,
}

impl Surprisal {
    pub(super) fn fit(normal: &[Example<'_>]) -> Self {
        let features = Features::choose(&[normal], 1, FEATURES);
        let mut sums = vec![ADDED; features.columns()];
        for example in normal {
            sums.iter_mut().zip(features.counts(example)).for_each(|(sum, count)| *sum += f64::from(count));
        }
        let all: f64 = sums.iter().sum();
        Self { features, surprisals: sums.into_iter().map(|sum| -(sum / all).ln()).collect() }
    }
}

impl Method for Surprisal {
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        let mean = |e| self.features.row(e, Scale::Share).iter().zip(&self.surprisals).map(|(p, s)| f64::from(*p) * s).sum();
        examples.iter().map(mean).collect()
    }
}

/// ln p(attack | calls) − ln p(normal | calls).
pub(super) struct LogOdds {
    features: Features,
    /// ln p(attack) − ln p(normal).
    prior: f64,
    /// ln p(call | attack) − ln p(call | normal), by column.
    odds: Vec<f64>,
}

impl LogOdds {
    pub(super) fn fit(normal: &[Example<'_>], attack: &[Example<'_>]) -> Result<Self, FitError> {
        let features = Features::choose(&[normal, attack], 1, FEATURES);
        let rows: Vec<Vec<u32>> = normal.iter().chain(attack).map(|e| features.counts(e)).collect();
        let labels = [vec![0_u32; normal.len()], vec![1; attack.len()]].concat();
        let parameters = MultinomialNBParameters { alpha: ADDED, priors: None };
        let bayes = MultinomialNB::<u32, u32, DenseMatrix<u32>, Vec<u32>>::fit(&matrix(&rows), &labels, parameters);
        let columns = features.columns();
        let bayes = bayes.map_err(|source| FitError::Library { kind: Kind::NaiveBayes, rows: rows.len(), columns, source })?;
        let [of_normal, of_attack] = &bayes.feature_log_prob()[..] else { unreachable!("there are two labels") };
        let odds = of_attack.iter().zip(of_normal).map(|(a, n)| a - n).collect();
        Ok(Self { features, prior: (attack.len() as f64 / normal.len() as f64).ln(), odds })
    }
}

impl Method for LogOdds {
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        let odds = |e| self.prior + self.features.counts(e).iter().zip(&self.odds).map(|(n, o)| f64::from(*n) * o).sum::<f64>();
        examples.iter().map(odds).collect()
    }

    fn decision(&self) -> Option<f64> {
        Some(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::baseline::toy::{example, tokens};

    #[test]
    fn by_hand() {
        let (a, b) = (tokens(&[1, 1, 2, 1]), tokens(&[2, 3]));
        let scored = tokens(&[1, 3, 9]);
        // Of 6 calls and 4 columns: 1 three times, 2 twice, 3 once, others never.
        let got = Surprisal::fit(&[example(&a), example(&b)]).score(&[example(&scored)])[0];
        let expect = -((4.0_f64 / 10.0).ln() + (2.0_f64 / 10.0).ln() + (1.0_f64 / 10.0).ln()) / 3.0;
        assert!((got - expect).abs() < 1e-6, "{got} {expect}");
        // Normal: 4 calls + 4; attack: 2 calls + 4; no prior.
        let got = LogOdds::fit(&[example(&a)], &[example(&b)]).expect("fits").score(&[example(&scored)])[0];
        let odds = |attack: f64, normal: f64| ((attack / 6.0) / (normal / 8.0)).ln();
        let expect = odds(1.0, 4.0) + odds(2.0, 1.0) + odds(1.0, 1.0);
        assert!((got - expect).abs() < 1e-9, "{got} {expect}");
    }
}
