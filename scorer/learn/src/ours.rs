//! The project's own model as a method among others.
//!
//! [`trainer`] fits; `base` is a trained model, `methods` what is made of one; `windows` cuts examples.
//!
//! In: examples. Out: an LSTM taught by `teach`, as `train` teaches it, and what it says. Never: a profile,
//! another rule for windows than the one that is served.
//!
//! Long examples (traces) are cut by [`surprisal_scorer::detect::window`]'s rule; windows are scored as they are.
//!
//! - `lstm`: surprisal per call, the mean over all scored calls.
//! - `surprisal`: windows' scores as served ([`surprisal_scorer::detect::score::window`]), their mean weighted by their lengths. The set whose novelty
//!   counts is the whole example's; held-out examples say for how much, as [`surprisal_scorer::detect::novelty`] has it.
//!
//! With labels, `lstm` is the difference of two LSTMs' mean surprisals: normal's less the attacks' (a log likelihood ratio
//! per call); `surprisal` is the mean of three probabilities: a random forest's, a support vector machine's and that of this
//! ratio, the latter two by the logistic function.

pub mod base;
mod methods;
pub mod trainer;
mod windows;

#[cfg(test)]
mod tests;
