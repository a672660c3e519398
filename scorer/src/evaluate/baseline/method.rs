//! What a method is to everybody else. *Pure.*
//!
//! In: [`Example`]s. Out: a number for each; which methods there are, and why one was not fitted. Never: how one works.

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

    /// Whether it can be fitted to normal examples alone.
    pub fn learns_from_normal(self) -> bool {
        !matches!(self, Self::DecisionTree | Self::RandomForest)
    }

    /// Whether it can be fitted to examples of both kinds.
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
