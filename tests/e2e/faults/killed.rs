//! `kill -9` of the agent, and of a container's shim.

use super::{SOON, containerd, more_calls, score, scores, start_agent, steady};
use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::{collections::BTreeSet, fs};
use surprisal_e2e::{Scorer, scratch::is_running, wait_for};

/// *The agent*: nothing of it stays in the kernel, and the next one takes up the same container, once.
#[test]
fn the_next_agent_takes_up_the_same_containers() -> Result<()> {
    let (containerd, busybox) = containerd()?;
    let profiles = containerd.scratch().path().join("profiles");
    let scorer = Scorer::serve(containerd.scratch(), &profiles, &[])?;
    let url = scorer.url();
    let container = steady(&containerd, &busybox, "steady")?;
    let mut agent = start_agent(&containerd, &url, &[])?;
    let before = more_calls(&url, "steady", 500);
    let held = kernel_objects(agent.pid());
    ensure!(held.len() > 10, "an agent that captures holds programs, maps and links: {held:?}");
    agent.kill()?;
    // The kernel frees what no descriptor, no link and no name in a bpf file system holds; the first two go with processes.
    wait_for("nobody to hold what it held", SOON, || {
        others().iter().all(|pid| kernel_objects(*pid).is_disjoint(&held)).then_some(())
    });
    for mount in bpf_mounts()? {
        let names: Vec<_> = fs::read_dir(&mount)?.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        ensure!(!names.iter().any(|name| name.contains("surprisal")), "{mount} holds {names:?}");
    }

    let mut agent = start_agent(&containerd, &url, &[])?;
    let after = more_calls(&url, "steady", before + 1000);
    ensure!(after > before, "{after} calls");
    let all = scores(&url);
    let of_it: Vec<_> = all.iter().filter(|s| s.to_string().contains("\"steady\"")).collect();
    ensure!(of_it.len() == 1, "one container, listed as {of_it:#?}");
    ensure!(score(&url, "steady").is_some_and(|s| s["ended"] != true), "it lives");
    ensure!(agent.terminate(SOON)?.success(), "{}", agent.log());
    drop(container);
    Ok(())
}

/// *The shim*: its container's threads are followed on as long as they live, their end is told, and others' notice nothing.
#[test]
fn a_container_whose_shim_is_killed_is_followed_to_its_end() -> Result<()> {
    let (containerd, busybox) = containerd()?;
    let profiles = containerd.scratch().path().join("profiles");
    let scorer = Scorer::serve(containerd.scratch(), &profiles, &[])?;
    let url = scorer.url();
    let (orphan, other) = (steady(&containerd, &busybox, "orphan")?, steady(&containerd, &busybox, "other")?);
    let mut agent = start_agent(&containerd, &url, &[])?;
    more_calls(&url, "orphan", 500);
    let shim = parent(orphan.pid()).context("the container's shim")?;
    ensure!(fs::read_to_string(format!("/proc/{shim}/comm"))?.starts_with("containerd-shim"), "{shim} is no shim");
    kill_process(Pid::from_raw(shim.cast_signed()).context("a process id")?, Signal::KILL)?;
    // What becomes of the container is containerd's to decide: it may end it, or leave it running.
    let at_kill = score(&url, "orphan").map_or(0, |s| super::calls(&s));
    let followed_or_ended = wait_for("calls of the container, or its end", SOON, || {
        let now = score(&url, "orphan")?;
        let lives = is_running(orphan.pid());
        (lives && super::calls(&now) > at_kill + 500 || !lives && now["ended"] == true).then_some(now)
    });
    if is_running(orphan.pid()) {
        kill_process(Pid::from_raw(orphan.pid().cast_signed()).context("a process id")?, Signal::KILL)?;
    }
    wait_for("its end", SOON, || score(&url, "orphan").filter(|s| s["ended"] == true));
    ensure!(followed_or_ended["loss_ratio"] == 0.0, "{followed_or_ended:#}");
    let seen = score(&url, "other").map_or(0, |s| super::calls(&s));
    more_calls(&url, "other", seen + 500);
    ensure!(agent.terminate(SOON)?.success(), "{}", agent.log());
    drop((orphan, other));
    Ok(())
}

/// Ids of the programs, maps and links that a process has open.
fn kernel_objects(pid: u32) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return BTreeSet::new() };
    let ids = entries.flatten().flat_map(|entry| {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let is_id = |line: &&str| ["map_id:", "prog_id:", "link_id:"].iter().any(|key| line.starts_with(key));
        text.lines().filter(is_id).map(|line| line.split_whitespace().collect()).collect::<Vec<String>>()
    });
    ids.collect()
}

fn others() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

fn bpf_mounts() -> Result<Vec<String>> {
    let text = fs::read_to_string("/proc/self/mounts")?;
    Ok(text
        .lines()
        .filter(|l| l.split(' ').nth(2) == Some("bpf"))
        .filter_map(|l| Some(l.split(' ').nth(1)?.to_owned()))
        .collect())
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
