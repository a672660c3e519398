//! `cargo xtask COMMAND`: the project's own commands, one file each.

mod codegen;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Surprisal's own commands", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Regenerate proto/src/generated from proto/proto
    Codegen(codegen::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Codegen(args) => codegen::run(&args),
    }
}

/// The repository's root.
fn root() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask has a parent")
}
