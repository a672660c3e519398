//! The command line.
//!
//! In: arguments. Out: [`Cli`]. Never: reads a file or the environment, knows a default; [`crate::config`] does.

#![allow(clippy::doc_markdown, reason = "doc comments here are help texts for a terminal")]

use crate::{
    choice::{CaptureMethod, LogFormat},
    container::{Membership, Rule},
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{net::SocketAddr, path::PathBuf};

/// Follows containers' system calls on this node and sends them to a scorer.
#[derive(Clone, Debug, Parser)]
#[command(name = "surprisal-agent", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How log lines on standard error look [default: text] [env: SURPRISAL_LOG_FORMAT]; RUST_LOG filters them
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0   all went well
  1   something failed while running
  2   bad command line
  64  bad configuration
  65  what answers `status` is no agent of this version
  69  a service that is needed cannot be reached
  77  rights are missing: needs CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE
  78  this kernel or host cannot do it: `surprisal-agent probe` says why";

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Follow containers until stopped; send what they do to the scorer
    Run(RunArgs),
    /// Write what containers do into a recording, to train and evaluate on
    Record(RecordArgs),
    /// Say what this kernel and host offer, and what would be used
    Probe(ProbeArgs),
    /// Ask a running agent for its balance: what came into each hop, what was dropped and why, what is held
    Status(StatusArgs),
    /// Ask a running agent which containers it knows: found how, named from what, followed since when, and why not
    Containers(ContainersArgs),
}

/// How to capture: the same for `run` and `record`.
#[derive(Clone, Debug, Default, Args)]
pub struct CaptureArgs {
    /// Configuration file (TOML); flags and the environment win over it [env: SURPRISAL_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// This node's name [default: the host's name] [env: SURPRISAL_NODE, NODE_NAME]
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Follow only these containers; KEY is namespace, pod, container, image, id, workload or label:NAME. May be given
    /// several times: for one key any must match, for several keys each [env: SURPRISAL_SELECT, comma-separated]
    #[arg(long, value_name = "KEY=GLOB")]
    pub select: Vec<Rule>,
    /// Do not follow these containers; wins over --select [env: SURPRISAL_EXCLUDE, comma-separated]
    #[arg(long, value_name = "KEY=GLOB")]
    pub exclude: Vec<Rule>,
    /// Where pods' owners, labels and annotations are asked for: auto (in a pod, the cluster), off, or a kubeconfig file
    /// [default: auto] [env: SURPRISAL_KUBERNETES]
    #[arg(long, value_name = "API")]
    pub kubernetes: Option<String>,
    /// Size of the kernel's ring buffer, bytes [default: 8388608] [env: SURPRISAL_RING_BYTES]
    #[arg(long, value_name = "N")]
    pub ring_bytes: Option<u64>,
    /// Where the kernel side keeps threads' buffers [default: auto] [env: SURPRISAL_CAPTURE]
    #[arg(long, value_name = "METHOD")]
    pub capture: Option<CaptureMethod>,
    /// What tells containers apart [default: auto] [env: SURPRISAL_MEMBERSHIP]
    #[arg(long, value_name = "METHOD")]
    pub membership: Option<Membership>,
    /// A process that holds containers, by name, * at the end for any rest; may be given several times
    /// [default: containerd-shim*, conmon, conmonrs] [env: SURPRISAL_MONITORS, comma-separated]
    #[arg(long, value_name = "NAME")]
    pub monitor: Vec<String>,
    /// Do not tell what calls are about (programs, files, addresses) [env: SURPRISAL_NAMES=false]
    #[arg(long)]
    pub no_names: bool,
    /// Serve /metrics, /status, /livez and /readyz here [default: not served] [env: SURPRISAL_ADMIN]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin: Option<SocketAddr>,
}

