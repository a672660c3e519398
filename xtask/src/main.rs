//! `cargo xtask COMMAND`: the project's own commands, one file each.
#![forbid(unsafe_code)]

mod bench;
mod build_ebpf;
mod codegen;
mod demo;
mod experiment;
mod fuzz;
mod image;
mod imports;
mod interrupt;
mod layout;
mod setup;
mod shell;
mod soak;
mod test;
mod undo;
mod vm;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Surprisal's own commands", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what this machine lacks
    Setup(setup::Args),
    /// Build the eBPF object that the agent embeds
    BuildEbpf(build_ebpf::Args),
    /// Show all of it: learn a container's life, attack it, see the verdict
    Demo(demo::Args),
    /// Run every check and test, end to end
    Test(test::Args),
    /// Read what others write, made up by a fuzzer
    Fuzz(fuzz::Args),
    /// Check the agent on other kernels, in a virtual machine
    Vm(vm::Args),
    /// Measure what the agent costs
    Bench(bench::Args),
    /// Let containers come and go for long, and see that nothing grows
    Soak(soak::Args),
    /// Make the tables of detection figures again
    Experiment(experiment::Args),
    /// Pack agent and scorer as OCI images, offline
    Image(image::Args),
    /// Regenerate proto/src/generated from proto/proto
    Codegen(codegen::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Setup(args) => setup::run(&args),
        Command::BuildEbpf(args) => build_ebpf::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Vm(args) => vm::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Experiment(args) => experiment::run(&args),
        Command::Image(args) => image::run(&args),
        Command::Codegen(args) => codegen::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{error:#}");
            // What has said everything already ends with an empty message.
            if !text.is_empty() {
                eprintln!("xtask: {text}");
            }
            error.downcast_ref::<shell::Exit>().map_or(ExitCode::FAILURE, |e| e.code.into())
        }
    }
}
