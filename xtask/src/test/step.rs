//! The steps: what each checks, and what it waits for.
//!
//! In: the tree. Out: an [`Outcome`]. Never: decides when it runs; see [`super::schedule`].
//!
//! All steps build the same packages with the same features, so that nothing is compiled twice.

use super::{
    build, nextest,
    outcome::{Outcome, Tests, parse_result},
};
use crate::{
    build_ebpf, codegen, fuzz, image, imports, layout,
    setup::{self, Part},
    shell, soak, vm, workspace,
};
use anyhow::{Context as _, Result, bail};
use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

/// A step, in the order in which the summary lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Step {
    Setup,
    Codegen,
    Fmt,
    Layout,
    Imports,
    BuildEbpf,
    Deny,
    Advisories,
    Build,
    BuildTests,
    Images,
    Unit,
    Clippy,
    Doctest,
    Doc,
    Soak,
    Line,
    E2e,
    Kernels,
    FuzzBuild,
    Fuzz,
}

/// What only one step at a time has. The longest lane is the node's: it begins as early as it can, and the others leave it time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// The workspace's build directory.
    Workspace,
    /// The containers of this machine: an agent sees all of them.
    Node,
    /// Containers in a pid namespace of their own: its agent sees only those. Others see them, too.
    Nested,
    /// A virtual machine.
    Virtual,
    /// What nobody waits for.
    Idle,
}

/// The one test that takes minutes.
const LINE: &str = "test(=line::an_attack_turns_the_verdict_and_load_does_not)";

impl Step {
    pub(super) const ALL: &[Self] = &[
        Self::Setup,
        Self::Codegen,
        Self::Fmt,
        Self::Layout,
        Self::Imports,
        Self::BuildEbpf,
        Self::Deny,
        Self::Advisories,
        Self::Build,
        Self::BuildTests,
        Self::Images,
        Self::Unit,
        Self::Clippy,
        Self::Doctest,
        Self::Doc,
        Self::Soak,
        Self::Line,
        Self::E2e,
        Self::Kernels,
        Self::FuzzBuild,
        Self::Fuzz,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Setup => "what this machine lacks is installed",
            Self::Codegen => "generated code is what the .proto files say",
            Self::Fmt => "the code is formatted",
            Self::Layout => "the top level is the list",
            Self::Imports => "no files import each other in a circle",
            Self::BuildEbpf => "the eBPF object builds",
            Self::Deny => "licences, bans and sources of dependencies",
            Self::Advisories => "security advisories of dependencies",
            Self::Build => "agent and scorer build",
            Self::BuildTests => "all tests and benches build",
            Self::Images => "agent and scorer are packed as images",
            Self::Unit => "unit and integration tests",
            Self::Clippy => "no warnings",
            Self::Doctest => "examples in the documentation",
            Self::Doc => "the documentation builds without warnings",
            Self::Soak => "containers come and go for five minutes, and nothing grows",
            Self::Line => "ten minutes' worth of load and an attack, end to end",
            Self::E2e => "all other end-to-end tests with real containers",
            Self::Kernels => "the agent on other kernels, in a virtual machine",
            Self::FuzzBuild => "fuzz targets build",
            Self::Fuzz => "what others write, made up by a fuzzer, for ten seconds each",
        }
    }

    pub(super) fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self).map(|v| v.get_name().to_owned()).unwrap_or_default()
    }

    pub(super) fn lane(self) -> Lane {
        match self {
            Self::Line | Self::E2e => Lane::Node,
            Self::Soak => Lane::Nested,
            Self::Kernels => Lane::Virtual,
            Self::FuzzBuild | Self::Fuzz => Lane::Idle,
            _ => Lane::Workspace,
        }
    }

    /// How much it gives way to others, as `nice` counts.
    pub(super) fn niceness(self) -> u8 {
        match self {
            Self::FuzzBuild | Self::Fuzz => 19,
            Self::Unit | Self::Clippy | Self::Doctest | Self::Doc | Self::Kernels => 10,
            _ => 0,
        }
    }

    /// Steps that have to be over first, if they run at all; how they ended does not matter.
    pub(super) fn after(self) -> &'static [Self] {
        match self {
            Self::Setup => &[],
            Self::Soak => &[Self::Build],
            // Emulation needs a core's time, which builds do not leave.
            Self::Kernels => &[Self::Build, Self::Doc],
            // A bystander's containers do not disturb it.
            Self::Line => &[Self::BuildTests],
            // Some of these look whether nothing is left of any container. And one report of nextest at a time.
            Self::E2e => &[Self::Images, Self::Unit, Self::Line, Self::Soak],
            Self::Fuzz => &[Self::FuzzBuild],
            _ => &[Self::Setup],
        }
    }

    /// `built`: the tests were built in this run, and nothing has changed since.
    pub(super) fn run(self, built: bool) -> Result<Outcome> {
        match self {
            Self::Setup => setup::ensure(&Part::ALL)?,
            Self::Codegen => codegen::check()?,
            Self::Fmt => {
                shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
                fuzz::check_format()?;
            }
            Self::Layout => layout::check()?,
            Self::Imports => imports::check()?,
            Self::BuildEbpf => build_ebpf::build()?,
            Self::Deny => deny(&["check", "licenses", "bans", "sources"])?,
            Self::Advisories => return advisories(),
            // Examples too: with them the programs get the features that tests want of their dependencies, and nothing is built twice.
            Self::Build => cargo(&["build", "--bins", "--examples"], &[])?,
            Self::BuildTests => {
                cargo(&["build", "--all-targets"], &[])?;
                nextest::list()?;
            }
            Self::Images => image::pack_debug()?,
            Self::Unit => return nextest::run("default", "not package(surprisal-e2e)", built),
            Self::Clippy => cargo(&["clippy", "--all-targets"], &["--", "-D", "warnings"])?,
            Self::Doctest => return doctest(),
            Self::Doc => shell::run(build::workspace("doc").arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings"))?,
            Self::Soak => soak::check()?,
            Self::Line => return nextest::run("line", &format!("package(surprisal-e2e) and {LINE}"), built),
            Self::E2e => return nextest::run("default", &format!("package(surprisal-e2e) and not {LINE}"), built),
            Self::Kernels => vm::check_some()?,
            Self::FuzzBuild => fuzz::build()?,
            Self::Fuzz => fuzz::briefly(10)?,
        }
        Ok(Outcome::Passed)
    }
}

fn cargo(command: &[&str], rest: &[&str]) -> Result<()> {
    let (name, options) = command.split_first().context("no cargo command")?;
    shell::run(build::workspace(name).args(options).args(rest))
}

fn doctest() -> Result<Outcome> {
    let mut command = build::workspace("test");
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

fn deny(args: &[&str]) -> Result<()> {
    let mut deny = Command::new(setup::deny()?);
    shell::run(deny.current_dir(workspace::root()).args(["--workspace", "--log-level", "error"]).args(args))
}

/// Only with a database that could be fetched just now: an old one would say nothing of today.
fn advisories() -> Result<Outcome> {
    let mut fetch = Command::new(setup::deny()?);
    let fetched = shell::output(fetch.current_dir(workspace::root()).args(["--workspace", "fetch", "db"]));
    if fetched.is_err() {
        return Ok(Outcome::Skipped("the advisory database cannot be fetched from here".to_owned()));
    }
    deny(&["check", "advisories"])?;
    Ok(Outcome::Passed)
}
