//! From surprisals of calls to the score of a window, and of a container now. *Pure.*
//!
//! In: nats a call, what a window's set of calls counts for. Out: [`Score`]s. Never: a threshold, a clock (times come as values).

use crate::detect::telling::Kinds;
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
/// Windows kept of one container for their score: more than [`RECENT`] has seconds, so that the highest is always there.
const HIGHEST: usize = 32;
/// Windows kept of one container: besides those, one of each kind of telling calls that is above the threshold, and one below.
pub const KEPT: usize = HIGHEST + Kinds::ALL.len() + Kinds::PROCESS.len();

/// A window's mean surprisal and the novelty of its set of calls, in nats a call: 0 or above, higher is stranger, never NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
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

    /// The higher of two: a window is as strange as its calls or as what they are about, whichever is stranger.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0.max(other.0))
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
/// the score, or tell most. Which windows of the last [`RECENT`] are kept:
/// 1. Of each second the [`EVIDENCE`] highest; one that is not anomalous goes once [`EVIDENCE`] windows that came with it or later
///    are as high: it will never be among the highest again. Of more than 32, those go first that are beaten most often.
/// 2. Whatever the score: of each kind of telling calls the latest anomalous window that shows it, and of the kinds that change a
///    process ([`Kinds::PROCESS`]) the latest of the others too.
///
/// **Invariant:** at most [`KEPT`] windows, and one score for each second.
#[derive(Clone, Debug)]
pub struct Recent<E> {
    /// (second, its highest score), oldest first.
    seconds: VecDeque<(u64, Score)>,
    /// Oldest second first.
    kept: Vec<Kept<E>>,
}

/// What of a window decides how long it is kept.
#[derive(Clone, Copy, Debug)]
pub struct Worth {
    /// Its score.
    pub score: Score,
    /// It is above the threshold.
    pub anomalous: bool,
    /// Kinds of telling calls that it shows.
    pub kinds: Kinds,
}

impl From<Score> for Worth {
    /// Of one that is not anomalous and shows nothing telling.
    fn from(score: Score) -> Self {
        Self { score, anomalous: false, kinds: Kinds::default() }
    }
}

#[derive(Clone, Debug)]
struct Kept<E> {
    second: u64,
    worth: Worth,
    /// Windows of its second that are higher, or were there and as high.
    higher: u32,
    /// Windows of its second or later that are as high.
    beaten: u32,
    evidence: E,
}

impl<E> Kept<E> {
    /// By the second rule: it is the latest with some kind.
    fn tells(&self) -> bool {
        !self.worth.kinds.is_empty()
    }

    fn counts(&self) -> bool {
        let high = |times: u32| (times as usize) < EVIDENCE;
        self.tells() || (high(self.higher) && (self.worth.anomalous || high(self.beaten)))
    }
}

impl<E> Default for Recent<E> {
    fn default() -> Self {
        Self { seconds: VecDeque::new(), kept: Vec::new() }
    }
}

impl<E> Recent<E> {
    /// Adds a window that was scored at `now` (time since any fixed point).
    pub fn add(&mut self, now: Duration, worth: Worth, evidence: impl FnOnce() -> E) {
        let Worth { score, anomalous, kinds } = worth;
        let kinds = if anomalous { kinds } else { kinds.both(Kinds::PROCESS) };
        let (worth, mut second) = (Worth { kinds, ..worth }, now.as_secs());
        match self.seconds.back_mut() {
            // A clock that goes back a little does not make a second of its own.
            Some((last, highest)) if *last >= second => {
                second = *last;
                *highest = if score > *highest { score } else { *highest };
            }
            _ => self.seconds.push_back((second, score)),
        }
        self.expire(now);
        let of_second = |is: fn(&Score, &Score) -> bool| {
            self.kept.iter().filter(|k| k.second == second && is(&k.worth.score, &score)).count() as u32
        };
        let (higher, beaten) = (of_second(Score::ge), of_second(Score::gt));
        if higher as usize >= EVIDENCE && kinds.is_empty() {
            return;
        }
        for k in &mut self.kept {
            k.beaten += u32::from(k.worth.score <= score);
            k.higher += u32::from(k.second == second && k.worth.score < score);
            if anomalous || !k.worth.anomalous {
                k.worth.kinds = k.worth.kinds.without(kinds);
            }
        }
        self.kept.retain(Kept::counts);
        self.kept.push(Kept { second, worth, higher, beaten, evidence: evidence() });
        while let Some(at) = self.excess() {
            self.kept.remove(at);
        }
    }

    /// The first to go of more than [`HIGHEST`] windows that are kept for their score.
    fn excess(&self) -> Option<usize> {
        let silent = || self.kept.iter().enumerate().filter(|(_, k)| !k.tells());
        let last = |(_, a): &(usize, &Kept<E>), (_, b): &(usize, &Kept<E>)| {
            b.beaten.cmp(&a.beaten).then(a.worth.score.nats().total_cmp(&b.worth.score.nats()))
        };
        if silent().count() > HIGHEST { silent().min_by(last).map(|(at, _)| at) } else { None }
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
        self.kept.iter().map(|k| (k.worth.score, &k.evidence))
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
