//! What the attack suite promises, by one of its scenarios; `cargo xtask experiment attacks` runs them all.

use anyhow::{Context as _, Result, ensure};
use std::time::Duration;
use surprisal_e2e::{
    Containerd,
    attacks::{Range, SCENARIOS, range, target},
};

/// *Attack*: learned on an nginx server's own load, a shell out of a worker turns the verdict, and evidence names what ran.
#[test]
fn a_shell_out_of_nginx_is_seen() -> Result<()> {
    let scenario = SCENARIOS.iter().find(|s| s.server == "nginx" && s.name == "shell").context("the scenario")?;
    let containerd = Containerd::start()?;
    let scratch = containerd.scratch().path();
    let targets = target::start(&containerd, &["nginx"])?;
    let [nginx] = targets.as_slice() else { panic!("one server was asked for: {targets:?}") };
    let ((recording, live), profiles) = (range::recordings(scratch), scratch.join("profiles"));
    range::record(&containerd, &targets, Duration::from_secs(12), &recording)?;
    range::train(&profiles, &recording)?;
    let mut range = Range::start(&containerd, &targets, &profiles, &live)?;
    // It begins when the verdict is normal, and not before.
    let measured = range.attack(scenario, nginx, scratch)?;
    ensure!(measured.succeeded, "{}", measured.why_not);
    ensure!(measured.verdict_after.is_some(), "missed: {measured:?}");
    ensure!(measured.score >= measured.threshold, "{measured:?}");
    // The window that stands first is of what the worker started: nothing but nginx ran before.
    ensure!(!["", "nginx"].contains(&&*measured.top_process) && !measured.top_call.is_empty(), "{measured:?}");
    range.end()
}
