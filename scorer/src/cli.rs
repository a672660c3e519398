//! The command line.
//!
//! In: arguments and the environment. Out: a [`Command`] and its settings. Never: an action.

pub mod ask;
pub mod learn;
pub mod serve;

use ask::{Ask, Profile, Scores};
use clap::{Parser, Subcommand, ValueEnum};
use learn::{Evaluate, Train};
use serve::Serve;

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
