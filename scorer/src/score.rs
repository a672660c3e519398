//! From surprisals of calls to the score of a window, and of a container now. *Pure.*
//!
//! In: nats a call, what a window's set of calls counts for. Out: [`Score`]s. Never: a threshold, a clock (times come as values).

use crate::window::SHORTEST;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use surprisal_proto::token::Token;

/// How long a window counts for its container's score.
pub const RECENT: Duration = Duration::from_secs(30);
/// Calls that make a turn of a loop, in [`window`].
const TURN: usize = 3;
/// Windows kept as evidence, the most surprising ones.
pub const EVIDENCE: usize = 3;

/// A window's mean surprisal and the novelty of its set of calls, in nats a call: 0 or above, higher is stranger, never NaN.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Score(f64);

impl Score {
    /// A score; what is no number is as strange as can be.
    pub fn new(nats: f64) -> Self {
        Self(if nats.is_nan() { f64::INFINITY } else { nats.max(0.0) })
    }

    /// Nats a call.
    pub fn nats(self) -> f64 {
        self.0
    }
}

/// A window's score: the mean surprisal of its calls, each weighted by how often the window has repeated itself so far, and
/// more surprising by what the set of its calls counts for ([`crate::novelty::Novelty::nats`]).
///
/// A call that ends the k-th occurrence in the window of the same three calls weighs 1/k: a loop is one thing that
/// happens, and neither 60 harmless turns of it (spam that hides an attack) nor 60 odd ones (a thread that spins) say 60 times
/// as much as one. The sum is divided by that of the weights, but at least by [`SHORTEST`]:
///
/// a window of three calls says little: divided by three, one unlikely call would make it an alarm. So a
/// short window is scored as if the calls that it lacks carried no surprise.
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

/// The recent past of one container: the most surprising windows of each of the last seconds.
#[derive(Clone, Debug)]
pub struct Recent<E> {
    /// (second, its windows, most surprising first), oldest second first.
    seconds: VecDeque<(u64, Vec<(Score, E)>)>,
}

impl<E> Default for Recent<E> {
    fn default() -> Self {
        Self { seconds: VecDeque::new() }
    }
}

impl<E> Recent<E> {
    /// Adds a window that was scored at `now` (time since any fixed point).
    pub fn add(&mut self, now: Duration, score: Score, evidence: impl FnOnce() -> E) {
        let second = now.as_secs();
        match self.seconds.back() {
            Some((last, _)) if *last >= second => {}
            _ => self.seconds.push_back((second, Vec::with_capacity(EVIDENCE))),
        }
        self.expire(now);
        let Some((_, windows)) = self.seconds.back_mut() else { return };
        let at = windows.partition_point(|(s, _)| *s >= score);
        if at < EVIDENCE {
            windows.truncate(EVIDENCE - 1);
            windows.insert(at, (score, evidence()));
        }
    }

    /// Forgets what is older than [`RECENT`]; says whether there was anything.
    pub fn expire(&mut self, now: Duration) -> bool {
        let before = self.seconds.len();
        while self.seconds.front().is_some_and(|(second, _)| second + RECENT.as_secs() < now.as_secs()) {
            self.seconds.pop_front();
        }
        self.seconds.len() != before
    }

    /// The most surprising windows of the recent past, most surprising first, at most [`EVIDENCE`].
    pub fn top(&self) -> Vec<(Score, &E)> {
        let mut all: Vec<_> = self.kept().collect();
        all.sort_by(|a, b| b.0.nats().total_cmp(&a.0.nats()));
        all.truncate(EVIDENCE);
        all
    }

    /// All windows that are kept, oldest second first.
    pub fn kept(&self) -> impl Iterator<Item = (Score, &E)> {
        self.seconds.iter().flat_map(|(_, windows)| windows.iter().map(|(score, evidence)| (*score, evidence)))
    }

