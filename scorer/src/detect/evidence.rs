//! What in a window was surprising. *Pure.*
//!
//! In: a window, what the model said of its calls. Out: [`Evidence`], and the message of it. Never: a name of a container; which
//! windows are shown is [`crate::judge::verdict::shown`]'s.
//!
//! Which calls of a window are shown, and in which order:
//! 1. Calls that are the same (argument class and all) are one, the first where it was most surprising, with how
//!    often it was that: a call made fifty times must not hide what was made once.
//! 2. Surprisals are compared in whole nats, and from [`BEYOND`] on they are equal, as are those of all calls that
//!    training never saw. A profile learns from some ten thousand to two hundred thousand calls: it has not measured what
//!    happens more rarely than one call in so many, and of calls that it never saw it knows nothing that would tell one
//!    from another (they share the unknown class evenly; where they differ it is by how used to strange calls the
//!    model has got within the window).
//! 3. Among equals, what changes what a process is or can do comes first ([`telling`]), then the higher surprisal,
//!    then the earlier call.
//!
//! None of this touches a score.

use super::telling::{self, Kinds};
use crate::detect::model::{Encoded, Judged};
use crate::detect::score::Score;
use crate::detect::vocab::Vocabulary;
use crate::detect::window::{CALLS, Window};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use surprisal_proto::{names, token::Token, v1};

/// Calls shown of a window.
pub const SHOWN: usize = 5;
/// Calls of a window, at most, at which a model says what it expected instead: all of them. Which of them are shown depends on
/// more than their surprisal, and in most windows few reach [`crate::detect::model::OWN`] nats.
pub const CANDIDATES: usize = CALLS;
/// From here on surprisals are equal, nats: one call in 22,026.
pub const BEYOND: f64 = 10.0;
/// Calls shown before a surprising one.
pub const AFTER: usize = 8;
/// Calls shown that were expected instead.
pub const EXPECTED: usize = 3;

/// One window, and what in it was surprising.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The window.
    pub window: Window,
    /// Its score.
    pub score: Score,
    /// How much of the score its set of calls counts for, nats a call.
    pub novelty: f64,
    /// Most surprising first, the more telling first among equals; at most [`SHOWN`], no call twice.
    pub surprises: Vec<Surprise>,
}

/// One surprising call.
#[derive(Clone, Debug, PartialEq)]
pub struct Surprise {
    /// Its place in the window; where it was made several times, the first where it was most surprising.
    pub index: usize,
    /// −ln of its probability.
    pub nats: f64,
    /// How often this call was made in the window and was as surprising, at least 1.
    pub times: u32,
    /// Training never saw the call.
    pub never_seen: bool,
    /// What was likelier, likeliest first, with probabilities; empty where the call was the likeliest itself.
    pub expected: Vec<(Token, f32)>,
}

/// Surprisal in whole nats, as far as it tells calls apart.
fn level(nats: f64, never_seen: bool) -> u8 {
    if never_seen { BEYOND as u8 } else { nats.clamp(0.0, BEYOND) as u8 }
}

/// What should have stood there: not the call itself, nor a class without a name.
fn expected(index: usize, encoded: &Encoded, judged: &Judged, vocabulary: &Vocabulary) -> Vec<(Token, f32)> {
    let class = encoded.scored().get(index).copied();
    let Some(position) = judged.top.iter().find(|p| p.index == index) else { return Vec::new() };
    position
        .expected
        .iter()
        .filter(|(c, _)| Some(*c) != class)
        .filter_map(|(c, p)| vocabulary.token(*c).map(|t| (t, *p)))
        .take(EXPECTED)
        .collect()
}

/// Nanoseconds since the Unix epoch as the wire has them; absent where a hostile number is no time of day.
pub fn timestamp_ns(ns: u64) -> Option<prost_types::Timestamp> {
    let seconds = i64::try_from(ns / 1_000_000_000).ok()?;
    Some(prost_types::Timestamp { seconds, nanos: (ns % 1_000_000_000) as i32 })
}

