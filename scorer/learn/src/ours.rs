//! The project's own model as a method among others.
//!
//! In: examples. Out: an LSTM taught by `teach`, as `train` teaches it, and what it says. Never: a profile,
//! another rule for windows than the one that is served.
//!
//! Long examples (traces) are cut by [`surprisal_scorer::detect::window`]'s rule; windows are scored as they are.
//!
//! - `lstm`: surprisal per call, the mean over all scored calls.
//! - `surprisal`: windows' scores as served ([`score::window`]), their mean weighted by their lengths. The set whose novelty
//!   counts is the whole example's; held-out examples say for how much, as [`surprisal_scorer::detect::novelty`] has it.
//!
//! With labels, `lstm` is the difference of two LSTMs' mean surprisals: normal's less the attacks' (a log likelihood ratio
//! per call); `surprisal` is the mean of three probabilities: a random forest's, a support vector machine's and that of this
//! ratio, the latter two by the logistic function.

use crate::lstm::Lstm;
use crate::teach::teach;
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use surprisal_proto::token::Token;
use surprisal_scorer::detect::model::{Encoded, LanguageModel as _, ModelError, Sizes};
use surprisal_scorer::detect::novelty::{KnownSets, Novelty, nats_per_distance};
use surprisal_scorer::detect::score;
use surprisal_scorer::detect::vocab::Vocabulary;
use surprisal_scorer::detect::window::{CALLS, CONTEXT, Cut, Cutter, Run, SHORTEST, Window};
use surprisal_scorer::evaluate::baseline::{Example, Kind, Method};
use surprisal_scorer::evaluate::methods::{Fitter, Ours, Unfit};
use surprisal_scorer::profile::weights::{self, WeightsError};
use surprisal_scorer::train::progress::Progress;
use surprisal_scorer::train::select::{distinct, draw, select};
use surprisal_scorer::train::split::is_held;
use surprisal_scorer::train::workload::Piece;
use surprisal_scorer::train::{Options, unseen_nats};

/// Held-out windows at most.
const HELD_WINDOWS: usize = 8_192;
/// Different windows judged at once.
const BATCH: usize = 4_096;
/// Fits that are remembered, so that two methods that share a model train it once.
const REMEMBERED: usize = 8;

/// Log odds that a margin of 1, and a ratio of 1 nat a call, are taken for.
const LOG_ODDS: f64 = 2.0;

/// How the model is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct How {
    /// Sizes of the model.
    pub sizes: Sizes,
    /// Different windows trained on at most.
    pub max_windows: usize,
    /// Passes at most; 0: as `train` would.
    pub epochs: u32,
    /// Cores one operation may use.
    pub threads: u16,
}

/// Fits one of [`Ours`].
#[derive(Clone, Copy, Debug)]
pub struct Trainer {
    /// Which.
    pub ours: Ours,
    /// How.
    pub how: How,
}

impl Fitter for Trainer {
    fn key(&self) -> &str {
        self.ours.as_str()
    }

