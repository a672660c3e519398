//! What both binaries have in common: parse, log, run, exit code.
//!
//! In: the command line. Out: an exit code, and one line where something failed. Never: a command's work.

use crate::cli::{Cli, Command, LogFormat};
use crate::{cause::chain, run};
use clap::Parser as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Parses the command line, sets up the log, runs `dispatch`; an error becomes its exit code.
pub fn main(dispatch: impl FnOnce(Command) -> Result<(), run::Error>) -> ExitCode {
    let cli = Cli::parse();
    log(cli.log_format);
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed pipe is how `| head` says that it has enough.
            if error.is_broken_pipe() {
                return ExitCode::SUCCESS;
            }
            let _ = writeln!(io::stderr(), "surprisal-scorer: {}", chain(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init(),
        LogFormat::Json => builder.json().init(),
    }
}
