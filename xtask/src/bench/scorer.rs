//! `xtask bench scorer`: calls scored per second on one core, by libraries, by our kernels, and with memory on top.
//!
//! In: recordings of one workload (the demo's, unless told otherwise). Out: a table on stdout and, with `--json`, all figures in
//! a file. Never: passes or fails. What is measured, and how, is said in `learn/benches/inference.rs`.

use crate::{
    setup::{self, Part},
    shell, workspace,
};
use anyhow::Result;
use std::path::PathBuf;

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write all figures there too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Recordings of one workload, in the order of time [default: the demo's redis server]
    #[arg(long, value_name = "FILE")]
    recording: Vec<PathBuf>,
    /// Widths of the hidden state; the first one's figures stand on top in the JSON
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [128, 64], value_parser = clap::value_parser!(u32).range(1..=1024))]
    hidden: Vec<u32>,
    /// Rounds of which the medians are taken
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// A Python that has PyTorch, for its row; without one the row is left out, and it is said so
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// Also show what other spans and agreements of the memory would be worth
    #[arg(long)]
    spans: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(&[Part::Libtorch])?;
    let mut cargo = shell::cargo();
    cargo.args(["bench", "--locked", "--package", "surprisal-learn", "--bench", "inference", "--"]);
    // The bench runs in its package's directory.
    let recordings = if args.recording.is_empty() {
        vec![workspace::root().join("tests/fixtures/demo/normal.jsonl.zst")]
    } else {
        args.recording.iter().map(std::path::absolute).collect::<Result<_, _>>()?
    };
    cargo.args(recordings).arg("--rounds").arg(args.rounds.to_string()).arg("--python").arg(&args.python);
    for hidden in &args.hidden {
        cargo.arg("--hidden").arg(hidden.to_string());
    }
    if let Some(file) = &args.json {
        cargo.arg("--json").arg(std::path::absolute(file)?);
    }
    if args.spans {
        cargo.arg("--spans");
    }
    cargo.env("OMP_WAIT_POLICY", "PASSIVE");
    shell::run(&mut cargo)
}
