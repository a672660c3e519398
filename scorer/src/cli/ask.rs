//! What is asked of a scorer: `scores`, `profile`, `status`.
//!
//! In: arguments and the environment. Out: [`Scores`], [`Profile`], [`Ask`]. Never: an answer.

use crate::judge::threshold::Threshold;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

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
    /// A label of the pod, where Kubernetes has said it; may be repeated: all must match
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,
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

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
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
