//! From surprisals of calls to the score of a window, and of a container now. *Pure.*
//!
//! In: nats a call, what a window's set of calls counts for. Out: [`Score`]s. Never: a threshold, a clock (times come as values).

use crate::detect::window::SHORTEST;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use surprisal_proto::token::Token;

/// How long a window counts for its container's score.
pub const RECENT: Duration = Duration::from_secs(30);
/// Calls that make a turn of a loop, in [`window`].
const TURN: usize = 3;
/// Windows shown as evidence, and kept of one second.
pub const EVIDENCE: usize = 3;
/// Windows kept of one container: more than [`RECENT`] has seconds, so that the highest is always there.
pub const KEPT: usize = 32;

/// A window's mean surprisal and the novelty of its set of calls, in nats a call: 0 or above, higher is stranger, never NaN.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Score(f64);

impl Score {
    /// A score; NaN becomes infinite: what cannot be computed must not pass as normal.
    pub fn new(nats: f64) -> Self {
        Self(if nats.is_nan() { f64::INFINITY } else { nats.max(0.0) })
    }

    /// Nats a call.
    pub fn nats(self) -> f64 {
        self.0
    }
}

/// A window's score: the mean surprisal of its calls, each weighted by how often the window has repeated itself so far, and
/// more surprising by what the set of its calls counts for ([`crate::detect::novelty::Novelty::nats`]).
///
/// A call that ends the k-th occurrence in the window of the same three calls weighs 1/k: a loop is one thing that
/// happens, and neither 60 harmless turns of it (spam that hides an attack) nor 60 odd ones (a thread that spins) say 60 times
/// as much as one.
///
/// The sum is divided by the weights' sum, but at least by [`SHORTEST`]. Divided by three, one unlikely call in a window of three
/// would be an alarm; so a short window is scored as if the calls that it lacks had no surprisal.
pub fn window(nll: &[f32], calls: &[Token], novelty: f64) -> Score {
    let weights = weights(calls);
    let sum: f64 = nll.iter().zip(&weights).map(|(n, weight)| (f64::from(*n) + novelty) * weight).sum();
    Score::new(sum / weights.iter().sum::<f64>().max(SHORTEST as f64))
}

/// What each call weighs: 1/k where the last [`TURN`] calls, or those since the window's start, come for the k-th time.
fn weights(calls: &[Token]) -> Vec<f64> {
    let mut turns: HashMap<&[Token], f64> = HashMap::with_capacity(calls.len());
    let weight = |i: usize| {
        let times = turns.entry(&calls[(i + 1).saturating_sub(TURN)..=i]).or_default();
        *times += 1.0;
        times.recip()
    };
    (0..calls.len()).map(weight).collect()
}

/// The recent past of one container: the highest score of each of the last seconds, and the windows behind what is or may become
/// the score.
///
/// **Invariant:** at most [`KEPT`] windows, and one score for each second. Of one second the [`EVIDENCE`] highest are kept; one of
/// which `lasting` is false goes once [`EVIDENCE`] windows that came with it or later are as high: it will never be among the
/// highest again.
#[derive(Clone, Debug)]
pub struct Recent<E> {
    /// (second, its highest score), oldest first.
    seconds: VecDeque<(u64, Score)>,
    /// Oldest second first.
    kept: Vec<Kept<E>>,
}

#[derive(Clone, Debug)]
struct Kept<E> {
    second: u64,
    score: Score,
    /// Windows of its second or later that are as high.
    beaten: u32,
    lasting: bool,
    evidence: E,
}

impl<E> Default for Recent<E> {
    fn default() -> Self {
        Self { seconds: VecDeque::new(), kept: Vec::new() }
    }
}

impl<E> Recent<E> {
    /// Adds a window that was scored at `now` (time since any fixed point). `lasting`: it is worth keeping although later ones are
    /// as high.
    pub fn add(&mut self, now: Duration, score: Score, lasting: bool, evidence: impl FnOnce() -> E) {
        let mut second = now.as_secs();
        match self.seconds.back_mut() {
            // A clock that goes back a little does not make a second of its own.
            Some((last, highest)) if *last >= second => {
                second = *last;
                *highest = if score > *highest { score } else { *highest };
            }
            _ => self.seconds.push_back((second, score)),
        }
        self.expire(now);
        let same = self.kept.iter().filter(|k| k.second == second);
        if same.filter(|k| k.score >= score).count() >= EVIDENCE {
            return;
        }
        for k in &mut self.kept {
            k.beaten += u32::from(k.score <= score);
        }
        self.kept.retain(|k| k.lasting || (k.beaten as usize) < EVIDENCE);
        let beaten = self.kept.iter().filter(|k| k.second == second && k.score > score).count() as u32;
        self.kept.push(Kept { second, score, beaten, lasting, evidence: evidence() });
        let of_second = || self.kept.iter().enumerate().filter(|(_, k)| k.second == second);
        let lowest = |(_, a): &(usize, &Kept<E>), (_, b): &(usize, &Kept<E>)| a.score.nats().total_cmp(&b.score.nats());
        let excess = if of_second().count() > EVIDENCE {
            of_second().min_by(lowest).map(|(at, _)| at)
        } else if self.kept.len() > KEPT {
            let least = |k: &Kept<E>| (std::cmp::Reverse(k.beaten), k.score);
            let order = |a: &Kept<E>, b: &Kept<E>| {
                let ((x, s), (y, t)) = (least(a), least(b));
                x.cmp(&y).then(s.nats().total_cmp(&t.nats()))
            };
            self.kept.iter().enumerate().min_by(|(_, a), (_, b)| order(a, b)).map(|(at, _)| at)
        } else {
            None
        };
        if let Some(at) = excess {
            self.kept.remove(at);
        }
    }

    /// Forgets what is older than [`RECENT`]; says whether there was anything.
    pub fn expire(&mut self, now: Duration) -> bool {
        let before = self.seconds.len();
        let old = |second: u64| second + RECENT.as_secs() < now.as_secs();
        while self.seconds.front().is_some_and(|(second, _)| old(*second)) {
            self.seconds.pop_front();
        }
        let expired = self.seconds.len() != before;
        if expired {
            self.kept.retain(|k| !old(k.second));
        }
        if self.seconds.is_empty() {
            // One that has gone quiet holds nothing.
            (self.seconds, self.kept) = (VecDeque::new(), Vec::new());
        }
        expired
    }

    /// All windows that are kept, oldest second first.
    pub fn kept(&self) -> impl Iterator<Item = (Score, &E)> {
        self.kept.iter().map(|k| (k.score, &k.evidence))
    }

    /// The container's score: the highest of the recent past.
    pub fn score(&self) -> Option<Score> {
        self.seconds.iter().map(|(_, score)| *score).max_by(|a, b| a.nats().total_cmp(&b.nats()))
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests;
