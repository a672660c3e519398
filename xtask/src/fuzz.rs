//! `xtask fuzz`: what others write, read by ours, for as long as one likes.
//!
//! In: targets of tests/fuzz/ and a time for each. Out: executions, coverage and findings of each; a finding fails the command and
//! stays in target/fuzz/artifacts. Never: a nightly compiler: LLVM's coverage pass is asked for by flags of the stable one, and libFuzzer
//! comes as source with its crate. So there is no address sanitizer, which safe code can do without: what is found is panics,
//! overflows, broken promises (each target's head says which), memory beyond [`MEMORY_MB`] and inputs that take seconds.
//!
//! Each target starts from its committed seeds (tests/fuzz/seeds/TARGET) and from what earlier runs on this machine have found
//! worth keeping (target/fuzz/corpus/TARGET).

use crate::{
    setup::{self, Part},
    shell, workspace,
};
use anyhow::{Context as _, Result, ensure};
use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these [default: all]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long each is run
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Write the figures there too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Where instrumented code goes; proc macros and build scripts are not instrumented, because the target is named.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// What `cargo fuzz` asks of LLVM.
const FLAGS: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// More is a finding, megabytes.
const MEMORY_MB: u32 = 1024;
/// One input takes no longer, seconds.
const SLOW_S: u32 = 5;
/// Longest input, bytes.
const LENGTH: u32 = 16 << 10;

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(&[Part::Fuzz])?;
    let all = targets()?;
    for name in &args.targets {
        ensure!(all.contains(name), "no target {name}; there are: {}", all.join(", "));
    }
    let wanted = if args.targets.is_empty() { &all } else { &args.targets };
    build()?;
    let mut outcomes = Vec::new();
    for target in wanted {
        let outcome = fuzz(target, args.seconds)?;
        println!("{}", outcome.line());
        outcomes.push(outcome);
    }
    if let Some(file) = &args.json {
        let targets: Vec<_> = outcomes.iter().map(Outcome::json).collect();
        let text = serde_json::to_string_pretty(&serde_json::json!({ "targets": targets }))?;
        fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
    }
    let found: Vec<_> = outcomes.iter().filter_map(|o| o.finding.as_deref()).collect();
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

/// All targets for a moment, built already: a step of `xtask test`.
pub(crate) fn briefly(seconds: u32) -> Result<()> {
    run(&Args { targets: Vec::new(), seconds, json: None })
}

/// The targets are formatted; they are not among the workspace's packages.
pub(crate) fn check_format() -> Result<()> {
    shell::run(shell::cargo().args(["fmt", "--manifest-path", "tests/fuzz/Cargo.toml", "--check"]))
}

