//! The command line.
//!
//! In: arguments and the environment. Out: a [`Command`] and its settings. Never: an action.

use crate::detect::fused::Kernel;
use crate::evaluate::dataset::{Abi, Traces};
use crate::evaluate::methods::Name;
use crate::judge::threshold::Threshold;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Scores containers by how surprising their system calls are.
#[derive(Debug, Parser)]
#[command(name = "surprisal-scorer", version, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 ok; 1 something failed; 2 bad command line; 64 bad configuration; 65 bad input data; \
                        69 the scorer cannot be reached; 78 built without libtorch.")]
pub struct Cli {
    /// How the log is written to standard error
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, env = "SURPRISAL_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take calls from agents, score them, answer queries
    Serve(Serve),
    /// Make a profile of each workload in recordings of normal behaviour
    Train(Train),
    /// Compare methods on a data set of traces or recordings with attacks
    Evaluate(Evaluate),
    /// Ask for the scores of containers
    Scores {
        /// What to ask
        #[command(subcommand)]
        command: Scores,
    },
    /// Ask for profiles, or set a threshold
    Profile {
        /// What to ask
        #[command(subcommand)]
        command: Profile,
    },
    /// Ask what went through each hop of the line, and what was dropped there
    Status(Ask),
}

/// Flags of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Address of the gRPC services [default: 127.0.0.1:7676]; with port 0 any free one, which the log names
    #[arg(long, value_name = "ADDR", env = "SURPRISAL_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Directory of profiles; what appears or changes there is in force within a second
    #[arg(long, value_name = "DIR", env = "SURPRISAL_PROFILES")]
    pub profiles: Option<PathBuf>,
    /// Threshold for all workloads that have none of their own, nats a call [default: each profile's calibrated one]
    #[arg(long, value_name = "NATS", env = "SURPRISAL_THRESHOLD")]
    pub threshold: Option<Threshold>,
    /// Address of /metrics, /livez and /readyz [default: not served]
    #[arg(long, value_name = "ADDR", env = "SURPRISAL_ADMIN")]
    pub admin: Option<SocketAddr>,
    /// Configuration, TOML: listen, profiles, threshold, admin
    #[arg(long, value_name = "FILE", env = "SURPRISAL_CONFIG")]
    pub config: Option<PathBuf>,
    /// Cores that judge a batch of windows
    #[arg(long, value_name = "N", default_value_t = 1, env = "SURPRISAL_THREADS")]
    pub threads: u16,
    /// How windows are computed: int8-vnni, f32-avx512, f32-avx2, f32-portable, int8-portable [default: the fastest here]
    #[arg(long, value_name = "KERNEL", env = "SURPRISAL_KERNEL")]
    pub kernel: Option<Kernel>,
}

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

/// Which scorer is asked, and how the answer looks.
#[derive(Debug, Args)]
pub struct Ask {
    /// The scorer
    #[arg(long, visible_alias = "server", value_name = "URL", default_value = "http://127.0.0.1:7676", env = "SURPRISAL_SCORER")]
    pub scorer: String,
    /// How the answer looks
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// How an answer looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// What to ask of scores.
#[derive(Debug, Subcommand)]
pub enum Scores {
    /// One container's score and its evidence
    Get(Which),
    /// The scores of all that match
    List(Which),
    /// The scores of all that match now, then each one when it changes
    Watch(Which),
}

/// Which containers.
#[derive(Debug, Args)]
pub struct Which {
    /// Which scorer, and how the answer looks
    #[command(flatten)]
    pub ask: Ask,
    /// Kubernetes namespace
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Pod
    #[arg(long, value_name = "NAME")]
    pub pod: Option<String>,
    /// Container name
    #[arg(long, value_name = "NAME")]
    pub container: Option<String>,
    /// Container id, or its beginning
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Workload: namespace/owner/container
    #[arg(long, value_name = "NAME")]
    pub workload: Option<String>,
    /// Node
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Only this verdict; may be repeated
    #[arg(long, value_enum, value_name = "VERDICT")]
    pub verdict: Vec<VerdictName>,
    /// Only scores of at least this many nats a call
    #[arg(long, value_name = "NATS")]
    pub min_score: Option<f64>,
    /// Pod sandboxes too
    #[arg(long)]
    pub sandboxes: bool,
}

/// A verdict, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VerdictName {
    /// Below the threshold.
    Normal,
    /// At or above the threshold.
    Anomalous,
    /// No score.
    Unscored,
}

