//! `surprisal-learn`: what `surprisal-scorer train` and `evaluate` become; the only program that loads libtorch.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;
use surprisal_learn::run;
use surprisal_scorer::{cli::Command, program, run::Error};

fn main() -> ExitCode {
    program::main(|command| match command {
        Command::Train(args) => run::train(args),
        Command::Evaluate(args) => run::evaluate(args, &mut io::stdout()),
        _ => Err(Error::NotLearning),
    })
}
