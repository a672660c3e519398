//! What `surprisal-scorer train` and `evaluate` do.
//!
//! In: a command's flags. Out: its work, or an [`Error`] with a documented code. Never: serves, asks.

use crate::lstm::model::set_threads;
use crate::ours::base::How;
use crate::ours::trainer::Trainer;
use crate::teach::learn;
use std::collections::BTreeMap;
use std::io::Write;
use surprisal_scorer::cli::learn::{Evaluate, Train};
use surprisal_scorer::detect::model::Sizes;
use surprisal_scorer::evaluate::methods::{Fitter, Name};
use surprisal_scorer::profile::name::check_workload;
use surprisal_scorer::run::{self, Error};
use surprisal_scorer::train::{Options, corpus::Corpus, progress::Progress, workload::Workload};

/// Starts anew with `OMP_WAIT_POLICY=PASSIVE`, which libtorch's OpenMP reads when it is loaded, before `main`:
/// with its spinning, threads that wait take whole cores from those that work.
fn wait_passively() {
    use std::os::unix::process::CommandExt as _;
    const POLICY: &str = "OMP_WAIT_POLICY";
    if std::env::var_os(POLICY).is_some() {
        return;
    }
    let again = std::env::current_exe().map(|exe| {
        let mut args = std::env::args_os();
        let name = args.next().unwrap_or_else(|| exe.clone().into());
        std::process::Command::new(exe).arg0(name).args(args).env(POLICY, "PASSIVE").exec()
    });
    let error = again.unwrap_or_else(|e| e);
    tracing::warn!(%error, "could not start anew with OMP_WAIT_POLICY=PASSIVE: set it, or the model may be slow on busy cores");
}

/// `evaluate`.
#[allow(clippy::needless_pass_by_value, reason = "as the other commands")]
pub fn evaluate(args: Evaluate, out: &mut dyn Write) -> Result<(), Error> {
    wait_passively();
    set_threads(args.model.threads);
    let how = How {
        sizes: Sizes { embedding: args.model.embedding, hidden: args.model.hidden },
        max_windows: args.model.max_windows as usize,
        epochs: args.model.epochs,
        threads: args.model.threads,
    };
    let fitter = |name| match name {
        Name::Ours(ours) => Box::new(Trainer { ours, how }) as Box<dyn Fitter>,
        Name::Baseline(kind) => Box::new(kind),
    };
    run::evaluate(&args, &fitter, out)
}

/// `train`.
#[allow(clippy::needless_pass_by_value, reason = "as the other commands")]
pub fn train(args: Train) -> Result<(), Error> {
    wait_passively();
    let progress = Progress::default();
    let mut corpus = Corpus::default();
    for path in &args.recordings {
        corpus.read(path, args.any_label, args.allow_truncated)?;
    }
    let corpus = corpus.finish();
    for cut in &corpus.truncated {
        progress.line(&format!("{cut}: taken as far as it goes"));
    }
    if corpus.unnamed_calls > 0 {
        progress.line(&format!("{} calls of containers that the recordings do not name are left out", corpus.unnamed_calls));
    }
    let options = Options {
        sizes: Sizes { embedding: args.model.embedding, hidden: args.model.hidden },
        max_windows: args.model.max_windows as usize,
        epochs: args.model.epochs,
        budget: args.false_alarms_per_day,
        seed: args.model.seed,
        threads: args.model.threads,
    };
    for (workload, data) in chosen(corpus.workloads, &args)? {
        check_workload(&workload)?;
        let profile = learn(&workload, &data, options, &progress)?;
        let dir = profile.write(&args.profiles)?;
        let c = &profile.metadata.calibration;
        progress.line(&format!(
            "{workload}: threshold {:.3} nats/call{} (held-out mean {:.3}, highest {:.3}, highest of all {:.3}); version {} in {}",
            c.threshold.nats(),
            if c.extrapolated { ", extrapolated" } else { "" },
            c.mean,
            c.quantiles.last().map_or(0.0, |q| q.score),
            c.highest,
            profile.metadata.version,
            dir.display()
        ));
    }
    Ok(())
}

fn chosen(mut found: BTreeMap<String, Workload>, args: &Train) -> Result<BTreeMap<String, Workload>, Error> {
    let names = found.keys().cloned().collect::<Vec<_>>().join(", ");
    if let Some(name) = &args.workload {
        found.retain(|w, _| w == name);
    }
    // Without a name there is no workload to make a profile of, unless one is given.
    if args.rename.is_none() {
        found.remove("");
    }
    if found.is_empty() {
        return Err(Error::Nothing(match &args.workload {
            Some(name) => format!("the recordings hold no calls of workload {name:?} (they hold: {names})"),
            None => "the recordings hold no calls of a named container".to_owned(),
        }));
    }
    let Some(name) = &args.rename else { return Ok(found) };
    let mut all = Workload::default();
    for workload in found.into_values() {
        all.merge(workload);
    }
    Ok(BTreeMap::from([(name.clone(), all)]))
}
