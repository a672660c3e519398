//! Training and calibration of one workload's profile.
//!
//! In: a workload's windows. Out: a [`Profile`]. Never: reads a file, looks at a held-out window before the
//! weights are fixed but to say when to stop.

use crate::lstm::model::{Lstm, set_threads};
use crate::lstm::teacher::Teacher;
use jiff::Timestamp;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::collections::BTreeMap;
use surprisal_proto::token;
use surprisal_scorer::detect::model::{Encoded, LanguageModel, ModelError};
use surprisal_scorer::detect::novelty::{KnownSets, Novelty, nats_per_distance};
use surprisal_scorer::detect::score::{self, Score};
use surprisal_scorer::detect::vocab::{UNKNOWN, Vocabulary};
use surprisal_scorer::judge::calibration::{Ask, calibrate, promise::statement};
use surprisal_scorer::profile::archive::Profile;
use surprisal_scorer::profile::metadata::{Cutting, FORMAT, Metadata, Training};
use surprisal_scorer::profile::weights::{self, TensorData};
use surprisal_scorer::train::progress::Progress;
use surprisal_scorer::train::select::{Counted, distinct, draw, select};
use surprisal_scorer::train::split::split;
use surprisal_scorer::train::timeline;
use surprisal_scorer::train::workload::Workload;
use surprisal_scorer::train::{FEWEST_WINDOWS, Options, START_SHARE, TrainError, UNKNOWN_SHARE, unseen_nats};

/// Windows shown to the model over all passes: about 20 s on one core at the default sizes.
const WORK: usize = 32_000;
/// Passes at least and at most.
const EPOCHS: (usize, usize) = (4, 80);
/// Training ends after this many passes in which neither training nor held-out surprisal fell by these shares,
/// or in which the held-out one was above its least by more than [`TOLERANCE`].
const PATIENCE: usize = 5;
const IMPROVEMENT: f64 = 0.01;
/// Of passes whose held-out surprisal differs by no more than this share, the last is taken: what happens once
/// (a start) is not held out, and later passes know it better.
const TOLERANCE: f64 = 0.01;
/// A window that is still surprising after a pass counts up to this many times as much in the next: a loop is
/// learned in one pass, and what a server rarely does must be learned too.
const ATTENTION: f32 = 6.0;
/// Learning rate at the beginning and at the end (cosine between).
const RATE: (f64, f64) = (5e-3, 5e-4);
/// Held-out windows that a pass is judged by, and that the threshold is calibrated on, at most.
const JUDGED: usize = 1024;
const CALIBRATED: usize = 8_192;

/// Trains a profile for `workload`.
pub fn learn(workload: &str, data: &Workload, options: Options, progress: &Progress) -> Result<Profile, TrainError> {
    let model_failed = |source| TrainError::Model { workload: workload.to_owned(), source };
    if data.pieces.len() < FEWEST_WINDOWS {
        return Err(TrainError::TooFew { workload: workload.to_owned(), windows: data.pieces.len() });
    }
    set_threads(options.threads);
    let parts = split(&data.pieces);
    if parts.held_out.is_empty() {
        return Err(TrainError::TooFew { workload: workload.to_owned(), windows: parts.held_out.len() });
    }
    let (train, sampled_out) = select(&data.pieces, distinct(&data.pieces, &parts.train), options.max_windows, options.seed);
    let held = draw(distinct(&data.pieces, &parts.held_out), CALIBRATED, options.seed);
    let vocabulary = Vocabulary::new(train.iter().flat_map(|w| w.window.context.iter().chain(&w.window.calls)).copied());
    progress.line(&format!(
        "{workload}: {} calls of {} container(s) in {:.0} s, {} windows ({} gapped); training on {} different ones \
         ({sampled_out} sampled out, {} one-offs), {} different ones held out; {} tokens",
        data.calls,
        data.containers,
        data.container_seconds,
        data.windows,
        data.gapped,
        train.len(),
        parts.one_offs,
        held.len(),
        vocabulary.tokens().len()
    ));

    let taught = teach(&train, &held, &vocabulary, options, progress).map_err(model_failed)?;
    let bytes = weights::write(&taught.weights, &vocabulary.checksum())
        .map_err(|source| TrainError::Weights { workload: workload.to_owned(), source })?;
    // Calibrated on the model as it will be loaded.
    let model =
        Lstm::load(&bytes, options.sizes, vocabulary.classes(), vocabulary.unseen()).map_err(|e| model_failed(e.into()))?;
    let whole = |w: &Counted<'_>| Encoded::new(w.window, &vocabulary);
    let unseen_nats = unseen_nats(&vocabulary);
    let novelty = novelty(&model, &train, &held, &vocabulary, unseen_nats / 2.0).map_err(model_failed)?;
    let scores =
        |windows: &[Counted<'_>], encode: &dyn Fn(&Counted<'_>) -> Encoded| scores(&model, Some(&novelty), windows, encode);
    let held_out = scores(&held, &whole).map_err(model_failed)?;
    let trained = scores(&train, &whole).map_err(model_failed)?;
    let alone = |w: &Counted<'_>| Encoded::new(w.window, &vocabulary).without_context();
    let others = [scores(&train, &alone), scores(&held, &alone)];
    let others = others.into_iter().collect::<Result<Vec<_>, _>>().map_err(model_failed)?.concat();
    let ask = Ask {
        windows_per_container_day: data.windows_per_container_day(),
        budget: options.budget,
        unseen_nats,
        highest: Score::new(others.iter().chain(&trained).map(|(s, _)| s.nats()).fold(0.0, f64::max)),
        left_out: timeline::left_out(&data.pieces, &with(&train, &trained), unseen_nats),
    };
    let held_out = timeline::held_out(&data.pieces, &parts.held_out, &with(&held, &held_out));
    let calibration =
        calibrate(&held_out, ask).map_err(|source| TrainError::Calibration { workload: workload.to_owned(), source })?;
    let c = &calibration;
    let promise = statement(c.false_alarm_budget, c.promise.as_str(), c.held_out_container_days, c.false_alarms_at_most);
    progress.line(&format!("{workload}: {promise}"));
    let metadata = Metadata {
        format: FORMAT,
        model: "lstm".to_owned(),
        workload: workload.to_owned(),
        version: String::new(),
        trained_at: Timestamp::now(),
        image: data.image.clone(),
        abi: token::ABI.to_owned(),
        token_layout: token::LAYOUT,
        cutting: Cutting::OURS,
        sizes: options.sizes,
        vocabulary: Vec::new(),
        novelty: novelty.keep(&vocabulary),
        names: data.names.known(data.windows),
        training: Training {
            calls: data.calls,
            windows: data.windows,
            distinct_windows: train.len() as u64,
            sampled_out,
            gapped: data.gapped,
            one_offs: parts.one_offs,
            container_seconds: data.container_seconds,
            epochs: taught.held_out_by_epoch.len() as u32,
            held_out_by_epoch: taught.held_out_by_epoch,
            seed: options.seed,
        },
        calibration,
        weights_sha256: String::new(),
    };
    Ok(Profile::new(metadata, vocabulary, novelty, bytes))
}

