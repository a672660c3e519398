//! `surprisal-learn`: what `surprisal-scorer train` and `evaluate` become; the only program that loads libtorch.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;
use surprisal_scorer::cli::Command;
use surprisal_scorer::{program, run};

fn main() -> ExitCode {
    program::main(|command| match command {
        Command::Train(args) => run::train(args),
        Command::Evaluate(args) => run::evaluate(args, &mut io::stdout()),
        _ => Err(run::Error::NotLearning),
    })
}