/// What to do with profiles.
#[derive(Debug, Subcommand)]
pub enum Profile {
    /// Ask a scorer
    #[command(flatten)]
    Ask(AskProfile),
    /// Say how many alerts which threshold would have raised in recordings
    Advise(Advise),
}

/// Flags of `profile advise`.
#[derive(Debug, Args)]
pub struct Advise {
    /// Directory of profiles
    #[arg(long, value_name = "DIR", env = "SURPRISAL_PROFILES")]
    pub profiles: PathBuf,
    /// Take what is there of a recording that was cut short
    #[arg(long)]
    pub allow_truncated: bool,
    /// How the answer looks
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Cores that one operation of the model may use
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: u16,
    /// Recordings; before them, a workload that has a profile [default: every such workload in the recordings]
    #[arg(required = true, value_name = "[WORKLOAD] RECORDING")]
    pub recordings: Vec<PathBuf>,
}

/// What to ask of profiles.
#[derive(Debug, Subcommand)]
pub enum AskProfile {
    /// All profiles
    List(Ask),
    /// One profile
    Show {
        /// Which scorer, and how the answer looks
        #[command(flatten)]
        ask: Ask,
        /// Workload: namespace/owner/container
        workload: String,
    },
    /// Set or clear a threshold; takes effect at once and survives restarts
    #[command(group = clap::ArgGroup::new("whose").required(true).args(["workload", "global"]))]
    #[command(group = clap::ArgGroup::new("what").required(true).args(["set", "clear"]))]
    Threshold {
        /// Which scorer, and how the answer looks
        #[command(flatten)]
        ask: Ask,
        /// Workload: namespace/owner/container
        workload: Option<String>,
        /// For all workloads that have none of their own
        #[arg(long)]
        global: bool,
        /// Nats a call
        #[arg(long, value_name = "NATS", allow_negative_numbers = true)]
        set: Option<Threshold>,
        /// Back to the global or the calibrated one
        #[arg(long)]
        clear: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_asked_is_understood_or_refused() {
        let parse = |line: &str| Cli::try_parse_from(line.split_whitespace()).map_err(|e| e.exit_code());
        for line in [
            "s serve --profiles d --listen 127.0.0.1:0 --threshold 2.5",
            "s train --profiles d r.jsonl q.jsonl --workload a/b/c",
            "s evaluate d --methods stide,lstm --labelled-folds 3 --group-duplicates --fpr 0.05 --abi i386 --json -",
            "s scores list --namespace n --verdict anomalous --min-score 1.5 -o json",
            "s profile show a/b/c",
            "s status -o json --scorer http://127.0.0.1:1",
            "s status -o json --server http://127.0.0.1:1",
            "s profile advise --profiles d a/b/c r.jsonl -o json",
            "s profile threshold a/b/c --set 3",
            "s profile threshold --global --clear",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
        for line in [
            "s",
            "s serve --threshold -1",
            "s serve --listen here",
            "s train --profiles d",
            "s train --profiles d --hidden 0 r",
            "s evaluate",
            "s evaluate d --methods strange",
            "s evaluate d --fpr 1",
            "s evaluate d --labelled-folds 1",
            "s evaluate d --group-duplicates",
            "s profile threshold --set 3",
            "s profile advise --profiles d",
            "s profile threshold a/b/c",
            "s profile threshold a/b/c --set 3 --clear",
            "s profile threshold a/b/c --set -3",
            "s scores list --verdict odd",
        ] {
            assert_eq!(parse(line).err(), Some(2), "{line}");
        }
    }
}
