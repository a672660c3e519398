//! The binary: serves, asks, and leaves learning to `surprisal-learn`, so that libtorch is not loaded here.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;
use surprisal_scorer::cli::{Command, ask::Profile};
use surprisal_scorer::{client, program, run};

fn main() -> ExitCode {
    program::main(dispatch)
}

fn dispatch(command: Command) -> Result<(), run::Error> {
    match command {
        Command::Serve(args) => run::serve(args),
        Command::Train(_) => run::learn_elsewhere("train"),
        Command::Evaluate(_) => run::learn_elsewhere("evaluate"),
        Command::Scores { command } => run::ask(client::scores(command, &mut io::stdout())),
        Command::Status(ask) => run::ask(client::status(&ask, &mut io::stdout())),
        Command::Profile { command: Profile::Advise(args) } => run::advise(args, &mut io::stdout()),
        Command::Profile { command: Profile::Ask(command) } => run::ask(client::profile(command, &mut io::stdout())),
    }
}
