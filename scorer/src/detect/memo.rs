//! A cache of what the models said: most windows of a steady workload need no computing.
//!
//! In: encoded windows, a model. Out: what the model says of them, remembered where it can be. Never: more than a given number
//! of entries, an answer of another model's.
//!
//! Whole windows hardly repeat (their beginnings fall anywhere into a server's loop), but what a model says of one call after the
//! same last calls does. So the unit is a call after the last few classes before it. What lies further back could matter to
//! the model, so an entry has to earn its use:
//!
//! - **Admission:** it is used only once two computed windows have agreed on it within [`AGREE`] nats; one that was computed once,
//!   as most of what attackers and start-ups do, is never used, and is the first to go when room is needed (S3-FIFO).
//! - **Longer memory where it matters:** an entry that is contradicted is barred for as long as it is kept, and the call is known
//!   by more classes before it instead ([`SPANS`]).
//! - **All or nothing:** a window is answered from here only if all of its calls are; else all of it is computed, and what the
//!   model says is compared with every entry that it meets.
//! - **Audit:** every [`AUDIT`]-th window that could be answered from here is computed too, and compared.
//!
//! A call with fewer classes before it in its window than the span is exact by construction; of the others the bench measures how
//! far scores are off (`cargo xtask bench scorer`), and the audit does while it serves ([`Counts`]).

use crate::detect::evidence::CANDIDATES;
use crate::detect::model::{Encoded, Judged, LONGEST, LanguageModel, ModelError, OWN, Position};
use foldhash::quality::RandomState;
use quick_cache::UnitWeighter;
use quick_cache::unsync::{Cache, DefaultLifecycle};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

/// Classes before a call that it is known by; the next where those do not suffice.
pub const SPANS: [usize; 3] = [12, 24, 48];
/// Two computations of a call agree within this, nats. Over a window such differences cancel: `--spans` of the bench shows
/// what share is remembered, and how far means are off, for others.
pub const AGREE: f32 = 0.1;
/// One of so many answers is checked.
pub const AUDIT: u64 = 64;
/// Entries that serving keeps, for all models together: about 80 bytes each, 40 MB at most.
pub const ENTRIES: usize = 1 << 19;

/// What a model said of a call.
#[derive(Clone, Debug)]
struct Entry {
    nats: f32,
    standing: Standing,
    /// What was expected instead, where that was asked.
    expected: Option<Box<[(i64, f32)]>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Computed once.
    New,
    /// Computed in two windows, which agreed.
    Agreed,
    /// Computed in windows that did not agree.
    Barred,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Windows answered from memory.
    pub remembered: u64,
    /// Windows that were computed, for want of an entry.
    pub computed: u64,
    /// Windows that were answered from memory and computed too.
    pub audited: u64,
    /// Entries that were barred.
    pub barred: u64,
    /// Largest difference between the two answers to an audited window, in its mean surprisal, nats a call.
    pub deviation: f64,
}

/// Keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// The cache.
#[derive(Debug)]
pub struct Memo {
    entries: Cache<u64, Entry, UnitWeighter, BuildHasherDefault<Same>>,
    /// Seeded at random: nobody can choose calls that share a key.
    hasher: RandomState,
    spans: Vec<usize>,
    agree: f32,
    counts: Counts,
    /// Scratch: the windows at hand, with the last target after the inputs.
    classes: Vec<Classes>,
}

type Classes = [u16; LONGEST + 1];

impl Memo {
    /// Remembers at most so many calls.
    pub fn new(entries: usize) -> Self {
        Self::with(entries, &SPANS, AGREE)
    }

