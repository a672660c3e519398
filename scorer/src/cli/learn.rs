//! Flags of `train` and `evaluate`.
//!
//! In: arguments and the environment. Out: [`Train`], [`Evaluate`]. Never: an action.

use crate::evaluate::abi::Abi;
use crate::evaluate::methods::Name;
use crate::evaluate::text::Traces;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// How a model learns: flags of `train` and `evaluate`.
#[derive(Debug, Args)]
pub struct Learning {
    /// Windows trained on at most
    #[arg(long, value_name = "N", default_value_t = 3072, value_parser = clap::value_parser!(u32).range(25..))]
    pub max_windows: u32,
    /// Passes at most [default: by the size of the data]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub epochs: u32,
    /// Width of the embedding
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub embedding: u32,
    /// Width of the hidden state
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub hidden: u32,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Cores that one operation of the model may use
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: u16,
}

/// Flags of `train`.
#[derive(Debug, Args)]
pub struct Train {
    /// Directory that the profiles are written to
    #[arg(long, value_name = "DIR", env = "SURPRISAL_PROFILES")]
    pub profiles: PathBuf,
    /// Only this workload [default: every workload in the recordings]
    #[arg(long, value_name = "NAME")]
    pub workload: Option<String>,
    /// Pool all that is chosen into one profile of this name
    #[arg(long = "as", value_name = "NAME")]
    pub rename: Option<String>,
    /// Take recordings of any label, not only "normal" and unlabelled ones
    #[arg(long)]
    pub any_label: bool,
    /// Take what is there of a recording that was cut short
    #[arg(long)]
    pub allow_truncated: bool,
    /// False alarms per container-day that the threshold is calibrated for
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    pub false_alarms_per_day: f64,
    /// How the model learns
    #[command(flatten)]
    pub model: Learning,
    /// Recordings, in the order of time
    #[arg(required = true, value_name = "RECORDING")]
    pub recordings: Vec<PathBuf>,
}

/// Flags of `evaluate`.
#[derive(Debug, Args)]
#[command(after_long_help = DATA_SETS)]
pub struct Evaluate {
    /// Folder of the data set
    #[arg(value_name = "DATA")]
    pub data: PathBuf,
    /// What a trace is in a file of text
    #[arg(long, value_enum, default_value_t = Traces::Line)]
    pub traces: Traces,
    /// Numbering of calls in files of text
    #[arg(long, value_enum, default_value_t = Abi::X86_64)]
    pub abi: Abi,
    /// Only this workload of recordings [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    pub workload: Option<String>,
    /// Only these methods, in this order [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub methods: Vec<Name>,
    /// Forget the classes of arguments, to see what they are worth
    #[arg(long)]
    pub no_argument_classes: bool,
    /// The labelled, cross-validated protocol too, with this many folds
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(2..=100))]
    pub labelled_folds: Option<u16>,
    /// Identical traces stay in one fold
    #[arg(long, requires = "labelled_folds")]
    pub group_duplicates: bool,
    /// Go on although files or traces are both trained on and judged
    #[arg(long)]
    pub allow_leakage: bool,
    /// Share of held-out normal items that may lie above the threshold
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = share)]
    pub fpr: f64,
    /// Judge by the fit that the threshold was chosen with, instead of one with all of normal-train
    #[arg(long)]
    pub one_fit: bool,
    /// Resamples of the AUC's interval; 0: none
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub bootstrap: u32,
    /// How our model learns
    #[command(flatten)]
    pub model: Learning,
    /// How tables look
    #[arg(short, long, value_enum, default_value_t = Tables::Table)]
    pub output: Tables,
    /// Write all figures as JSON; `-`: to standard output, instead of tables
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write pictures there (SVG): roc.svg, roc-log.svg, for recordings score-over-time-METHOD.svg
    #[arg(long, value_name = "DIR")]
    pub plots: Option<PathBuf>,
    /// Write every score, tab-separated
    #[arg(long, value_name = "FILE")]
    pub save_scores: Option<PathBuf>,
    /// Say in the JSON how long each method took: it then differs from run to run
    #[arg(long)]
    pub timings: bool,
}

/// How the tables of `evaluate` look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tables {
    /// For a terminal.
    Table,
    /// For a document.
    Markdown,
}

const DATA_SETS: &str = "\
A data set is a folder with normal-train, normal-test and attack, each a folder or one file of that name:

  Traces: *.txt, a trace a line (or a file: --traces file). Calls are numbers or names, parted by blanks
  or commas; lines that begin with # are comments. Below attack, a folder or else the file's name is the
  attack's family: attack/Hydra_FTP_1/a.txt, attack/Hydra_FTP.txt.

  Recordings: *.jsonl or *.jsonl.zst, as the agent writes them. Beside attack/NAME.jsonl[.zst] lies
  NAME.attacks.json: {\"attacks\":[{\"family\":\"sqlmap\",\"from\":TIME,\"to\":TIME,\"container\":ID}]} with times as in
  RFC 3339; without a container all of the recording's are attacked. What lies outside is normal.

Protocols: normal-only (fitted on normal-train) and, with --labelled-folds, labelled-cv. The threshold of
normal-only is chosen on the last fifth of normal-train, never on what is judged.

Exit codes: 1 a method failed (the others are reported); 65 a bad data set, or leakage: the same file or
trace is trained on and judged; 78 a method needs libtorch.";

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_source| format!("{text:?} is no number"))?;
    if (0.0..1.0).contains(&share) { Ok(share) } else { Err("a share is at least 0 and less than 1".to_owned()) }
}
