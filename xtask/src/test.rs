//! `xtask test`: everything that has to hold, on a fresh machine, alone.
//!
//! In: the tree. Out: each step's outcome and time, then one line `N passed, N failed`. Never: counts what was
//! skipped as passed; a skipped step or test is listed with its reason.
//!
//! All steps build the same packages with the same features, so that nothing is compiled twice.

use crate::{
    build_ebpf, codegen, fuzz,
    setup::{self, Part},
    shell::{self, Exit},
    soak, vm,
};
use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this step; may be given several times
    #[arg(long, value_name = "STEP")]
    only: Vec<Step>,
    /// List the steps and do nothing
    #[arg(long)]
    list: bool,
}

/// A step, in the order in which they run: what is quick and what others need comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Step {
    Setup,
    Codegen,
    Fmt,
    BuildEbpf,
    Deny,
    Advisories,
    Clippy,
    Build,
    Unit,
    Doctest,
    Doc,
    E2e,
    Kernels,
    Fuzz,
    Soak,
}

impl Step {
    fn title(self) -> &'static str {
        match self {
            Self::Setup => "what this machine lacks is installed",
            Self::Codegen => "generated code is what the .proto files say",
            Self::Fmt => "the code is formatted",
            Self::BuildEbpf => "the eBPF object builds",
            Self::Deny => "licences, bans and sources of dependencies",
            Self::Advisories => "security advisories of dependencies",
            Self::Clippy => "no warnings",
            Self::Build => "agent, scorer and all tests build",
            Self::Unit => "unit and integration tests",
            Self::Doctest => "examples in the documentation",
            Self::Doc => "the documentation builds without warnings",
            Self::E2e => "end-to-end tests with real containers",
            Self::Fuzz => "what others write, made up by a fuzzer, for ten seconds each",
            Self::Soak => "containers come and go for five minutes, and nothing grows",
            Self::Kernels => "the agent on other kernels, in a virtual machine",
        }
    }

    fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self).map(|v| v.get_name().to_owned()).unwrap_or_default()
    }

    fn run(self) -> Result<Outcome> {
        match self {
            Self::Setup => setup::ensure(&Part::ALL)?,
            Self::Codegen => codegen::check()?,
            Self::Fmt => shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?,
            Self::BuildEbpf => build_ebpf::build()?,
            Self::Deny => deny(&["check", "licenses", "bans", "sources"])?,
            Self::Advisories => return advisories(),
            Self::Clippy => cargo(&["clippy", "--all-targets"], &["--", "-D", "warnings"])?,
            // Tests too: with them the binaries get the same features of their dependencies, and nothing is built twice.
            Self::Build => cargo(&["build", "--all-targets"], &[])?,
            Self::Unit => return nextest("not package(surprisal-e2e)"),
            Self::Doctest => return doctest(),
            Self::Doc => shell::run(build("doc").arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings"))?,
            Self::E2e => return nextest("package(surprisal-e2e)"),
            Self::Kernels => vm::check_some()?,
            Self::Fuzz => fuzz::briefly(10)?,
            Self::Soak => soak::check()?,
        }
        Ok(Outcome::Passed)
    }
}

/// How a step ended; an error is a failure.
enum Outcome {
    Passed,
    Skipped(String),
    Tests(Tests),
}

/// What a step of many tests counted.
#[derive(Default)]
struct Tests {
    passed: u64,
    failed: u64,
    /// `test: why`.
    skipped: Vec<String>,
}

/// What was reported so far.
#[derive(Default)]
struct Report {
    lines: Vec<String>,
    passed: u64,
    failed: u64,
}

