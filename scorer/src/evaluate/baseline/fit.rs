//! Fits a method by its kind. *Pure.*
//!
//! In: examples. Out: a [`Method`], or why there is none. Never: what is scored later.

use crate::evaluate::baseline::method::{Example, FitError, Kind, Method};
use crate::evaluate::baseline::nearest_set::{self, NearestSet};
use crate::evaluate::baseline::ngram::{self, Ngram};
use crate::evaluate::baseline::stide::{self, Stide};
use crate::evaluate::baseline::{decision_tree, isolation_forest, k_means, naive_bayes, random_forest, svm};

/// Fits `kind` to normal examples alone. `seed` is of everything random.
pub fn fit(kind: Kind, normal: &[Example<'_>], seed: u64) -> Result<Box<dyn Method>, FitError> {
    let not_applicable = |why| FitError::NotApplicable { kind, protocol: "normal-only", why };
    if !kind.learns_from_normal() {
        return Err(not_applicable("it separates classes, and there is only one"));
    }
    if normal.is_empty() {
        return Err(FitError::Empty { kind, what: "normal" });
    }
    Ok(match kind {
        Kind::Stide => Box::new(Stide::fit(normal, stide::LENGTH)),
        Kind::Ngram => Box::new(Ngram::fit(normal, ngram::ORDER)),
        Kind::NearestSet => Box::new(NearestSet::fit(normal)),
        Kind::KMeans => Box::new(k_means::Distance::fit(normal, seed)?),
        Kind::NaiveBayes => Box::new(naive_bayes::Surprisal::fit(normal)),
        Kind::Svm => Box::new(svm::OneClass::fit(normal, seed)),
        Kind::IsolationForest => Box::new(isolation_forest::IsolationForest::fit(normal, seed)),
        Kind::DecisionTree | Kind::RandomForest => return Err(not_applicable("it needs labels")),
    })
}

/// Fits `kind` to examples of both kinds. `seed` is of everything random.
pub fn fit_labelled(kind: Kind, normal: &[Example<'_>], attack: &[Example<'_>], seed: u64) -> Result<Box<dyn Method>, FitError> {
    let not_applicable = |why| FitError::NotApplicable { kind, protocol: "labelled", why };
    for (what, examples) in [("normal", normal), ("attack", attack)] {
        if examples.is_empty() {
            return Err(FitError::Empty { kind, what });
        }
    }
    Ok(match kind {
        Kind::Ngram => Box::new(ngram::Ratio::fit(normal, attack)),
        Kind::NearestSet => Box::new(nearest_set::Nearer::fit(normal, attack)),
        Kind::DecisionTree => Box::new(decision_tree::DecisionTree::fit(normal, attack, seed)?),
        Kind::KMeans => Box::new(k_means::Clusters::fit(normal, attack, seed)?),
        Kind::NaiveBayes => Box::new(naive_bayes::LogOdds::fit(normal, attack)?),
        Kind::Svm => Box::new(svm::TwoClass::fit(normal, attack, seed)),
        Kind::RandomForest => Box::new(random_forest::RandomForest::fit(normal, attack, seed)?),
        Kind::Stide | Kind::IsolationForest => return Err(not_applicable("it has no use for labels")),
    })
}
