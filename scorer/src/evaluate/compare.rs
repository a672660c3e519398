//! Compares methods on a data set.
//!
//! In: a [`DataSet`], methods to fit. Out: a [`Report`], and the scores that it was made from. Never: an attack that has a say in a
//! threshold.

use crate::cause::chain;
use crate::evaluate::data::{DataSet, Kind};
use crate::evaluate::error::DataError;
use crate::evaluate::figures;
use crate::evaluate::leakage::Leakage;
use crate::evaluate::load::Reading;
use crate::evaluate::methods::{Fitter, Unfit};
use crate::evaluate::protocol::{self, Folds, LABELLED_CV, NORMAL_ONLY, NormalOnly, Said, judged};
use crate::evaluate::report::{Data, FoldCounts, Outcome, Report, Timing};
use crate::train::progress::Progress;
use std::collections::BTreeMap;

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
