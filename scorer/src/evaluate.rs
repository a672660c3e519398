//! `evaluate`: how well do methods tell attacks from normal behaviour?
//!
//! In: a data set. Out: a [`Report`], and what belongs to it: scores, plots. Never: an attack that has a say in a
//! threshold, a hyper-parameter or a choice of method.
//!
//! # Data sets
//! A folder with three parts, each a folder or a single file of that name (with its ending):
//!
//! | part | holds |
//! |---|---|
//! | `normal-train` | normal behaviour, to learn from |
//! | `normal-test` | normal behaviour, to be judged |
//! | `attack` | attacks, to be judged |
//!
//! **Traces**: files `*.txt` (in a folder, others are passed over). A trace is a line; a file of one line is one trace
//! (`--traces file`: all lines of a file are one). Calls are numbers or names, of `--abi x86-64` or `i386`, parted by blanks
//! or commas; `openat:15` is a call with its class of arguments, as recordings spell it. Lines that begin with `#` are
//! comments. Below `attack`, the folder that a file lies in names the attack's family, or else the file itself:
//! `attack/Hydra_FTP_1/a.txt` and `attack/Hydra_FTP.txt` are both of `Hydra_FTP`.
//!
//! **Recordings** of the agent: `*.jsonl` or `*.jsonl.zst`; see [`recorded`].
//!
//! # Protocols
//! - `normal-only`: methods learn from `normal-train` alone and score the other two. The threshold is the one above which
//!   `--fpr` of the last fifth of `normal-train` lies, scored by a method that was fitted without it; then the method is fitted
//!   with all of it (`--one-fit`: is not).
//! - `labelled-cv` (`--labelled-folds K`, traces only): all traces are parted into K folds; methods learn from the labels of
//!   K-1 of them and score the one that is left out. The threshold is the method's own.
//!
//! These answer different questions; a figure of the one says nothing of the other.

pub mod baseline;
pub mod data;
pub mod dataset;
pub mod figures;
pub mod leakage;
pub mod lidds;
pub mod methods;
pub mod metrics;
pub mod plot;
pub mod protocol;
pub mod recorded;
pub mod report;
pub mod scores;

use crate::cause::chain;
use crate::train::progress::Progress;
use data::{DataSet, Item, Kind, Set};
use dataset::{Abi, DataError, Source, Traces};
use leakage::Leakage;
use methods::{Fitter, Unfit};
use protocol::{Folds, NormalOnly, Scores};
use report::{Data, FoldCounts, Outcome, Report, Timing};
use std::collections::BTreeMap;
use std::path::Path;

/// How a data set is read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Numbering of calls.
    pub abi: Abi,
    /// What a trace is.
    pub traces: Traces,
    /// Whose windows are taken from recordings; `None`: the only workload there is.
    pub workload: Option<String>,
}

/// How it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How figures are made.
    pub figures: figures::Options,
    /// Fit once, not twice, in the normal-only protocol.
    pub one_fit: bool,
    /// Folds of the labelled protocol; `None`: without it.
    pub folds: Option<usize>,
    /// Identical traces stay in one fold.
    pub group_duplicates: bool,
    /// Go on although training and test have files or traces in common.
    pub allow_leakage: bool,
    /// Say how long things took.
    pub timings: bool,
    /// Seed of everything random.
    pub seed: u64,
}

/// Why nothing was judged.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The data set cannot be read.
    #[error("data set")]
    Data(#[from] DataError),
    /// Training and test have something in common.
    #[error("data set: {0}; --allow-leakage judges it all the same")]
    Leakage(Leakage),
    /// There are fewer traces of a kind than folds.
    #[error("{normal} normal traces and {attack} attack traces cannot be parted into {folds} folds")]
    Folds {
        /// Normal traces.
        normal: usize,
        /// Attack traces.
        attack: usize,
        /// Folds asked for.
        folds: usize,
    },
    /// Windows of one recording are too alike for a cross-validation.
    #[error("--labelled-folds is for traces: windows of one recording would lie in several folds")]
    FoldsOfRecordings,
}

/// Reads a data set.
pub fn load(dir: &Path, reading: &Reading) -> Result<DataSet, DataError> {
    let mut text = [const { Vec::new() }; 3];
    let mut recordings = [const { Vec::new() }; 3];
    for (n, set) in Set::ALL.into_iter().enumerate() {
        match dataset::find(dir, set)? {
            Source::Text(files) => text[n] = files,
            Source::Recordings(files) => recordings[n] = files,
        }
    }
    let recorded = Set::ALL.into_iter().zip(&recordings).find(|(_, files)| !files.is_empty());
    match recorded {
        None => dataset::read(dir, text, reading.abi, reading.traces),
        Some(_) if text.iter().all(Vec::is_empty) => recorded::read(dir, recordings, reading.workload.as_deref()),
        Some((set, _)) => Err(DataError::Mixed { dir: dir.to_owned(), set: set.name() }),
    }
}

