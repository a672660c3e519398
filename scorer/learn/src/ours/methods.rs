//! What is made of trained models: four methods.
//!
//! In: [`Base`]s. Out: a number for each example. Never: trains.

use crate::ours::base::Base;
use crate::ours::windows::Mean;
use std::rc::Rc;
use surprisal_scorer::detect::novelty::Novelty;
use surprisal_scorer::evaluate::baseline::method::{Example, Method};

/// Log odds that a margin of 1, and a ratio of 1 nat a call, are taken for.
const LOG_ODDS: f64 = 2.0;

/// `lstm`.
pub(super) struct Plain(pub(super) Rc<Base>);

impl Method for Plain {
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        self.0.means(examples, Mean::Plain)
    }
}

/// `surprisal`.
pub(super) struct Combined {
    pub(super) base: Rc<Base>,
    pub(super) novelty: Novelty,
}

impl Method for Combined {
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        self.base.means(examples, Mean::Served(&self.novelty))
    }
}

/// `lstm` with labels.
pub(super) struct Ratio {
    pub(super) normal: Rc<Base>,
    pub(super) attack: Rc<Base>,
}

impl Method for Ratio {
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        let [normal, attack] = [&self.normal, &self.attack].map(|base| base.means(examples, Mean::Plain));
        normal.into_iter().zip(attack).map(|(n, a)| n - a).collect()
    }

    /// As likely under the one as under the other is normal.
    fn decision(&self) -> Option<f64> {
        Some(0.0)
    }
}

/// `surprisal` with labels.
pub(super) struct Vote {
    pub(super) forest: Box<dyn Method>,
    pub(super) margin: Box<dyn Method>,
    pub(super) ratio: Ratio,
}

impl Method for Vote {
    /// 0 to 1; what is above one half is an attack.
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        let probability = |log_odds: f64| 1.0 / (1.0 + (-LOG_ODDS * log_odds).exp());
        let (forest, margin, ratio) = (self.forest.score(examples), self.margin.score(examples), self.ratio.score(examples));
        let each = forest.into_iter().zip(margin).zip(ratio);
        each.map(|((forest, margin), ratio)| (forest + probability(margin) + probability(ratio)) / 3.0).collect()
    }
}
