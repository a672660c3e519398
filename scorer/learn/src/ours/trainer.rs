//! Fits the project's own methods.
//!
//! In: examples, with or without labels. Out: a method. Never: a profile.

use crate::ours::base::{How, remembered};
use crate::ours::methods::{Combined, Plain, Ratio, Vote};
use surprisal_scorer::detect::novelty::{KnownSets, Novelty};
use surprisal_scorer::evaluate::baseline::fit::fit_labelled;
use surprisal_scorer::evaluate::baseline::method::{Example, Kind, Method};
use surprisal_scorer::evaluate::methods::{Fitter, Ours, Unfit};
use surprisal_scorer::train::progress::Progress;

/// Fits one of [`Ours`].
#[derive(Clone, Copy, Debug)]
pub struct Trainer {
    /// Which.
    pub ours: Ours,
    /// How.
    pub how: How,
}

impl Fitter for Trainer {
    fn key(&self) -> &str {
        self.ours.as_str()
    }

    fn fit(&self, normal: &[Example<'_>], seed: u64, progress: &Progress) -> Result<Box<dyn Method>, Unfit> {
        let base = remembered(normal, self.how, seed, progress)?;
        Ok(match self.ours {
            Ours::Lstm => Box::new(Plain(base)),
            Ours::Surprisal => {
                let known = KnownSets::learn(normal.iter().map(Example::scored));
                Box::new(Combined { novelty: Novelty::new(known, base.nats_per_distance), base })
            }
        })
    }

    fn fit_labelled(
        &self,
        normal: &[Example<'_>],
        attack: &[Example<'_>],
        seed: u64,
        progress: &Progress,
    ) -> Result<Box<dyn Method>, Unfit> {
        let bases = (remembered(normal, self.how, seed, progress)?, remembered(attack, self.how, seed, progress)?);
        let ratio = Ratio { normal: bases.0, attack: bases.1 };
        Ok(match self.ours {
            Ours::Lstm => Box::new(ratio),
            Ours::Surprisal => {
                let fit = |kind| fit_labelled(kind, normal, attack, seed);
                Box::new(Vote { forest: fit(Kind::RandomForest)?, margin: fit(Kind::Svm)?, ratio })
            }
        })
    }
}