/// The scores that a report was made from.
#[derive(Clone, Debug)]
pub struct Said {
    /// Protocol.
    pub protocol: &'static str,
    /// Method.
    pub method: String,
    /// Of the items of [`judged`], in their order.
    pub scores: Scores,
}

/// The names of the protocols.
pub const NORMAL_ONLY: &str = "normal-only";
/// See [`NORMAL_ONLY`].
pub const LABELLED_CV: &str = "labelled-cv";

/// What a protocol judges.
pub fn judged<'a>(protocol: &str, data: &'a DataSet) -> Vec<&'a Item> {
    if protocol == LABELLED_CV { data.train.iter().chain(&data.test).collect() } else { data.test.iter().collect() }
}

/// Judges methods by a data set. `path` only names it.
pub fn evaluate(
    path: &str,
    data: &DataSet,
    reading: &Reading,
    fitters: &[Box<dyn Fitter>],
    options: Options,
    progress: &Progress,
) -> Result<(Report, Vec<Said>), EvaluateError> {
    let leakage = Leakage::of(data);
    if !leakage.is_none() && !options.allow_leakage {
        return Err(EvaluateError::Leakage(leakage));
    }
    let folds = options.folds.map(|k| folds(data, k, options)).transpose()?;
    let mut report = Report {
        data: Data::of(path.to_owned(), data, reading.abi, reading.workload.clone(), leakage),
        seed: options.seed,
        bootstrap: options.figures.resamples,
        target_fpr: options.figures.fpr,
        protocols: BTreeMap::new(),
        protocol_notes: BTreeMap::new(),
        folds: folds.as_ref().map(|f| FoldCounts {
            folds: f.count,
            duplicates_across_folds: f.seen,
            grouped: options.group_duplicates,
        }),
        timings: options.timings.then(BTreeMap::new),
        order: fitters.iter().map(|f| f.key().to_owned()).collect(),
    };
    let mut said = Vec::new();
    let mut protocols = vec![NORMAL_ONLY];
    protocols.extend(folds.as_ref().map(|_| LABELLED_CV));
    for protocol in protocols {
        let items = judged(protocol, data);
        report.protocol_notes.insert(protocol, note(protocol, data, options, folds.as_ref()));
        for fitter in fitters {
            progress.line(&format!("{protocol}: {}", fitter.key()));
            let scores = match &folds {
                Some(folds) if protocol == LABELLED_CV => protocol::labelled_cv(&items, folds, &**fitter, options.seed, progress),
                _ => {
                    let how = NormalOnly { one_fit: options.one_fit, seed: options.seed };
                    protocol::normal_only(data, &**fitter, how, progress)
                }
            };
            let outcome = match scores {
                Err(Unfit::NotApplicable(not_applicable)) => Outcome::NotApplicable { not_applicable },
                Err(error @ Unfit::Failed(_)) => Outcome::Failed { failed: chain(&error) },
                Ok(scores) => {
                    let figures = if protocol == LABELLED_CV {
                        figures::labelled_cv(&items, &scores, options.figures)
                    } else {
                        figures::normal_only(data, &scores, options.figures)
                    };
                    if let Some(timings) = &mut report.timings {
                        let [fit, score] = scores.took.map(|t| t.as_secs_f64());
                        let timing = Timing { fit_seconds: fit, score_seconds: score };
                        timings.entry(protocol).or_default().insert(fitter.key().to_owned(), timing);
                    }
                    said.push(Said { protocol, method: fitter.key().to_owned(), scores });
                    Outcome::Figures(Box::new(figures))
                }
            };
            report.protocols.entry(protocol).or_default().insert(fitter.key().to_owned(), outcome);
        }
    }
    Ok((report, said))
}

fn folds(data: &DataSet, k: usize, options: Options) -> Result<Folds, EvaluateError> {
    if data.kind == Kind::Recordings {
        return Err(EvaluateError::FoldsOfRecordings);
    }
    let items = judged(LABELLED_CV, data);
    let attack = items.iter().filter(|i| i.is_attack()).count();
    let normal = items.len() - attack;
    if normal.min(attack) < k {
        return Err(EvaluateError::Folds { normal, attack, folds: k });
    }
    Ok(Folds::new(&items, k, options.group_duplicates, options.seed))
}

fn note(protocol: &str, data: &DataSet, options: Options, folds: Option<&Folds>) -> String {
    match folds {
        Some(folds) if protocol == LABELLED_CV => format!(
            "fitted with the labels of {} of {} folds, judged on the one left out; threshold: the method's own; {} traces \
             have an identical one in another fold",
            folds.count - 1,
            folds.count,
            folds.seen
        ),
        _ => {
            let out = data.held_out().into_iter().filter(|h| *h).count();
            let kind = if data.kind == Kind::Traces { "traces" } else { "windows" };
            let then = if options.one_fit { "judged by the same fit" } else { "then fitted anew with all of it to judge" };
            format!(
                "fitted on normal-train alone; threshold: {} % of the last {out} {kind} of it lie above, scored by a fit \
                 without them; {then}",
                options.figures.fpr * 100.0
            )
        }
    }
}

#[cfg(test)]
mod tests;
