//! Examples as windows, and what is made of a window's surprisals. *Pure.*
//!
//! In: examples; surprisals. Out: windows, cut as threads are; a window's score. Never: a model.

use surprisal_proto::token::Token;
use surprisal_scorer::detect::novelty::Novelty;
use surprisal_scorer::detect::score;
use surprisal_scorer::detect::window::{CALLS, CONTEXT, Cut, Cutter, Run, SHORTEST, Window};
use surprisal_scorer::evaluate::baseline::method::Example;

/// What is made of a window's surprisals.
#[derive(Clone, Copy)]
pub(super) enum Mean<'a> {
    /// Their plain mean.
    Plain,
    /// The window's score without novelty.
    Weighted,
    /// The window's score as served; the set is the whole example's.
    Served(&'a Novelty),
}

impl Mean<'_> {
    pub(super) fn novelty(self, example: &Example<'_>) -> f64 {
        if let Self::Served(novelty) = self { novelty.nats(example.scored()) } else { 0.0 }
    }

    pub(super) fn score(self, nll: &[f32], window: &Window, novelty: f64) -> f64 {
        match self {
            Self::Plain => nll.iter().map(|n| f64::from(*n)).sum::<f64>() / nll.len().max(SHORTEST) as f64,
            Self::Weighted | Self::Served(_) => score::window(nll, &window.calls, novelty).nats(),
        }
    }
}

/// An example as windows: itself where it is one.
pub(super) fn windows(example: &Example<'_>) -> Vec<Window> {
    let (context, calls) = example.calls.split_at(example.context);
    if context.len() <= CONTEXT && calls.len() <= CALLS {
        let one = |calls: &[Token]| Window {
            first_sequence: 0,
            started_ns: 0,
            from_start: example.from_start,
            context: context.to_vec(),
            calls: calls.to_vec(),
        };
        return vec![one(calls)];
    }
    let mut cutter = Cutter::default();
    let mut cuts = Vec::new();
    cutter.push(Run { first_sequence: 0, gap: 0, started_ns: 0, calls: example.calls, last: true }, &mut cuts);
    let whole = |cut| if let Cut::Window(window) = cut { Some(window) } else { None };
    cuts.into_iter().filter_map(whole).collect()
}
