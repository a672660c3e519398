//! Clocks that jump: the day's, not the monotonic one, which by its definition does not.
//!
//! libfaketime between the programs and the C library gives them another time of day; the machine's own clock is left alone.

use super::{SOON, agent_command, containerd, more_calls, score, steady};
use anyhow::{Context as _, Result, ensure};
use std::{fs, path::Path, process::Command, thread, time::Duration};
use surprisal_e2e::{Daemon, scorer, wait_for};

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// The agent's clock jumps ahead and back, then the scorer's: every call arrives once, and scores go on.
#[test]
fn clocks_that_jump_lose_nothing() -> Result<()> {
    ensure!(Path::new(LIBRARY).exists(), "no {LIBRARY}; `cargo xtask setup containers` installs it");
    let (containerd, busybox) = containerd()?;
    let scratch = containerd.scratch();
    let [of_agent, of_scorer] = ["agent.time", "scorer.time"].map(|name| scratch.path().join(name));
    for file in [&of_agent, &of_scorer] {
        jump(file, "+0")?;
    }
    let address = scorer::free_address()?;
    let mut command = scorer::command(&["serve", "--listen", &address.to_string(), "--profiles"])?;
    command.arg(scratch.path().join("profiles"));
    let mut daemon = Daemon::start(scratch, "scorer", faked(&mut command, &of_scorer))?;
    let url = format!("http://{address}");
    daemon.wait_until("it answers", SOON, |_| {
        scorer::run(&["scores", "list", "--scorer", &url]).is_ok_and(|o| o.status.success())
    })?;
    let file = scratch.path().join("calls.jsonl");
    let flags = ["--jsonl", file.to_str().context("UTF-8")?, "--jsonl-max-bytes", "1000000000"];
    let mut command = agent_command(&containerd, &url, &flags)?;
    let mut agent = Daemon::start(scratch, "agent", faked(&mut command, &of_agent))?;
    agent.wait_for_log("capturing", SOON)?;
    let container = steady(&containerd, &busybox, "steady")?;
    let mut seen = more_calls(&url, "steady", 500);
    for (clock, offset) in [(&of_agent, "+3h"), (&of_agent, "-5h"), (&of_scorer, "+2d"), (&of_scorer, "-2d"), (&of_scorer, "+0")]
    {
        jump(clock, offset)?;
        // Ticks of every kind come by under the new time.
        thread::sleep(Duration::from_secs(1));
        seen = more_calls(&url, "steady", seen + 500);
        let now = score(&url, "steady").context("its score")?;
        ensure!(now["ended"] != true && now["loss_ratio"] == 0.0, "after {offset}: {now:#}");
    }
    container.signal("KILL")?;
    let last = wait_for("its end", SOON, || score(&url, "steady").filter(|s| s["ended"] == true));
    ensure!(agent.terminate(SOON)?.success(), "{}", agent.log());
    let delivered = surprisal_e2e::Recording::read(&file)?.delivered("steady");
    ensure!(super::calls(&last) == delivered, "{delivered} calls captured, {} arrived", super::calls(&last));
    ensure!(daemon.is_running(), "{}", daemon.log());
    ensure!(!daemon.log().contains("panicked") && !agent.log().contains("panicked"), "{}\n{}", daemon.log(), agent.log());
    ensure!(daemon.terminate(SOON)?.success(), "{}", daemon.log());
    Ok(())
}

/// With the time of day that `file` says; it is read each time.
fn faked<'a>(command: &'a mut Command, file: &Path) -> &'a mut Command {
    command.env("LD_PRELOAD", LIBRARY).env("FAKETIME_TIMESTAMP_FILE", file);
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("FAKETIME_DONT_RESET", "1")
}

fn jump(file: &Path, offset: &str) -> Result<()> {
    // In one step: a program that reads half a line would be given another time than either.
    let next = file.with_extension("next");
    fs::write(&next, format!("{offset}\n"))?;
    fs::rename(next, file).with_context(|| format!("writing {}", file.display()))
}
