//! What a language model is to everybody else.
//!
//! In: windows as classes. Out: surprisals, and at the most surprising calls what was expected.
//! Never: a name, a threshold, a file. What implements it: `fused` here, and the reference in the crate that learns.

use crate::detect::vocab::{BOS, Vocabulary};
use crate::detect::window::{CALLS, CONTEXT, Window};

/// Below this many nats, ln 2, a call was itself the likeliest: nothing was expected instead.
pub const OWN: f32 = std::f32::consts::LN_2;

/// Classes in the longest window: a start, the context and the calls but the last.
pub const LONGEST: usize = CONTEXT + CALLS;

/// A window as classes: `targets[i]` is what follows `inputs[..=i]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Encoded {
    /// What the model is shown, 1 to [`LONGEST`] classes.
    pub inputs: Vec<i64>,
    /// What followed; as long as `inputs`.
    pub targets: Vec<i64>,
    /// Targets before this one are context: the model may learn from them, they are not scored.
    pub scored_from: usize,
}

impl Encoded {
    /// Encodes a window.
    pub fn new(window: &Window, vocabulary: &Vocabulary) -> Self {
        // A window always has a context or a start; a start is supposed where a caller breaks that.
        let start = (window.from_start || window.context.is_empty()).then_some(BOS);
        let context = window.context.iter().map(|t| vocabulary.class(*t));
        let calls = window.calls.iter().map(|t| vocabulary.class(*t));
        let all: Vec<i64> = start.into_iter().chain(context).chain(calls).collect();
        let targets = all[1..].to_vec();
        let scored_from = targets.len() - window.calls.len();
        let mut inputs = all;
        inputs.pop();
        Self { inputs, targets, scored_from }
    }

    /// The same calls, as if the thread had begun with them: what an agent shows that takes a thread up in its middle.
    #[must_use]
    pub fn without_context(mut self) -> Self {
        self.inputs.drain(..self.scored_from);
        self.targets.drain(..self.scored_from);
        self.scored_from = 0;
        if let Some(first) = self.inputs.first_mut() {
            *first = BOS;
        }
        self
    }

    /// The targets that are scored: the window's calls.
    pub fn scored(&self) -> &[i64] {
        &self.targets[self.scored_from..]
    }
}

/// What a model says of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// −ln probability of each call, nats. A call that training never saw has the unknown class's
    /// probability shared among all unseen calls.
    pub nll: Vec<f32>,
    /// The most surprising calls of those with at least [`OWN`] nats, most surprising first.
    pub top: Vec<Position>,
}

/// What a model expected at one call.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    /// The call's place in its window.
    pub index: usize,
    /// Likeliest classes with their probabilities, likeliest first.
    pub expected: Vec<(i64, f32)>,
}

/// A model could not answer.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The library that computes failed.
    #[error("computing failed: {0}")]
    Compute(String),
    /// The weights are not of this model.
    #[error("the weights do not fit: {0}")]
    Weights(String),
}

/// Gives calls their probability.
///
/// Not `Send` on purpose: tensors must stay with one thread; see [`crate::inference`].
pub trait LanguageModel {
    /// Judges windows; one answer for each, in order.
    fn judge(&self, windows: &[Encoded]) -> Result<Vec<Judged>, ModelError>;
}

/// Sizes of an LSTM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Sizes {
    /// Width of a token's embedding, 1 to 4,096.
    pub embedding: u32,
    /// Width of the hidden state, 1 to 4,096.
    pub hidden: u32,
}

impl Sizes {
    /// Within the documented range: a damaged file must not make a model of any size.
    pub fn are_valid(self) -> bool {
        [self.embedding, self.hidden].iter().all(|n| (1..=4096).contains(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::vocab::UNKNOWN;
    use surprisal_proto::token::Token;

    #[test]
    fn targets_follow_inputs() {
        let [a, b, unseen] = [1, 2, 3].map(Token);
        let v = Vocabulary::new([a, b]);
        let check = |from_start, context: &[Token], calls: &[Token], inputs: &[i64], targets: &[i64], scored_from| {
            let window =
                Window { first_sequence: 0, started_ns: 0, from_start, context: context.to_vec(), calls: calls.to_vec() };
            let e = Encoded::new(&window, &v);
            assert_eq!((e.inputs.as_slice(), e.targets.as_slice(), e.scored_from), (inputs, targets, scored_from));
            assert_eq!(e.scored().len(), calls.len());
            let alone = Window { from_start: true, context: vec![], ..window };
            assert_eq!(e.without_context(), Encoded::new(&alone, &v));
        };
        check(true, &[], &[a, unseen], &[BOS, 3], &[3, UNKNOWN], 0);
        check(true, &[b], &[a], &[BOS, 4], &[4, 3], 1);
        check(false, &[b, b, unseen], &[a, b], &[4, 4, UNKNOWN, 3], &[4, UNKNOWN, 3, 4], 2);
        check(false, &[a; CONTEXT], &[a; CALLS], &[3; LONGEST - 1], &[3; LONGEST - 1], CONTEXT - 1);
        check(true, &[a; CONTEXT], &[a], &[&[BOS][..], &[3; CONTEXT]].concat(), &[3; CONTEXT + 1], CONTEXT);
    }
}