    fn fit(&self, normal: &[Example<'_>], seed: u64, progress: &Progress) -> Result<Box<dyn Method>, Unfit> {
        let base = remembered(normal, self.how, seed, progress)?;
        Ok(match self.ours {
            Ours::Lstm => Box::new(Plain(base)),
            Ours::Surprisal => {
                let known = KnownSets::learn(normal.iter().map(Example::scored));
                Box::new(Combined { novelty: Novelty::new(known, base.nats_per_distance), base })
            }
        })
    }

    fn fit_labelled(
        &self,
        normal: &[Example<'_>],
        attack: &[Example<'_>],
        seed: u64,
        progress: &Progress,
    ) -> Result<Box<dyn Method>, Unfit> {
        let bases = (remembered(normal, self.how, seed, progress)?, remembered(attack, self.how, seed, progress)?);
        let ratio = Ratio { normal: bases.0, attack: bases.1 };
        Ok(match self.ours {
            Ours::Lstm => Box::new(ratio),
            Ours::Surprisal => {
                let fit = |kind| surprisal_scorer::evaluate::baseline::fit_labelled(kind, normal, attack, seed);
                Box::new(Vote { forest: fit(Kind::RandomForest)?, margin: fit(Kind::Svm)?, ratio })
            }
        })
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Unfit {
    Unfit::Failed(Box::new(error))
}

thread_local! {
    static FITS: RefCell<Vec<([u8; 32], Rc<Base>)>> = const { RefCell::new(Vec::new()) };
}

/// Trains, unless the same was trained a moment ago.
fn remembered(examples: &[Example<'_>], how: How, seed: u64, progress: &Progress) -> Result<Rc<Base>, Unfit> {
    let mut hash = Sha256::new();
    hash.update(format!("{how:?} {seed} {}", examples.len()).as_bytes());
    for e in examples {
        hash.update([u8::from(e.from_start)]);
        hash.update((e.context as u64).to_le_bytes());
        hash.update((e.calls.len() as u64).to_le_bytes());
        for call in e.calls {
            hash.update(call.0.to_le_bytes());
        }
    }
    let key: [u8; 32] = hash.finalize().into();
    let known = FITS.with_borrow(|fits| fits.iter().find(|(k, _)| *k == key).map(|(_, base)| Rc::clone(base)));
    if let Some(base) = known {
        return Ok(base);
    }
    let base = Rc::new(Base::fit(examples, how, seed, progress).map_err(failed)?);
    FITS.with_borrow_mut(|fits| {
        if fits.len() >= REMEMBERED {
            fits.remove(0);
        }
        fits.push((key, Rc::clone(&base)));
    });
    Ok(base)
}

/// The model could not be made.
#[derive(Debug, thiserror::Error)]
enum BaseError {
    #[error("training")]
    Model(#[from] ModelError),
    #[error("weights")]
    Weights(#[from] WeightsError),
}

/// A trained model, and what scales its answers.
struct Base {
    model: Lstm,
    vocabulary: Vocabulary,
    /// Nats that a distance of 1 counts for.
    nats_per_distance: f64,
}

impl Base {
    fn fit(examples: &[Example<'_>], how: How, seed: u64, progress: &Progress) -> Result<Self, BaseError> {
        let is_held = |n: usize| is_held(n, examples.len());
        let mut pieces = Vec::new();
        let mut chosen = [Vec::new(), Vec::new()];
        for (n, example) in examples.iter().enumerate() {
            for window in windows(example) {
                chosen[usize::from(is_held(n))].push(pieces.len());
                pieces.push(Piece { container: n as u32, window });
            }
        }
        let options = Options {
            sizes: how.sizes,
            max_windows: how.max_windows,
            epochs: how.epochs,
            budget: 1.0,
            seed,
            threads: how.threads,
        };
        let (train, left) = select(&pieces, distinct(&pieces, &chosen[0]), how.max_windows, seed);
        let held = draw(distinct(&pieces, &chosen[1]), HELD_WINDOWS, seed);
        let calls = train.iter().flat_map(|w| w.window.context.iter().chain(&w.window.calls));
        let vocabulary = Vocabulary::new(calls.copied());
        progress.line(&format!(
            "lstm: {} examples, {} different windows trained on ({left} sampled out), {} held out, {} tokens",
            examples.len(),
            train.len(),
            held.len(),
            vocabulary.tokens().len()
        ));
        // With too little to hold out, training surprisal says when to stop.
        let judged = if held.is_empty() { &train } else { &held };
        let taught = teach(&train, judged, &vocabulary, options, progress)?;
        let bytes = weights::write(&taught.weights, &vocabulary.checksum())?;
        let model = Lstm::load(&bytes, how.sizes, vocabulary.classes(), vocabulary.unseen()).map_err(ModelError::from)?;
        let mut base = Self { model, vocabulary, nats_per_distance: 0.0 };

        let part = |held: bool| -> Vec<Example<'_>> {
            examples.iter().enumerate().filter(|(n, _)| is_held(*n) == held).map(|(_, e)| *e).collect()
        };
        let held_out = part(true);
        let known = KnownSets::learn(part(false).iter().map(Example::scored));
        let means = base.means(&held_out, Mean::Weighted).into_iter().zip(&held_out);
        let both: Vec<_> = means.map(|(mean, e)| (mean, known.distance(&known.set(e.scored())), 1)).collect();
        base.nats_per_distance = nats_per_distance(&both, unseen_nats(&base.vocabulary) / 2.0);
        Ok(base)
    }

    /// Mean over each example's windows, by their lengths, nats a call.
    fn means(&self, examples: &[Example<'_>], how: Mean<'_>) -> Vec<f64> {
        let mut at: HashMap<Window, usize> = HashMap::new();
        let mut different: Vec<Window> = Vec::new();
        let mut parts: Vec<Vec<usize>> = Vec::with_capacity(examples.len());
        for example in examples {
            let mut part = Vec::new();
            for window in windows(example) {
                part.push(*at.entry(window).or_insert_with_key(|window| {
                    different.push(window.clone());
                    different.len() - 1
                }));
            }
            parts.push(part);
        }
        let mut nll: Vec<Option<Vec<f32>>> = Vec::with_capacity(different.len());
        for batch in different.chunks(BATCH) {
            let encoded: Vec<_> = batch.iter().map(|w| Encoded::new(w, &self.vocabulary)).collect();
            match self.model.judge(&encoded) {
                Ok(judged) => nll.extend(judged.into_iter().map(|j| Some(j.nll))),
                Err(error) => {
                    tracing::error!(
                        windows = batch.len(),
                        error = surprisal_scorer::cause::chain(&error),
                        "windows could not be judged: they score infinity"
                    );
                    nll.resize(nll.len() + batch.len(), None);
                }
            }
        }
        let mean = |(part, example): (&Vec<usize>, &Example<'_>)| {
            let novelty = how.novelty(example);
            let (sum, n) = part.iter().fold((0.0, 0), |(sum, n), i| {
                let length = different[*i].calls.len();
                // What cannot be computed is as strange as can be, and shows in every figure.
                let score = nll[*i].as_ref().map_or(f64::INFINITY, |nll| how.score(nll, &different[*i], novelty));
                (sum + score * length as f64, n + length)
            });
            sum / n.max(1) as f64
        };
        parts.iter().zip(examples).map(mean).collect()
    }
}

/// What is made of a window's surprisals.
#[derive(Clone, Copy)]
enum Mean<'a> {
    /// Their plain mean.
    Plain,
    /// The window's score without novelty.
    Weighted,
    /// The window's score as served; the set is the whole example's.
    Served(&'a Novelty),
}

impl Mean<'_> {
    fn novelty(self, example: &Example<'_>) -> f64 {
        if let Self::Served(novelty) = self { novelty.nats(example.scored()) } else { 0.0 }
    }

    fn score(self, nll: &[f32], window: &Window, novelty: f64) -> f64 {
        match self {
            Self::Plain => nll.iter().map(|n| f64::from(*n)).sum::<f64>() / nll.len().max(SHORTEST) as f64,
            Self::Weighted | Self::Served(_) => score::window(nll, &window.calls, novelty).nats(),
        }
    }
}

/// An example as windows: itself where it is one.
fn windows(example: &Example<'_>) -> Vec<Window> {
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

/// `lstm`.
struct Plain(Rc<Base>);

impl Method for Plain {
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        self.0.means(examples, Mean::Plain)
    }
}

/// `surprisal`.
struct Combined {
    base: Rc<Base>,
    novelty: Novelty,
}

impl Method for Combined {
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        self.base.means(examples, Mean::Served(&self.novelty))
    }
}

/// `lstm` with labels.
struct Ratio {
    normal: Rc<Base>,
    attack: Rc<Base>,
}

impl Method for Ratio {
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        let [normal, attack] = [&self.normal, &self.attack].map(|base| base.means(examples, Mean::Plain));
        normal.into_iter().zip(attack).map(|(n, a)| n - a).collect()
    }

    /// As likely under the one as under the other is normal.
    fn decision(&self) -> Option<f64> {
        Some(0.0)
    }
}

/// `surprisal` with labels.
struct Vote {
    forest: Box<dyn Method>,
    margin: Box<dyn Method>,
    ratio: Ratio,
}

impl Method for Vote {
    /// 0 to 1; what is above one half is an attack.
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        let probability = |log_odds: f64| 1.0 / (1.0 + (-LOG_ODDS * log_odds).exp());
        let (forest, margin, ratio) = (self.forest.score(examples), self.margin.score(examples), self.ratio.score(examples));
        let each = forest.into_iter().zip(margin).zip(ratio);
        each.map(|((forest, margin), ratio)| (forest + probability(margin) + probability(ratio)) / 3.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOW: How = How { sizes: Sizes { embedding: 8, hidden: 16 }, max_windows: 1000, epochs: 12, threads: 1 };

    fn trace(calls: &[u16]) -> Vec<Token> {
        calls.iter().map(|c| Token(*c)).collect()
    }

    fn example(calls: &[Token]) -> Example<'_> {
        Example { calls, context: 0, from_start: true }
    }

    #[test]
    fn traces_are_cut_as_threads_are_and_windows_left_whole() {
        let long = trace(&[7; 150]);
        let lengths: Vec<_> = windows(&example(&long)).iter().map(|w| (w.context.len(), w.calls.len())).collect();
        assert_eq!(lengths, [(0, 64), (16, 64), (16, 22)]);
        let window = Example { context: 16, from_start: false, ..example(&long[..80]) };
        let [one] = windows(&window).try_into().expect("one");
        assert_eq!((one.context.len(), one.calls.len(), one.from_start), (16, 64, false));
    }

    #[test]
    fn another_loop_is_stranger_and_the_same_seed_says_the_same() {
        let normal: Vec<_> = (0..40u16).map(|n| trace(&[3, 4, 5, 6 + n % 2].repeat(20))).collect();
        let normal: Vec<_> = normal.iter().map(|t| example(t)).collect();
        let (known, other) = (trace(&[3, 4, 5, 6].repeat(10)), trace(&[5, 4, 9, 6].repeat(10)));
        let judged = [example(&known), example(&other)];
        let progress = Progress::default();
        for ours in [Ours::Lstm, Ours::Surprisal] {
            let trainer = Trainer { ours, how: HOW };
            let method = trainer.fit(&normal, 1, &progress).expect("fits");
            let said = method.score(&judged);
            assert!(said[1] > said[0] + 0.5, "{said:?}");
            FITS.with_borrow_mut(Vec::clear);
            assert_eq!(trainer.fit(&normal, 1, &progress).expect("fits").score(&judged), said);
            let attack = [trace(&[5, 4, 9, 6].repeat(30)), trace(&[4, 5, 9, 6].repeat(30))];
            let attack: Vec<_> = attack.iter().map(|t| example(t)).collect();
            let method = trainer.fit_labelled(&normal, &attack, 1, &progress).expect("fits");
            let said = method.score(&judged);
            let even = method.decision().unwrap_or(0.5);
            assert!(said[0] < even && said[1] > even, "{said:?}");
        }
    }
}
