//! A trained model, and what scales its answers.
//!
//! In: examples. Out: a `Base`, trained once for all methods that share it; means of its surprisals. Never: a decision.

use crate::lstm::model::Lstm;
use crate::ours::windows::{Mean, windows};
use crate::teach::teach;
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use surprisal_scorer::cause::chain;
use surprisal_scorer::detect::model::{Encoded, LanguageModel as _, ModelError, Sizes};
use surprisal_scorer::detect::novelty::{KnownSets, nats_per_distance};
use surprisal_scorer::detect::vocab::Vocabulary;
use surprisal_scorer::detect::window::Window;
use surprisal_scorer::evaluate::baseline::method::Example;
use surprisal_scorer::evaluate::methods::Unfit;
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

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Unfit {
    Unfit::Failed(Box::new(error))
}

thread_local! {
    pub(super) static FITS: RefCell<Vec<([u8; 32], Rc<Base>)>> = const { RefCell::new(Vec::new()) };
}

/// Trains, unless the same was trained a moment ago.
pub(super) fn remembered(examples: &[Example<'_>], how: How, seed: u64, progress: &Progress) -> Result<Rc<Base>, Unfit> {
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
pub(super) struct Base {
    model: Lstm,
    vocabulary: Vocabulary,
    /// Nats that a distance of 1 counts for.
    pub(super) nats_per_distance: f64,
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
    pub(super) fn means(&self, examples: &[Example<'_>], how: Mean<'_>) -> Vec<f64> {
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
                        error = chain(&error),
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
                // What cannot be computed scores infinity, so that it shows in every figure.
                let score = nll[*i].as_ref().map_or(f64::INFINITY, |nll| how.score(nll, &different[*i], novelty));
                (sum + score * length as f64, n + length)
            });
            sum / n.max(1) as f64
        };
        parts.iter().zip(examples).map(mean).collect()
    }
}