impl Evidence {
    /// Collects the evidence of a window that a model has judged. With the score: how much of it the set of calls counts for.
    pub fn of(
        window: &Window,
        encoded: &Encoded,
        judged: &Judged,
        (score, novelty): (Score, f64),
        vocabulary: &Vocabulary,
    ) -> Self {
        // Each call once, with its highest level.
        let mut calls: BTreeMap<Token, (u8, Surprise)> = BTreeMap::new();
        for (index, (call, nats)) in window.calls.iter().zip(&judged.nll).enumerate() {
            let (nats, never_seen) = (f64::from(*nats), !vocabulary.contains(*call));
            let level = level(nats, never_seen);
            let surprise = Surprise { index, nats, times: 1, never_seen, expected: Vec::new() };
            calls
                .entry(*call)
                .and_modify(|(highest, first)| match level.cmp(highest) {
                    std::cmp::Ordering::Less => {}
                    std::cmp::Ordering::Equal => first.times += 1,
                    std::cmp::Ordering::Greater => (*highest, *first) = (level, surprise.clone()),
                })
                .or_insert((level, surprise));
        }
        let mut calls: Vec<_> = calls.into_iter().collect();
        calls.sort_by(|(a, (level_a, x)), (b, (level_b, y))| {
            let key = |call: &Token, level: &u8| (Reverse(*level), telling::rank(*call));
            key(a, level_a).cmp(&key(b, level_b)).then(y.nats.total_cmp(&x.nats)).then(x.index.cmp(&y.index))
        });
        calls.truncate(SHOWN);
        let surprises = calls.into_iter().map(|(_, (_, surprise))| {
            let expected = expected(surprise.index, encoded, judged, vocabulary);
            Surprise { expected, ..surprise }
        });
        Self { window: window.clone(), score, novelty, surprises: surprises.collect() }
    }

    /// The kinds of telling calls that are shown of it, of those that are as surprising as can be: never seen, or from [`BEYOND`] on.
    pub fn kinds(&self) -> Kinds {
        let beyond = self.surprises.iter().filter(|s| level(s.nats, s.never_seen) >= BEYOND as u8);
        let calls = beyond.filter_map(|s| self.window.calls.get(s.index));
        calls.fold(Kinds::default(), |kinds, call| kinds.either(Kinds::of(*call)))
    }

    /// As the wire has it; who made the calls is the caller's to add.
    pub fn to_proto(&self) -> v1::Evidence {
        let w = &self.window;
        let surprises = self.surprises.iter().map(|s| {
            let before = w.context.len() + s.index;
            let after = (before.saturating_sub(AFTER)..before).filter_map(|i| self.call(i)).map(names::words).collect();
            v1::Surprise {
                call: names::words(w.calls[s.index]),
                token: u32::from(w.calls[s.index].0),
                sequence: w.first_sequence.saturating_add(s.index as u64),
                probability: (-s.nats).exp(),
                surprisal: s.nats,
                after,
                expected: s
                    .expected
                    .iter()
                    .map(|(t, p)| v1::Expected { call: names::words(*t), probability: f64::from(*p) })
                    .collect(),
                never_seen: s.never_seen,
                times: s.times,
                effect: telling::effect(w.calls[s.index]).to_owned(),
                // Who keeps the containers knows it.
                name: String::new(),
            }
        });
        v1::Evidence {
            first_sequence: w.first_sequence,
            at: timestamp_ns(w.started_ns),
            score: self.score.nats(),
            novelty: self.novelty,
            calls: w.calls.len() as u32,
            surprises: surprises.collect(),
            ..v1::Evidence::default()
        }
    }

    fn call(&self, i: usize) -> Option<Token> {
        self.window.context.iter().chain(&self.window.calls).nth(i).copied()
    }
}

#[cfg(test)]
mod tests;
