//! Other ways of telling strange calls from normal ones, to stand beside the LSTM in the same table. *Pure.*
//!
//! In: sequences of calls, and which of them are normal. Out: a number for each sequence. Never: a verdict; what
//! is served is the scorer's own model. [`fit`] sees normal examples only, [`fit_labelled`] both kinds; neither
//! sees what is scored later. The same examples and seed give the same numbers.
//!
//! | method | learns from normal only | learns from both |
//! |---|---|---|
//! | [`Kind::Stide`] | share of n-grams never seen | |
//! | [`Kind::Ngram`] | mean surprisal under an n-gram model | mean log ratio of two such models |
//! | [`Kind::NearestSet`] | distance to the nearest set of calls | distance to normal's less that to attacks' |
//! | [`Kind::DecisionTree`] | | share of attacks in the leaf |
//! | [`Kind::KMeans`] | distance to the nearest centroid | share of attacks in the cluster |
//! | [`Kind::NaiveBayes`] | mean surprisal under independent calls | log odds |
//! | [`Kind::Svm`] | one-class SVM | signed distance to the margin |
//! | [`Kind::IsolationForest`] | how few cuts isolate it | |
//! | [`Kind::RandomForest`] | | mean share of attacks in the leaves |

mod decision_tree;
mod features;
mod isolation_forest;
mod k_means;
mod naive_bayes;
mod nearest_set;
mod ngram;
mod random_forest;
mod stide;
mod svm;
#[cfg(test)]
mod toy;

pub use nearest_set::NearestSet;
pub use ngram::Ngram;
pub use stide::Stide;

use surprisal_proto::token::Token;

/// A sequence to learn from or to score: a whole trace, or a window with what came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Example<'a> {
    /// Calls in order, context first; at least one.
    pub calls: &'a [Token],
    /// How many leading calls are context: shown, but what they say of themselves is not scored. Less than `calls.len()`.
    pub context: usize,
    /// `calls[0]` is the first call of its thread.
    pub from_start: bool,
}

impl<'a> Example<'a> {
    /// What is scored: at least one call.
    pub fn scored(&self) -> &'a [Token] {
        &self.calls[self.context..]
    }
}

/// Something that was fitted, and scores.
pub trait Method {
    /// One number for each example, in order: higher is stranger, never NaN.
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64>;

    /// The number above which the method itself calls an example an attack; `None` if it leaves that to a calibration,
    /// as all do that never saw an attack.
    fn decision(&self) -> Option<f64> {
        None
    }
}

/// Which method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Kind {
    /// Share of never-seen n-grams
    Stide,
    /// Interpolated n-gram model
    Ngram,
    /// Nearest training sequence by the set of calls
    NearestSet,
    /// Decision tree
    DecisionTree,
    /// k-means
    KMeans,
    /// Naive Bayes
    NaiveBayes,
    /// Support vector machine
    Svm,
    /// Isolation forest
    IsolationForest,
    /// Random forest
    RandomForest,
}

impl Kind {
    /// All of them, in the order of a table.
    pub const ALL: [Self; 9] = [
        Self::Stide,
        Self::Ngram,
        Self::NearestSet,
        Self::DecisionTree,
        Self::KMeans,
        Self::NaiveBayes,
        Self::Svm,
        Self::IsolationForest,
        Self::RandomForest,
    ];

    /// Its key on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stide => "stide",
            Self::Ngram => "ngram",
            Self::NearestSet => "nearest-set",
            Self::DecisionTree => "decision-tree",
            Self::KMeans => "k-means",
            Self::NaiveBayes => "naive-bayes",
            Self::Svm => "svm",
            Self::IsolationForest => "isolation-forest",
            Self::RandomForest => "random-forest",
        }
    }

    /// Whether [`fit`] can fit it.
    pub fn learns_from_normal(self) -> bool {
        !matches!(self, Self::DecisionTree | Self::RandomForest)
    }

    /// Whether [`fit_labelled`] can fit it.
    pub fn learns_from_labels(self) -> bool {
        !matches!(self, Self::Stide | Self::IsolationForest)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a method was not fitted.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// The method asks for what the protocol does not give.
    #[error("{kind} cannot be fitted in the {protocol} protocol: {why}")]
    NotApplicable {
        /// The method.
        kind: Kind,
        /// `normal-only` or `labelled`.
        protocol: &'static str,
        /// What is missing, or would not be used.
        why: &'static str,
    },
    /// There is nothing to learn from.
    #[error("{kind}: no {what} example to learn from")]
    Empty {
        /// The method.
        kind: Kind,
        /// `normal` or `attack`.
        what: &'static str,
    },
    /// The library refused.
    #[error("{kind}: fitting {rows} examples with {columns} features")]
    Library {
        /// The method.
        kind: Kind,
        /// Examples.
        rows: usize,
        /// Features.
        columns: usize,
        /// What it said.
        #[source]
        source: smartcore::error::Failed,
    },
}

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
