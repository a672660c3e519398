//! Which windows a reader gets to see. *Pure.*
//!
//! In: the windows that are kept of a container ([`crate::detect::score::Recent`]), each with the kinds of telling calls that it
//! shows, and the threshold. Out: some of them, in order. Never: a score.
//!
//! Which windows, at most so many:
//! 1. The highest: it is the score.
//! 2. As long as there is one: the window with the most telling kind of call that none so far shows. Of a window below the
//!    threshold only what changes a process ([`Kinds::PROCESS`]) counts: a shell that is over soon makes a short
//!    window, and a short window scores low.
//! 3. Then such as are of another process (by name) than those so far, then of another thread, if their score is at least half
//!    of the highest: three times the same thread doing the same says no more than once.
//!
//! Among equals those above the threshold come before those below, then the higher score. The order is the same: first
//! the window with the most telling kind, then the above, then the higher.

use crate::detect::score::Score;
use crate::detect::telling::{Kinds, PLAIN};
use crate::judge::threshold::Threshold;

/// Windows whose score is at least this share of the highest are close to it.
const CLOSE: f64 = 0.5;

/// The kinds that count of a window.
fn counted(kinds: Kinds, score: Score, threshold: Threshold) -> Kinds {
    if score.nats() >= threshold.nats() { kinds } else { kinds.both(Kinds::PROCESS) }
}

/// Chooses at most `most` windows; `about` says a window's kinds, its process name and its thread.
pub fn choose<E, P: PartialEq, T: PartialEq>(
    windows: Vec<(Score, E)>,
    threshold: Threshold,
    most: usize,
    about: impl Fn(&E) -> (Kinds, P, T),
) -> Vec<(Score, E)> {
    let offer = |(score, window): (Score, E)| {
        let (kinds, process, thread) = about(&window);
        Offer { score, window, kinds: counted(kinds, score, threshold), process, thread }
    };
    let mut offers: Vec<_> = windows.into_iter().map(offer).collect();
    offers.sort_by(|a, b| b.score.nats().total_cmp(&a.score.nats()));
    let close = offers.first().map_or(0.0, |highest| highest.score.nats() * CLOSE);
    let mut taken: Vec<Offer<E, P, T>> = Vec::with_capacity(most);
    while taken.len() < most && !offers.is_empty() {
        let seen = taken.iter().fold(Kinds::default(), |kinds, t| kinds.either(t.kinds));
        let key = |offer: &Offer<E, P, T>| {
            let news = offer.kinds.without(seen).first();
            let low = if news < PLAIN { threshold.nats() } else { close };
            let (process, thread) =
                (taken.iter().any(|t| t.process == offer.process), taken.iter().any(|t| t.thread == offer.thread));
            if offer.score.nats() >= low { (news, false, process, thread) } else { (news, true, false, false) }
        };
        // Of equals the first is the highest: the windows are in order. The first to be taken is the highest of all.
        let next = if taken.is_empty() { Some(0) } else { (0..offers.len()).min_by_key(|i| key(&offers[*i])) };
        taken.push(offers.remove(next.unwrap_or(0)));
    }
    let order = |offer: &Offer<E, P, T>| (offer.kinds.first(), offer.score.nats() < threshold.nats());
    taken.sort_by(|a, b| order(a).cmp(&order(b)).then(b.score.nats().total_cmp(&a.score.nats())));
    taken.into_iter().map(|t| (t.score, t.window)).collect()
}

struct Offer<E, P, T> {
    score: Score,
    window: E,
    kinds: Kinds,
    process: P,
    thread: T,
}

#[cfg(test)]
mod tests;
