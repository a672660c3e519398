//! What the agent promises where a node is itself a container (kind, k3d, minikube's docker driver): pid namespaces in each other.
//!
//! Tests of other modules run again, whole: containerd, containers, agent and test process in a pid namespace below the kernel's
//! first one, with a `/proc` of its own, as in such a node.

use anyhow::{Context as _, Result, ensure};
use std::{env, process::Command};

/// Makes one level: `/proc` and the mounts are its own, and all of it ends with `unshare`.
const UNSHARE: [&str; 6] = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"];
/// The first process of the innermost level: it reaps whoever has lost his parent. Scratch directories are this level's, because
/// their notes hold its ids.
const INIT: &str = "mount -t tmpfs tmpfs /tmp && \"$0\" \"$@\"";

/// Runs one of this program's tests `levels` deep.
fn run(levels: usize, test: &str) -> Result<()> {
    let this = env::current_exe().context("finding this program")?;
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\"", "nested"]).args(UNSHARE.repeat(levels)).args(["sh", "-c", INIT]).arg(this);
    let out = command.args(["--exact", test, "--nocapture"]).output().context("starting unshare")?;
    let text = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    ensure!(out.status.success(), "{test}, {levels} deep, ended with {}:\n{text}", out.status);
    // A name that no test has would pass.
    ensure!(text.contains("test result: ok. 1 passed"), "{test} did not run:\n{text}");
    Ok(())
}

fn run_all(levels: usize, tests: &[&str]) -> Result<()> {
    tests.iter().try_for_each(|test| run(levels, test))
}

/// Containers born before and after the agent, by the ids that their own node shows.
#[test]
fn containers_before_and_after() -> Result<()> {
    run(1, "capture::found_when_the_agent_starts_last")
}

#[test]
fn containers_before_and_after_with_threads_in_a_hash_map() -> Result<()> {
    run(1, "capture::found_when_the_agent_starts_last_with_threads_in_a_hash_map")
}

#[test]
fn what_exec_starts() -> Result<()> {
    run(1, "capture::what_exec_starts_is_marked")
}

/// Every call of many threads, in their order.
#[test]
fn threads() -> Result<()> {
    run_all(1, &["capture::conservation_at_a_low_rate", "capture::order_within_each_thread"])
}

#[test]
fn an_agent_that_is_started_again() -> Result<()> {
    run(1, "faults::killed::the_next_agent_takes_up_the_same_containers")
}

#[test]
fn network_counters() -> Result<()> {
    run(1, "network::connections_and_bytes_are_counted_for_both_ends")
}

#[test]
fn each_container_with_its_reason() -> Result<()> {
    run(1, "listing::each_container_with_its_reason")
}

/// A container that conmon holds.
#[test]
fn below_conmon() -> Result<()> {
    run(1, "monitors::containers_below_conmon")
}

/// Evidence names processes and threads.
#[test]
fn evidence() -> Result<()> {
    run(1, "attacks::a_shell_out_of_nginx_is_seen")
}

#[test]
fn two_levels_deep() -> Result<()> {
    run_all(
        2,
        &[
            "capture::found_when_the_agent_starts_last",
            "capture::conservation_at_a_low_rate",
            "faults::killed::the_next_agent_takes_up_the_same_containers",
            "network::connections_and_bytes_are_counted_for_both_ends",
        ],
    )
}