/// A window to learn.
struct Lesson {
    window: Encoded,
    weight: f32,
    /// By how much more it counts in the next pass because it was surprising in this one.
    attention: f32,
}

/// What teaching gives.
pub(crate) struct Taught {
    /// The weights of the pass that was taken, by name.
    pub(crate) weights: BTreeMap<String, TensorData>,
    /// Mean surprisal of held-out windows after each pass, nats a call.
    pub(crate) held_out_by_epoch: Vec<f64>,
}

/// Teaches a model `train`; `held` says when to stop.
pub(crate) fn teach(
    train: &[Counted<'_>],
    held: &[Counted<'_>],
    vocabulary: &Vocabulary,
    options: Options,
    progress: &Progress,
) -> Result<Taught, ModelError> {
    let lesson = |w: &Counted<'_>| Lesson { window: Encoded::new(w.window, vocabulary), weight: w.weight(), attention: 1.0 };
    let mut lessons: Vec<_> = train.iter().map(lesson).collect();
    let judged: Vec<_> = held.iter().step_by(held.len().div_ceil(JUDGED).max(1)).cloned().collect();
    let epochs = match options.epochs {
        0 => (WORK / lessons.len().max(1)).clamp(EPOCHS.0, EPOCHS.1),
        n => n as usize,
    };
    // Small recordings get small batches: learning takes steps, not only passes.
    let batch = (lessons.len() / 32).clamp(8, 64);
    let steps = lessons.len().div_ceil(batch);
    let mut rng = StdRng::seed_from_u64(options.seed);
    let model = Lstm::new(options.sizes, vocabulary.classes(), vocabulary.unseen(), options.seed as i64)?;
    let mut teacher = Teacher::new(model, options.seed)?;
    let mut taken: Option<BTreeMap<String, TensorData>> = None;
    let (mut least_loss, mut least_held) = (f64::INFINITY, f64::INFINITY);
    let (mut stuck, mut worse) = (0, 0);
    let mut held_out_by_epoch = Vec::new();
    for epoch in 0..epochs {
        lessons.shuffle(&mut rng);
        progress.begin(epoch as u32 + 1, epochs as u32, steps);
        let mut loss = 0.0;
        for (n, part) in lessons.chunks_mut(batch).enumerate() {
            let shown: Vec<_> = part.iter().map(|l| (disguise(&l.window, &mut rng), l.weight * l.attention)).collect();
            let done = (epoch * steps + n) as f64 / (epochs * steps) as f64;
            let rate = RATE.1 + (RATE.0 - RATE.1) * 0.5 * (1.0 + (done * std::f64::consts::PI).cos());
            let surprisals = teacher.step(&shown, rate)?;
            let mean = surprisals.iter().sum::<f32>() / surprisals.len() as f32;
            loss += f64::from(mean) / steps as f64;
            for (lesson, surprisal) in part.iter_mut().zip(surprisals) {
                lesson.attention =
                    if least_loss.is_finite() { (surprisal / least_loss as f32).clamp(1.0, ATTENTION) } else { 1.0 };
            }
            progress.step(f64::from(mean));
        }
        let scores = scores(&teacher.model, None, &judged, &|w| Encoded::new(w.window, vocabulary))?;
        let mean = mean(&scores);
        held_out_by_epoch.push(mean);
        progress.line(&format!("pass {}/{epochs}: {loss:.3} nats/call in training, {mean:.3} held out", epoch + 1));
        let falls = loss < least_loss * (1.0 - IMPROVEMENT) || mean < least_held * (1.0 - IMPROVEMENT);
        stuck = if falls { 0 } else { stuck + 1 };
        (least_loss, least_held) = (least_loss.min(loss), least_held.min(mean));
        worse = if mean <= least_held * (1.0 + TOLERANCE) { 0 } else { worse + 1 };
        if worse == 0 {
            taken = Some(teacher.model.weights()?);
        }
        if stuck >= PATIENCE || worse >= PATIENCE {
            progress.line(&format!("no gain for {PATIENCE} passes: done"));
            break;
        }
    }
    progress.finish();
    let weights = taken.ok_or_else(|| ModelError::Compute("surprisal is no number: training diverged".into()))?;
    Ok(Taught { weights, held_out_by_epoch })
}

fn mean(scores: &[(Score, u64)]) -> f64 {
    let (sum, n) = scores.iter().fold((0.0, 0.0), |(sum, n), (s, k)| (sum + s.nats() * *k as f64, n + *k as f64));
    sum / n.max(1.0)
}

fn with<'a>(windows: &[Counted<'a>], scores: &[(Score, u64)]) -> Vec<(Counted<'a>, Score)> {
    windows.iter().cloned().zip(scores.iter().map(|(score, _)| *score)).collect()
}

