//! `xtask experiment mariadb`: MariaDB under load, attacked with sqlmap through a web application.
//!
//! In: loads, or recordings that an earlier run kept. Out: recordings, and for each load how well the methods tell the
//! attack from the load, beside what Cosmos printed for its own set-up. Never: shows an attack to a method that learns, or
//! chooses anything by one.
//!
//! Layout of `--keep DIR`: for each load a data set of `surprisal-scorer evaluate`:
//! `DIR/100x20/{normal-train,normal-test,attack}/mariadb-N.jsonl.zst` and, beside the last, `mariadb-1.attacks.json`.

mod load;
mod record;
mod table;

use crate::{
    build_ebpf,
    setup::{self, Part},
    shell::{self, Exit},
    workspace,
};
use anyhow::{Context as _, Result, ensure};
use load::{LOADS, Load};
use record::Recorder;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};
use surprisal_e2e::{Containerd, scratch};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the figures there too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep the recordings there; empty or not there yet
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Evaluate the recordings that an earlier run kept there, and record nothing; needs neither root nor eBPF
    #[arg(long, value_name = "DIR", conflicts_with = "keep")]
    reevaluate: Option<PathBuf>,
    /// Clients and queries of each
    #[arg(long, value_name = "CLIENTSxQUERIES", value_delimiter = ',', default_values_t = LOADS)]
    loads: Vec<Load>,
    /// Methods, as `surprisal-scorer evaluate` names them
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "surprisal,lstm,stide,ngram,nearest-set")]
    methods: Vec<String>,
    /// Seed of everything random in the evaluation
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Record only, evaluate later
    #[arg(long, requires = "keep", conflicts_with = "json")]
    record_only: bool,
    /// Use agent and scorer as they were built (release), without setting up or building
    #[arg(long)]
    no_build: bool,
}

/// Cores that the model may use: fixed, since another number adds in another order.
const THREADS: &str = "2";
/// `evaluate` ends so when a method failed and the others are reported.
const METHOD_FAILED: i32 = 1;

pub(crate) fn run(args: &Args) -> Result<()> {
    let begin = Instant::now();
    let temporary;
    let dir = if let Some(dir) = &args.reevaluate {
        dir.as_path()
    } else {
        let dir = if let Some(dir) = &args.keep {
            dir.as_path()
        } else {
            temporary = tempfile::tempdir().context("making a directory for the recordings")?;
            temporary.path()
        };
        record(args, dir)?;
        dir
    };
    if args.record_only {
        return Ok(());
    }
    let scorer = if args.no_build { workspace::target().join("release/surprisal-scorer") } else { super::scorer::build()? };
    let reports =
        args.loads.iter().map(|load| evaluate(args, &scorer, &dir.join(load.to_string()))).collect::<Result<Vec<_>>>()?;
    let loads: Vec<_> = args.loads.iter().copied().zip(reports).collect();
    println!("\n{}\n{}", table::markdown(&loads), table::families(&loads, table::ORDER[0]));
    println!("Recorded and evaluated in {:.0} s.", begin.elapsed().as_secs_f64());
    if let Some(path) = &args.json {
        let figures = loads.iter().map(|(load, report)| table::figures(*load, report)).collect::<Result<Vec<Value>>>()?;
        let text = format!("{:#}\n", json!({ "loads": figures }));
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    let failed = table::failed(&loads);
    ensure!(failed.is_empty(), "these could not be measured: {}", failed.join("; "));
    Ok(())
}

/// Records all loads below `dir`.
fn record(args: &Args, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    for load in &args.loads {
        let dir = dir.join(load.to_string());
        ensure!(!dir.exists(), "{} is there already; --reevaluate evaluates it, another --keep records anew", dir.display());
    }
    scratch::end_leftovers();
    if !args.no_build {
        setup::ensure(&[Part::Bpf, Part::Containers])?;
        build_ebpf::build()?;
        shell::run(shell::cargo().args(["build", "--release", "--locked", "--package", "surprisal-agent"]))?;
    }
    let agent = workspace::target().join("release/surprisal-agent");
    let recorder = Recorder::new(Containerd::start()?, agent)?;
    for load in &args.loads {
        recorder.record(*load, &dir.join(load.to_string())).with_context(|| format!("recording {load}"))?;
    }
    Ok(())
}

/// What `surprisal-scorer evaluate` says of the data set `dir`; it prints its own tables, too.
fn evaluate(args: &Args, scorer: &Path, dir: &Path) -> Result<Value> {
    ensure!(dir.is_dir(), "{}: no such directory; --loads says which loads are there", dir.display());
    let report = tempfile::NamedTempFile::new().context("making a file for the report")?;
    let mut command = Command::new(scorer);
    command.arg("evaluate").arg(dir).args(["--methods", &args.methods.join(",")]).arg("--json").arg(report.path());
    command.args(["--seed", &args.seed.to_string(), "--threads", THREADS]).env("OMP_WAIT_POLICY", "PASSIVE");
    println!("\nexperiment: {}", shell::show(&command));
    let status = shell::status(&mut command)?;
    let text = fs::read_to_string(report.path()).context("reading the report")?;
    match status.code() {
        Some(0) => {}
        Some(METHOD_FAILED) if !text.is_empty() => {}
        code => {
            let code = code.and_then(|c| u8::try_from(c).ok()).unwrap_or(1);
            return Err(Exit::new(code, format!("{} ended with {status}", shell::show(&command))).into());
        }
    }
    serde_json::from_str(&text).context("the report is no JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_are_clients_times_queries() {
        assert_eq!("100x20".parse(), Ok(Load { clients: 100, queries: 20 }));
        assert_eq!(LOADS.map(|l| l.to_string()), ["100x20", "200x40", "500x60"]);
        for wrong in ["", "100", "x20", "100x", "0x20", "501x1", "100x0", "100x20x3", "-1x2"] {
            assert!(wrong.parse::<Load>().is_err(), "{wrong}");
        }
    }
}