/// `run`.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// The scorer, http://HOST:PORT, or "none" [default: http://127.0.0.1:7676] [env: SURPRISAL_SCORER]
    #[arg(long, alias = "server", value_name = "URL")]
    pub scorer: Option<String>,
    /// Also write JSON Lines into this file, which rotates by size [env: SURPRISAL_JSONL]
    #[arg(long, value_name = "FILE")]
    pub jsonl: Option<PathBuf>,
    /// Begin a new JSON Lines file at this size, bytes; 0: never [default: 67108864] [env: SURPRISAL_JSONL_MAX_BYTES]
    #[arg(long, value_name = "N")]
    pub jsonl_max_bytes: Option<u64>,
    /// Memory for calls that the scorer has not acknowledged, bytes [default: 16777216] [env: SURPRISAL_QUEUE_BYTES]
    #[arg(long, value_name = "N")]
    pub queue_bytes: Option<u64>,
    /// Send what is queued at least this often, milliseconds [default: 200] [env: SURPRISAL_FLUSH_INTERVAL_MS]
    #[arg(long, value_name = "N")]
    pub flush_interval_ms: Option<u64>,
    /// Bytes a second on the wire above which whole containers are sent in turns; 0: no bound [default: 262144]
    /// [env: SURPRISAL_BYTE_BUDGET]
    #[arg(long, value_name = "N")]
    pub byte_budget: Option<u64>,
    /// Count and time every run of the kernel side, for /metrics and `status`; costs some tens of nanoseconds a
    /// system call, on all eBPF programs of the host [default: off] [env: SURPRISAL_BPF_STATS]
    #[arg(long)]
    pub bpf_stats: bool,
    /// How to capture.
    #[command(flatten)]
    pub capture: CaptureArgs,
}

/// `record`.
#[derive(Clone, Debug, Args)]
pub struct RecordArgs {
    /// File to write; must not exist
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// What the calls are: normal, attack, anything
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// Stop after this time [default: when interrupted]
    #[arg(long, value_name = "SECONDS")]
    pub duration: Option<u64>,
    /// How to capture.
    #[command(flatten)]
    pub capture: CaptureArgs,
}

/// `probe`.
#[derive(Clone, Debug, Args)]
pub struct ProbeArgs {
    /// How the answer looks
    #[arg(long, short, value_enum, default_value_t = Output::Table, value_name = "FORMAT")]
    pub output: Output,
}

/// `status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Where the agent serves /status: what `run` was given as --admin [default: 127.0.0.1:7677] [env: SURPRISAL_ADMIN]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin: Option<SocketAddr>,
    /// How the answer looks
    #[arg(long, short, value_enum, default_value_t = Output::Table, value_name = "FORMAT")]
    pub output: Output,
}

/// `containers`.
#[derive(Clone, Debug, Args)]
pub struct ContainersArgs {
    /// Where the agent serves /containers: what `run` was given as --admin [default: 127.0.0.1:7677] [env: SURPRISAL_ADMIN]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin: Option<SocketAddr>,
    /// How the answer looks
    #[arg(long, short, value_enum, default_value_t = Output::Table, value_name = "FORMAT")]
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn help(command: &str) -> String {
        let mut cli = Cli::command().term_width(100);
        cli.build();
        match command {
            "" => cli.render_long_help().to_string(),
            name => cli.find_subcommand_mut(name).expect("a command").render_help().to_string(),
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_says_what_it_says() {
        for command in ["", "run", "record", "probe", "status", "containers"] {
            insta::assert_snapshot!(format!("help_{command}"), help(command));
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_one_place() {
        for (args, expect) in [
            (&["run", "--ring-byte", "7"][..], "unexpected argument '--ring-byte'"),
            (&["run", "--select", "pods=x"], "\"pods\" is none of namespace, pod, container, image, id, workload, label:NAME"),
            (&["run", "--capture", "magic"], "possible values: auto, task-storage, hash, raw"),
            (&["run", "--membership", "magic"], "possible values: auto, process"),
            (&["record"], "--output <FILE>"),
            (&["walk"], "unrecognized subcommand 'walk'"),
        ] {
            let error = Cli::try_parse_from([&["surprisal-agent"], args].concat()).expect_err("a bad command line");
            assert!(error.to_string().contains(expect), "{error}");
            assert_eq!(error.exit_code(), i32::from(crate::exit::USAGE));
        }
    }
}