impl Report {
    fn add(&mut self, step: Step, result: Result<Outcome>, took: Duration) {
        let (name, seconds) = (step.name(), took.as_secs_f64());
        let text = match result {
            Ok(Outcome::Passed) => {
                self.passed += 1;
                "passed".to_owned()
            }
            Ok(Outcome::Skipped(why)) => format!("skipped: {why}"),
            Ok(Outcome::Tests(tests)) => {
                self.passed += tests.passed;
                self.failed += tests.failed;
                let mut lines = vec![format!("{} tests passed, {} failed", tests.passed, tests.failed)];
                lines.extend(tests.skipped.iter().map(|s| format!("{:24}skipped: {s}", "")));
                lines.join("\n")
            }
            Err(error) => {
                self.failed += 1;
                format!("FAILED: {error:#}")
            }
        };
        println!("-- {name}: {text} ({seconds:.1} s)");
        self.lines.push(format!("{name:<12} {seconds:>7.1} s  {text}"));
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let steps: Vec<_> = <Step as clap::ValueEnum>::value_variants()
        .iter()
        .copied()
        .filter(|step| args.only.is_empty() || args.only.contains(step))
        .collect();
    if args.list {
        for step in steps {
            println!("{:<12} {}", step.name(), step.title());
        }
        return Ok(());
    }
    let mut report = Report::default();
    for step in steps {
        println!("\n== {}: {}", step.name(), step.title());
        let start = Instant::now();
        let result = step.run();
        let ended = result.is_err() && step == Step::Setup;
        report.add(step, result, start.elapsed());
        if ended {
            println!("without its tools nothing else can run");
            break;
        }
    }
    println!("\n== summary");
    for line in &report.lines {
        println!("{line}");
    }
    println!("{} passed, {} failed", report.passed, report.failed);
    // The line above has to stay the last one.
    if report.failed > 0 { Err(Exit::new(1, "").into()) } else { Ok(()) }
}

/// A cargo command over the whole workspace: always the same features.
fn build(command: &str) -> Command {
    let mut cargo = shell::cargo();
    cargo.args([command, "--workspace", "--locked"]);
    // On busy cores libgomp's spinning makes training twenty times slower.
    cargo.env("OMP_WAIT_POLICY", "PASSIVE");
    cargo
}

fn cargo(command: &[&str], rest: &[&str]) -> Result<()> {
    let (name, options) = command.split_first().context("no cargo command")?;
    shell::run(build(name).args(options).args(rest))
}

/// Runs the tests that `filter` chooses and counts them from the report that nextest writes.
fn nextest(filter: &str) -> Result<Outcome> {
    let target = super::target();
    let junit = target.join("nextest/default/junit.xml");
    let skips = target.join("skipped-tests.txt");
    for stale in [&junit, &skips] {
        if stale.exists() {
            fs::remove_file(stale).with_context(|| format!("removing {}", stale.display()))?;
        }
    }
    let mut command = build("nextest");
    // `cargo nextest run` takes cargo's options behind `run`.
    let mut run = Command::new(setup::nextest()?);
    run.current_dir(super::root()).args(["nextest", "run"]).args(command.get_args().skip(1)).args(["-E", filter]);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => run.env(name, value),
            None => run.env_remove(name),
        };
    }
    command = run;
    command.args(["--no-tests", "pass", "--no-fail-fast"]).env("SURPRISAL_SKIPPED_TESTS", &skips);
    let status = shell::status(&mut command)?;
    let Ok(text) = fs::read_to_string(&junit) else { bail!("the tests did not run: cargo nextest ended with {status}") };
    let mut tests = parse_junit(&text).with_context(|| format!("reading {}", junit.display()))?;
    tests.skipped = fs::read_to_string(&skips).map(|t| t.lines().map(str::to_owned).collect()).unwrap_or_default();
    // Such a test ended early and well; it proved nothing.
    tests.passed = tests.passed.saturating_sub(tests.skipped.len() as u64);
    if !status.success() && tests.failed == 0 {
        bail!("cargo nextest ended with {status}");
    }
    Ok(Outcome::Tests(tests))
}

/// The totals of nextest's report: `<testsuites name="…" tests="3" failures="1" errors="0" …>`.
fn parse_junit(text: &str) -> Result<Tests> {
    let head = text.split("<testsuites ").nth(1).and_then(|t| t.split('>').next()).context("no <testsuites>")?;
    let number = |name: &str| -> Result<u64> {
        let value = head.split(&format!("{name}=\"")).nth(1).and_then(|t| t.split('"').next());
        value.with_context(|| format!("no {name}"))?.parse().with_context(|| format!("{name} is no number"))
    };
    let failed = number("failures")? + number("errors")?;
    Ok(Tests { passed: number("tests")?.saturating_sub(failed), failed, skipped: Vec::new() })
}

fn doctest() -> Result<Outcome> {
    let mut command = build("test");
    command.args(["--doc", "--no-fail-fast"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting {}", shell::show(&command)))?;
    let mut tests = Tests::default();
    for line in BufReader::new(child.stdout.take().context("no stdout")?).lines() {
        let line = line?;
        println!("{line}");
        if let Some((passed, failed)) = parse_result(&line) {
            tests.passed += passed;
            tests.failed += failed;
        }
    }
    let status = child.wait()?;
    if !status.success() && tests.failed == 0 {
        bail!("{} ended with {status}", shell::show(&command));
    }
    Ok(Outcome::Tests(tests))
}

/// `test result: ok. 3 passed; 0 failed; …`
fn parse_result(line: &str) -> Option<(u64, u64)> {
    let rest = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut counts = rest.split("; ").map(|part| part.split(' ').next().and_then(|n| n.parse().ok()));
    Some((counts.next()??, counts.next()??))
}

fn deny(args: &[&str]) -> Result<()> {
    let mut deny = Command::new(setup::deny()?);
    shell::run(deny.current_dir(super::root()).args(["--workspace", "--log-level", "error"]).args(args))
}

/// Only with a database that could be fetched just now: an old one would say nothing of today.
fn advisories() -> Result<Outcome> {
    let mut fetch = Command::new(setup::deny()?);
    let fetched = shell::output(fetch.current_dir(super::root()).args(["--workspace", "fetch", "db"]));
    if fetched.is_err() {
        return Ok(Outcome::Skipped("the advisory database cannot be fetched from here".to_owned()));
    }
    deny(&["check", "advisories"])?;
    Ok(Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_nextest_totals() {
        let text = r#"<?xml version="1.0"?><testsuites name="nextest-run" tests="7" failures="2" errors="1" uuid="x" time="1.2">
            <testsuite name="a" tests="7" disabled="0" errors="1" failures="2">"#;
        let tests = parse_junit(text).expect("well-formed");
        assert_eq!((tests.passed, tests.failed), (4, 3));
        assert!(parse_junit("").is_err());
        assert!(parse_junit("<testsuites name=\"x\">").is_err());
    }

    #[test]
    fn reads_rustdoc_totals() {
        assert_eq!(parse_result("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured"), Some((3, 0)));
        assert_eq!(parse_result("test result: FAILED. 1 passed; 2 failed; 0 ignored"), Some((1, 2)));
        assert_eq!(parse_result("running 3 tests"), None);
    }

    #[test]
    fn a_skipped_step_is_not_passed() {
        let mut report = Report::default();
        report.add(Step::Advisories, Ok(Outcome::Skipped("why".to_owned())), Duration::ZERO);
        assert_eq!((report.passed, report.failed), (0, 0));
        assert!(report.lines[0].contains("skipped: why"));
    }
}
