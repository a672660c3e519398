//! Tests, run by nextest.
//!
//! In: a filter. Out: what its report counts. Never: waits for another step's build: where this run has built the tests, it takes them
//! from a list and asks cargo nothing.

use super::{
    build,
    outcome::{Outcome, parse_junit},
};
use crate::{setup, shell, workspace};
use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What nextest asks cargo for, kept: the workspace, and where each test program is.
struct Built {
    workspace: PathBuf,
    programs: PathBuf,
}

impl Built {
    fn new() -> Self {
        let dir = workspace::target().join("test-steps");
        Self { workspace: dir.join("workspace.json"), programs: dir.join("programs.json") }
    }
}

/// Lists the programs that are built now, for [`run`].
pub(super) fn list() -> Result<()> {
    let built = Built::new();
    let mut metadata = shell::cargo();
    write(&built.workspace, &shell::output(metadata.args(["metadata", "--format-version", "1", "--locked"]))?)?;
    let list = &["list", "--list-type", "binaries-only", "--message-format", "json"];
    write(&built.programs, &shell::output(&mut nextest(list, true)?)?)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let dir = path.parent().context("a file lies in a directory")?;
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// Runs the tests that `filter` chooses; `built`: as [`list`] has them. Two may run at once under different profiles
/// (`.config/nextest.toml`).
pub(super) fn run(profile: &str, filter: &str, built: bool) -> Result<Outcome> {
    let target = workspace::target();
    let junit = target.join("nextest").join(profile).join("junit.xml");
    let skips = target.join(format!("skipped-tests-{profile}.txt"));
    for stale in [&junit, &skips] {
        if stale.exists() {
            fs::remove_file(stale).with_context(|| format!("removing {}", stale.display()))?;
        }
    }
    let mut command = nextest(&["run"], !built)?;
    if built {
        let built = Built::new();
        command.arg("--cargo-metadata").arg(built.workspace).arg("--binaries-metadata").arg(built.programs);
    }
    command
        .args(["--profile", profile, "-E", filter, "--no-tests", "pass", "--no-fail-fast"])
        .env("SURPRISAL_SKIPPED_TESTS", &skips);
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

/// nextest with cargo's environment, and with its options where it calls cargo.
fn nextest(command: &[&str], calls_cargo: bool) -> Result<Command> {
    let cargo = build::workspace("nextest");
    let mut nextest = Command::new(setup::nextest()?);
    nextest.current_dir(workspace::root()).arg("nextest").args(command);
    if calls_cargo {
        nextest.args(cargo.get_args().skip(1));
    }
    for (name, value) in cargo.get_envs() {
        match value {
            Some(value) => nextest.env(name, value),
            None => nextest.env_remove(name),
        };
    }
    Ok(nextest)
}