    /// The container's score: the highest of the recent past.
    pub fn score(&self) -> Option<Score> {
        self.top().first().map(|(score, _)| *score)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.seconds.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_windows_are_padded_with_no_surprise() {
        for (calls, each, expect) in [(64, 2.0, 2.0), (16, 2.0, 2.0), (8, 2.0, 1.0), (1, 16.0, 1.0), (0, 0.0, 0.0)] {
            for novelty in [0.0, 0.5] {
                let different: Vec<_> = (0..calls).map(|n| Token(n as u16)).collect();
                let got = window(&vec![each; calls], &different, novelty).nats();
                let novelty = novelty * (calls as f64 / 16.0).min(1.0);
                assert!((got - expect - novelty).abs() < 1e-9, "{calls} calls: {got}");
            }
        }
        assert!(window(&[f32::NAN], &[Token(0)], 0.0).nats().is_infinite());
    }

    #[test]
    fn a_turn_that_comes_again_weighs_less() {
        let tokens = |calls: &[u16]| calls.iter().copied().map(Token).collect::<Vec<_>>();
        let check = |calls: &[u16], expect: &[f64]| assert_eq!(weights(&tokens(calls)), expect, "{calls:?}");
        check(&[], &[]);
        check(&[1, 2, 3, 4], &[1.0, 1.0, 1.0, 1.0]);
        check(&[1, 1, 1, 1, 1], &[1.0, 1.0, 1.0, 0.5, 1.0 / 3.0]);
        check(&[1, 2, 1, 2, 1, 2], &[1.0, 1.0, 1.0, 1.0, 0.5, 0.5]);
        // Twenty surprising calls of their own, hidden among a loop, say as much as without it.
        let (odd, spam): (Vec<u16>, Vec<u16>) = ((10..30).collect(), vec![1; 44]);
        let nll: Vec<f32> = odd.iter().map(|_| 5.0).chain(spam.iter().map(|_| 0.0)).collect();
        let (alone, hidden) = (window(&nll[..20], &tokens(&odd), 0.0), window(&nll, &tokens(&[odd, spam].concat()), 0.0));
        assert!((alone.nats() - 5.0).abs() < 1e-9 && hidden.nats() > 3.5, "{hidden:?}");
        // A loop of surprising calls says little more than some of its turns.
        let spin = window(&[5.0; 64], &tokens(&[7; 64]), 0.0);
        assert!(spin.nats() > 1.5 && spin.nats() < 2.5, "{spin:?}");
    }

    #[test]
    fn the_highest_of_thirty_seconds() {
        let at = Duration::from_millis;
        let mut recent = Recent::default();
        assert_eq!(recent.score(), None);
        for (ms, score) in [(0, 5.0), (100, 1.0), (200, 7.0), (300, 6.0), (20_000, 2.0)] {
            recent.add(at(ms), Score::new(score), || ms);
        }
        let shown = |r: &Recent<u64>| r.top().iter().map(|(s, e)| format!("{}@{e}", s.nats())).collect::<Vec<_>>().join(" ");
        assert_eq!(shown(&recent), "7@200 6@300 5@0");
        assert!(!recent.expire(at(30_999)));
        assert_eq!(shown(&recent), "7@200 6@300 5@0");
        assert!(recent.expire(at(31_000)));
        assert_eq!(shown(&recent), "2@20000");
        recent.expire(at(60_000));
        assert_eq!(recent.score(), None);
    }

    proptest! {
        #[test]
        fn stays_small_and_keeps_the_maximum(windows in prop::collection::vec((0u64..500, 0.0f64..20.0), 1..300)) {
            let mut recent = Recent::default();
            let (mut now, mut all) = (0, Vec::new());
            for (wait, score) in windows {
                now += wait;
                all.push((now, score));
                recent.add(Duration::from_millis(now), Score::new(score), || ());
                let kept: usize = recent.seconds.iter().map(|(_, w)| w.len()).sum();
                prop_assert!(kept <= 31 * EVIDENCE);
                let expect = all.iter().filter(|(at, _)| at / 1000 + 30 >= now / 1000).map(|(_, s)| *s).fold(0.0, f64::max);
                prop_assert_eq!(recent.score().map(Score::nats), Some(expect));
            }
        }
    }
}
