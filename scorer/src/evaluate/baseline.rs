//! Other ways of telling strange calls from normal ones, to stand beside the LSTM in the same table. *Pure.*
//!
//! In: sequences of calls, and which of them are normal. Out: a number for each sequence. Never: a verdict; what
//! is served is the scorer's own model. [`fit::fit`] sees normal examples only, [`fit::fit_labelled`] both kinds; neither
//! sees what is scored later. The same examples and seed give the same numbers.
//!
//! | method | learns from normal only | learns from both |
//! |---|---|---|
//! | [`method::Kind::Stide`] | share of n-grams never seen | |
//! | [`method::Kind::Ngram`] | mean surprisal under an n-gram model | mean log ratio of two such models |
//! | [`method::Kind::NearestSet`] | distance to the nearest set of calls | distance to normal's less that to attacks' |
//! | [`method::Kind::DecisionTree`] | | share of attacks in the leaf |
//! | [`method::Kind::KMeans`] | distance to the nearest centroid | share of attacks in the cluster |
//! | [`method::Kind::NaiveBayes`] | mean surprisal under independent calls | log odds |
//! | [`method::Kind::Svm`] | one-class SVM | signed distance to the margin |
//! | [`method::Kind::IsolationForest`] | how few cuts isolate it | |
//! | [`method::Kind::RandomForest`] | | mean share of attacks in the leaves |

mod decision_tree;
mod features;
pub mod fit;
mod isolation_forest;
mod k_means;
pub mod method;
mod naive_bayes;
pub mod nearest_set;
pub mod ngram;
mod random_forest;
pub mod stide;
mod svm;
#[cfg(test)]
mod toy;
