//! What the binary does for each command, and with which exit code it ends.
//!
//! In: a command's flags. Out: its work, or an [`Error`] with a documented code. Never: a decision of a stage.

use crate::advise::{self, AdviseError};
use crate::app::{App, AppError};
use crate::cli::ask::Advise;
use crate::cli::learn::{Evaluate, Tables};
use crate::cli::serve::Serve;
use crate::client::{self, ClientError};
use crate::config::{Config, ConfigError, Settings};
use crate::detect::fused::{Fused, Kernel};
use crate::detect::model::{LanguageModel, ModelError};
use crate::detect::surprisal::Loader;
use crate::evaluate::compare::{self, EvaluateError};
use crate::evaluate::load::{self, Reading};
use crate::evaluate::methods::{Fitter, Name};
use crate::evaluate::report::{Outcome, Style};
use crate::evaluate::{figures, plot, scores};
use crate::profile::error::ProfileError;
use crate::profile::store::Store as _;
use crate::profile::weights;
use crate::shutdown;
use crate::train::{TrainError, progress::Progress, recording::CorpusError};
use std::io::Write;
use std::path::Path;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is bad.
    #[error("configuration")]
    Config(#[from] ConfigError),
    /// A recording is bad.
    #[error("recording")]
    Recording(#[from] CorpusError),
    /// There is nothing to train on.
    #[error("{0}")]
    Nothing(String),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A profile could not be written.
    #[error("profile")]
    Profile(#[from] ProfileError),
    /// Serving failed.
    #[error(transparent)]
    App(#[from] AppError),
    /// Nothing could be judged.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// Figures could not be drawn.
    #[error(transparent)]
    Plot(#[from] plot::PlotError),
    /// A method failed, and the others did not.
    #[error("methods failed: {0}")]
    Methods(String),
    /// Figures could not be written.
    #[error("writing {what}")]
    Write {
        /// What they were written to.
        what: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Asking failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Advice failed.
    #[error(transparent)]
    Advise(#[from] AdviseError),
    /// The runtime could not be started.
    #[error("starting the runtime")]
    Runtime(#[from] std::io::Error),
    /// Learning is another program's, and it is not there.
    #[error("{command} needs {}, which cannot be started", path.display())]
    Learner {
        /// The command.
        command: &'static str,
        /// Where it was looked for.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The other program was asked for what is this one's.
    #[error("this program only trains and evaluates: ask surprisal-scorer")]
    NotLearning,
}

impl Error {
    /// The exit code, as the README documents it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Client(ClientError::Url(_)) => 64,
            Self::Recording(_)
            | Self::Nothing(_)
            | Self::Advise(AdviseError::Recording(_) | AdviseError::Nothing(_))
            | Self::Evaluate(_)
            | Self::Train(TrainError::TooFew { .. })
            | Self::App(AppError::Profiles(ProfileError::Inconsistent(_) | ProfileError::Damaged(_))) => 65,
            Self::Client(ClientError::Unreachable { .. } | ClientError::Gone { .. }) => 69,
            Self::Learner { .. } => 78,
            Self::NotLearning => 2,
            _ => 1,
        }
    }

    /// Whoever read the answer has gone.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Client(ClientError::Write(e)) | Self::Write { source: e, .. } if e.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// Runs a question to a scorer.
pub fn ask(question: impl Future<Output = Result<(), ClientError>>) -> Result<(), Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(question)?;
    Ok(())
}

fn config(args: &Serve) -> Result<Config, ConfigError> {
    let flags = Settings { listen: args.listen, profiles: args.profiles.clone(), threshold: args.threshold, admin: args.admin };
    Config::load(args.config.as_deref(), flags)
}

/// What makes a method of its name.
pub type MakeFitter<'a> = &'a dyn Fn(Name) -> Box<dyn Fitter>;

/// `evaluate`, with whoever makes the methods: our own learn, and that is not this crate's.
pub fn evaluate(args: &Evaluate, fitter: MakeFitter<'_>, out: &mut dyn Write) -> Result<(), Error> {
    let names = if args.methods.is_empty() { Name::all() } else { args.methods.clone() };
    let reading = Reading { abi: args.abi, traces: args.traces, workload: args.workload.clone() };
    let options = compare::Options {
        figures: figures::Options { fpr: args.fpr, resamples: args.bootstrap, seed: args.model.seed },
        one_fit: args.one_fit,
        folds: args.labelled_folds.map(usize::from),
        group_duplicates: args.group_duplicates,
        allow_leakage: args.allow_leakage,
        timings: args.timings,
        seed: args.model.seed,
    };
    let mut data = load::load(&args.data, &reading).map_err(EvaluateError::from)?;
    if args.no_argument_classes {
        data.forget_classes();
    }
    let fitters: Vec<_> = names.into_iter().map(fitter).collect();
    let path = args.data.display().to_string();
    let (report, said) = compare::evaluate(&path, &data, &reading, &fitters, options, &Progress::default())?;
    if let Some(file) = &args.save_scores {
        write_file(file, |to| scores::write(&data, &said, to))?;
    }
    if let Some(dir) = &args.plots {
        let pictures = plot::all(&data, &report, &said)?;
        std::fs::create_dir_all(dir).map_err(|source| Error::Write { what: dir.display().to_string(), source })?;
        for (name, svg) in pictures {
            write_file(&dir.join(name), |to| to.write_all(svg.as_bytes()))?;
        }
    }
    let json = report.json().map_err(|e| Error::Write { what: "JSON".to_owned(), source: e.into() })?;
    let to_stdout = |out: &mut dyn Write, text: &str| {
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|source| Error::Write { what: "standard output".to_owned(), source })
    };
    match args.json.as_deref() {
        Some(file) if file == Path::new("-") => to_stdout(out, &json)?,
        file => {
            if let Some(file) = file {
                write_file(file, |to| to.write_all(json.as_bytes()))?;
            }
            let style = if args.output == Tables::Markdown { Style::Markdown } else { Style::Plain };
            to_stdout(out, &report.tables(style))?;
        }
    }
    let failed: Vec<_> = report.protocols.values().flatten().filter(|(_, o)| matches!(o, Outcome::Failed { .. })).collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Error::Methods(failed.into_iter().map(|(method, _)| method.as_str()).collect::<Vec<_>>().join(", ")))
}

fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<(), Error> {
    let written = std::fs::File::create(path).and_then(|file| {
        let mut file = std::io::BufWriter::new(file);
        write(&mut file)?;
        file.flush()
    });
    written.map_err(|source| Error::Write { what: path.display().to_string(), source })
}

/// Makes models of profiles: the fastest kernel of this processor, on one core.
pub fn loader() -> Loader {
    loader_with(Kernel::fastest(), 1)
}

/// Makes models of profiles, for a kernel, on so many cores.
pub fn loader_with(kernel: Kernel, threads: u16) -> Loader {
    Box::new(move |profile| {
        let v = &profile.vocabulary;
        // However it came here: a model of another vocabulary would take one call for another.
        weights::check_vocabulary(&profile.weights, &v.checksum()).map_err(|e| ModelError::Weights(e.to_string()))?;
        let model = Fused::load(&profile.weights, profile.metadata.sizes, v.classes(), v.unseen(), kernel)?;
        Ok(Box::new(model.threads(threads)) as Box<dyn LanguageModel>)
    })
}

/// `serve`.
#[allow(clippy::needless_pass_by_value, reason = "as the other commands")]
pub fn serve(args: Serve) -> Result<(), Error> {
    let config = config(&args)?;
    let kernel = args.kernel.unwrap_or_else(Kernel::fastest);
    if !kernel.is_available() {
        tracing::warn!(%kernel, instead = %kernel.portable(), "this processor cannot run that kernel");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let end = runtime.block_on(async {
        let shutdown = shutdown::on_signal()?;
        let app = App::bind(config).await?;
        tracing::info!(%kernel, version = env!("CARGO_PKG_VERSION"), "starting");
        Ok(app.serve(loader_with(kernel, args.threads), shutdown).await?)
    });
    // A connection that does not end must not hold the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    end
}

/// `profile advise`.
#[allow(clippy::needless_pass_by_value, reason = "as the other commands")]
pub fn advise(args: Advise, out: &mut impl Write) -> Result<(), Error> {
    let store = advise::open(&args.profiles)?;
    let first = args.recordings.first().and_then(|name| name.to_str());
    let workload = first.filter(|name| store.get(name).is_some());
    let recordings = &args.recordings[usize::from(workload.is_some())..];
    let loader = loader_with(Kernel::fastest(), args.threads);
    let advice = advise::advise(&store, workload, recordings, args.allow_truncated, loader)?;
    client::advice::print(&advice, args.output, out).map_err(ClientError::from)?;
    Ok(())
}

/// Replaces this process by [`LEARNER`], which lies beside this program, with the same arguments. Only that one links libtorch.
pub fn learn_elsewhere(command: &'static str) -> Result<(), Error> {
    use std::os::unix::process::CommandExt as _;
    let path = std::env::current_exe().map_or_else(|_| LEARNER.into(), |exe| exe.with_file_name(LEARNER));
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_else(|| path.clone().into());
    let source = std::process::Command::new(&path).arg0(name).args(args).exec();
    Err(Error::Learner { command, path, source })
}

/// The program that trains and evaluates.
pub const LEARNER: &str = "surprisal-learn";