    /// With other spans, ascending and each 1 or more, and other nats to agree within: how the constants were chosen.
    pub fn with(entries: usize, spans: &[usize], agree: f32) -> Self {
        let cache =
            Cache::with(entries, entries as u64, UnitWeighter, BuildHasherDefault::default(), DefaultLifecycle::default());
        Self {
            entries: cache,
            hasher: RandomState::default(),
            spans: spans.to_vec(),
            agree,
            counts: Counts::default(),
            classes: Vec::new(),
        }
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Entries now.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Judges windows; one answer for each, in order. `number`: which model this is, never given to another one.
    pub fn judge(&mut self, number: u64, model: &dyn LanguageModel, windows: &[Encoded]) -> Result<Vec<Judged>, ModelError> {
        let mut classes = std::mem::take(&mut self.classes);
        classes.clear();
        classes.extend(windows.iter().map(lay));
        let mut answers: Vec<Option<Judged>> =
            windows.iter().zip(&classes).map(|(window, classes)| self.recall(number, window, classes)).collect();
        let mut wanted: Vec<usize> = Vec::new();
        for (w, answer) in answers.iter().enumerate() {
            if answer.is_none() {
                self.counts.computed += 1;
                wanted.push(w);
            } else {
                self.counts.remembered += 1;
                if self.counts.remembered.is_multiple_of(AUDIT) {
                    wanted.push(w);
                }
            }
        }
        if !wanted.is_empty() {
            let chosen: Vec<Encoded> = wanted.iter().map(|w| windows[*w].clone()).collect();
            for (w, computed) in wanted.into_iter().zip(model.judge(&chosen)?) {
                if let Some(remembered) = &answers[w] {
                    self.audit(remembered, &computed);
                }
                self.learn(number, &windows[w], &classes[w], &computed);
                answers[w] = Some(computed);
            }
        }
        self.classes = classes;
        answers.into_iter().map(|a| a.ok_or_else(|| ModelError::Compute("a window was left out".into()))).collect()
    }

    /// What the target after `inputs[..=t]` is known by: the model, the last classes, itself. A span that reaches the window's
    /// beginning holds all that the model saw.
    fn key(&self, number: u64, classes: &Classes, t: usize, span: usize) -> u64 {
        self.hasher.hash_one((number, &classes[(t + 1).saturating_sub(span)..t + 2]))
    }

    fn recall(&self, number: u64, window: &Encoded, classes: &Classes) -> Option<Judged> {
        let find = |t: usize| {
            for span in &self.spans {
                let entry = self.entries.get(&self.key(number, classes, t, *span))?;
                match entry.standing {
                    Standing::New => return None,
                    Standing::Agreed => return Some(entry),
                    Standing::Barred => {}
                }
            }
            None
        };
        let scored = window.scored_from..window.targets.len();
        let mut nll = Vec::with_capacity(scored.len());
        let mut top: Vec<(usize, &Entry)> = Vec::new();
        for (index, t) in scored.enumerate() {
            let entry = find(t)?;
            nll.push(entry.nats);
            if entry.nats >= OWN {
                top.push((index, entry));
            }
        }
        top.sort_unstable_by(|(i, a), (j, b)| b.nats.total_cmp(&a.nats).then(i.cmp(j)));
        top.truncate(CANDIDATES);
        let place = |(index, entry): (usize, &Entry)| Some(Position { index, expected: entry.expected.as_deref()?.to_vec() });
        let top = top.into_iter().map(place).collect::<Option<_>>()?;
        Some(Judged { nll, top })
    }

    fn learn(&mut self, number: u64, window: &Encoded, classes: &Classes, judged: &Judged) {
        let mut expected: Vec<Option<&[(i64, f32)]>> = vec![None; judged.nll.len()];
        for place in &judged.top {
            expected[place.index] = Some(&place.expected);
        }
        for (index, nats) in judged.nll.iter().enumerate() {
            for span in &self.spans {
                let key = self.key(number, classes, window.scored_from + index, *span);
                let Some(mut entry) = self.entries.get_mut(&key) else {
                    let expected = expected[index].map(Into::into);
                    self.entries.insert(key, Entry { nats: *nats, standing: Standing::New, expected });
                    break;
                };
                let agrees = (entry.nats - nats).abs() <= self.agree;
                match entry.standing {
                    Standing::Barred => {}
                    _ if agrees => {
                        entry.standing = Standing::Agreed;
                        if entry.expected.is_none() {
                            entry.expected = expected[index].map(Into::into);
                        }
                        break;
                    }
                    _ => {
                        entry.standing = Standing::Barred;
                        entry.expected = None;
                        self.counts.barred += 1;
                    }
                }
            }
        }
    }

    fn audit(&mut self, remembered: &Judged, computed: &Judged) {
        let sum = |j: &Judged| j.nll.iter().map(|n| f64::from(*n)).sum::<f64>();
        let deviation = (sum(remembered) - sum(computed)).abs() / computed.nll.len().max(1) as f64;
        self.counts.audited += 1;
        self.counts.deviation = self.counts.deviation.max(deviation);
    }
}

/// A window's inputs and, after them, its last target.
fn lay(window: &Encoded) -> Classes {
    let mut classes = [0u16; LONGEST + 1];
    for (to, from) in classes.iter_mut().zip(window.inputs.iter().chain(window.targets.last())) {
        *to = *from as u16;
    }
    classes
}

#[cfg(test)]
mod tests;
