//! The binary: parse, run, exit code.
#![forbid(unsafe_code)]

use clap::Parser as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use surprisal_scorer::cli::{Cli, Command, LogFormat, Profile};
use surprisal_scorer::{chain, client, run};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
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

fn dispatch(command: Command) -> Result<(), run::Error> {
    match command {
        Command::Serve(args) => run::serve(args),
        Command::Train(args) => run::train(args),
        Command::Evaluate(args) => run::evaluate(args, &mut io::stdout()),
        Command::Scores { command } => run::ask(client::scores(command, &mut io::stdout())),
        Command::Status(ask) => run::ask(client::status(&ask, &mut io::stdout())),
        Command::Profile { command: Profile::Advise(args) } => run::advise(args, &mut io::stdout()),
        Command::Profile { command: Profile::Ask(command) } => run::ask(client::profile(command, &mut io::stdout())),
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