/// The sets that were trained on, scaled by what is held out.
fn novelty(
    model: &Lstm,
    train: &[Counted<'_>],
    held: &[Counted<'_>],
    vocabulary: &Vocabulary,
    most: f64,
) -> Result<Novelty, ModelError> {
    let known = KnownSets::learn(train.iter().map(|w| w.window.calls.as_slice()));
    let surprisals = scores(model, None, held, &|w| Encoded::new(w.window, vocabulary))?;
    let both = |(w, (score, n)): (&Counted<'_>, &(Score, u64))| (score.nats(), known.distance(&known.set(&w.window.calls)), *n);
    let both: Vec<_> = held.iter().zip(&surprisals).map(both).collect();
    Ok(Novelty::new(known, nats_per_distance(&both, most)))
}

/// Scores of windows; without `novelty` of their surprisal alone.
fn scores(
    model: &Lstm,
    novelty: Option<&Novelty>,
    windows: &[Counted<'_>],
    encode: &dyn Fn(&Counted<'_>) -> Encoded,
) -> Result<Vec<(Score, u64)>, ModelError> {
    let mut scores = Vec::with_capacity(windows.len());
    for part in windows.chunks(1024) {
        let encoded: Vec<_> = part.iter().map(encode).collect();
        let judged = model.judge(&encoded)?;
        let novelty = |w: &Counted<'_>| novelty.map_or(0.0, |n| n.nats(&w.window.calls));
        scores.extend(part.iter().zip(judged).map(|(w, j)| (score::window(&j.nll, &w.window.calls, novelty(w)), w.count)));
    }
    Ok(scores)
}

/// A window as it is shown once: some calls unknown, some contexts forgotten.
fn disguise(window: &Encoded, rng: &mut StdRng) -> Encoded {
    let mut shown = window.clone();
    if rng.random_bool(START_SHARE) {
        shown = shown.without_context();
    }
    for i in 0..shown.targets.len() {
        if rng.random_bool(UNKNOWN_SHARE) {
            shown.targets[i] = UNKNOWN;
            if let Some(input) = shown.inputs.get_mut(i + 1) {
                *input = UNKNOWN;
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use surprisal_scorer::detect::vocab::BOS;

    #[test]
    fn a_disguised_window_stays_consistent() {
        let window = Encoded { inputs: (3..80).collect(), targets: (4..81).collect(), scored_from: 15 };
        let mut rng = StdRng::seed_from_u64(1);
        let (mut unknown, mut starts) = (0, 0);
        for _ in 0..2000 {
            let shown = disguise(&window, &mut rng);
            assert_eq!(shown.inputs[1..], shown.targets[..shown.targets.len() - 1]);
            starts += usize::from(shown.inputs[0] == BOS);
            unknown += shown.targets.iter().filter(|t| **t == UNKNOWN).count();
        }
        assert!((50..150).contains(&starts), "{starts}");
        assert!((500..1000).contains(&unknown), "{unknown}");
    }
}