/// Names, from the crate's own manifest.
fn targets() -> Result<Vec<String>> {
    let path = workspace::root().join("tests/fuzz/Cargo.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let names = text.split("[[bin]]").skip(1).filter_map(|bin| bin.split('"').nth(1));
    Ok(names.map(str::to_owned).collect())
}

fn directory() -> PathBuf {
    workspace::target().join("fuzz")
}

pub(crate) fn build() -> Result<()> {
    let mut cargo = shell::cargo();
    for name in ["CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(name);
    }
    cargo.env("RUSTFLAGS", FLAGS.join(" "));
    // Not --locked: a dependency that one of our crates has got since is added to this lock file too.
    cargo.args(["build", "--manifest-path", "tests/fuzz/Cargo.toml", "--target", TRIPLE, "--target-dir"]);
    shell::run(cargo.arg(directory()))
}

/// How a target fared.
struct Outcome {
    target: String,
    seconds: u32,
    executions: u64,
    edges: u64,
    corpus: u64,
    finding: Option<String>,
}

impl Outcome {
    fn line(&self) -> String {
        let Self { target, seconds, executions, edges, corpus, finding } = self;
        let rate = executions / u64::from(*seconds).max(1);
        let found = finding.as_deref().unwrap_or("no findings");
        format!("{target:<12} {executions:>10} executions ({rate}/s), {edges} edges, {corpus} inputs kept: {found}")
    }

    fn json(&self) -> serde_json::Value {
        let Self { target, seconds, executions, edges, corpus, finding } = self;
        serde_json::json!({
            "target": target, "seconds": seconds, "executions": executions, "edges": edges, "corpus": corpus, "finding": finding,
        })
    }
}

fn fuzz(target: &str, seconds: u32) -> Result<Outcome> {
    let corpus = directory().join("corpus").join(target);
    let artifacts = directory().join("artifacts").join(target);
    let seeds = workspace::root().join("tests/fuzz/seeds").join(target);
    for dir in [&corpus, &artifacts] {
        fs::create_dir_all(dir)?;
    }
    let program = directory().join(TRIPLE).join("debug").join(target);
    let mut command = Command::new(&program);
    command.arg(&corpus).arg(&seeds);
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.args([format!("-rss_limit_mb={MEMORY_MB}"), format!("-timeout={SLOW_S}"), format!("-max_len={LENGTH}")]);
    command.args(["-print_final_stats=1", "-detect_leaks=0"]).stdin(Stdio::null()).stdout(Stdio::null());
    let out = command.output().with_context(|| format!("starting {}", program.display()))?;
    let log = String::from_utf8_lossy(&out.stderr);
    let finding = (!out.status.success()).then(|| finding(target, &log));
    let number = |name: &str| log.lines().rev().find_map(|l| l.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0);
    let (edges, kept) = coverage(&log);
    let executions = number("stat::number_of_executed_units:");
    ensure!(executions > 0 || finding.is_some(), "{target} did not run:\n{log}");
    Ok(Outcome { target: target.to_owned(), seconds, executions, edges, corpus: kept, finding })
}

/// `#4096 pulse  cov: 123 ft: 456 corp: 78/1234b …`: the last one's edges and inputs.
fn coverage(log: &str) -> (u64, u64) {
    let Some(line) = log.lines().rev().find(|l| l.contains(" cov: ")) else { return (0, 0) };
    let after = |key: &str| {
        let text = line.split(key).nth(1)?.trim_start();
        text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    (after(" cov: ").unwrap_or(0), after(" corp: ").unwrap_or(0))
}

/// What was found, and where its input lies.
fn finding(target: &str, log: &str) -> String {
    let what = log.lines().find(|l| l.contains("panicked at") || l.contains("ERROR: libFuzzer"));
    let said = log.lines().skip_while(|l| !l.contains("panicked at")).nth(1).unwrap_or_default();
    let input = log.lines().find_map(|l| l.split_once("Test unit written to ")).map_or("", |(_, path)| path);
    format!("{target}: {} {said}; its input: {input}", what.unwrap_or("it ended early").trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_libfuzzer_says() {
        let log = "INFO: Seed: 1\n#2 INITED cov: 5 ft: 6 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                   #9 DONE   cov: 123 ft: 456 corp: 78/1234b lim: 4 exec/s: 9 rss: 40Mb\nstat::number_of_executed_units: 9\n";
        assert_eq!(coverage(log), (123, 78));
        assert_eq!(coverage(""), (0, 0));
        let log = "#9 NEW\nthread '<unnamed>' panicked at a.rs:1:2:\nattempt to add with overflow\n\
                   artifact_prefix='x'; Test unit written to /t/crash-1\n";
        let found = finding("batch", log);
        assert!(found.contains("a.rs:1:2") && found.contains("overflow") && found.ends_with("/t/crash-1"), "{found}");
    }

    #[test]
    fn every_target_has_seeds() {
        let targets = targets().expect("the manifest is there");
        assert!(targets.len() >= 8, "{targets:?}");
        for target in targets {
            let seeds = workspace::root().join("tests/fuzz/seeds").join(&target);
            assert!(fs::read_dir(&seeds).is_ok_and(|mut dir| dir.next().is_some()), "{} is empty", seeds.display());
        }
    }
}
