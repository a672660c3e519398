//! Other ways of telling strange calls from normal ones, to stand beside the LSTM in the same table.
//!
//! In: sequences of calls, and which of them are normal. Out: a number for each sequence. Never: a verdict; what
//! is served is the scorer's own model. None of these sees an attack unless its name says `labelled`.

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

/// Something that was fitted, and scores.
pub trait Method {
    /// One number for each example, in order: higher is stranger, never NaN.
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64>;
}
