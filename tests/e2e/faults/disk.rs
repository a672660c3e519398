//! Full disks: small file systems in memory, in the mount namespace of the one program that writes there.

use super::{SOON, agent_command, containerd, metric, more_calls, on_small_disk, score, steady};
use anyhow::{Context as _, Result, ensure};
use std::{fs, path::Path, process::Output, thread, time::Duration};
use surprisal_e2e::{Daemon, Scorer, Scratch, scorer, wait_for};
use surprisal_proto::v1::{GetProfileRequest, ImportRequest, ProfileArchive, profiles_client::ProfilesClient};

/// Under the JSON Lines file: the agent goes on, the scorer gets everything, what the file lacks is counted and said once.
#[test]
fn a_full_disk_under_the_file_costs_only_the_file() -> Result<()> {
    let (containerd, busybox) = containerd()?;
    let dir = containerd.scratch().path().join("small");
    fs::create_dir(&dir)?;
    let profiles = containerd.scratch().path().join("profiles");
    let scorer = Scorer::serve(containerd.scratch(), &profiles, &[])?;
    let url = scorer.url();
    let file = dir.join("calls.jsonl");
    let file = file.to_str().context("UTF-8")?;
    let command = agent_command(&containerd, &url, &["--jsonl", file, "--jsonl-max-bytes", "1000000000"])?;
    let mut agent = Daemon::start(containerd.scratch(), "agent", &mut on_small_disk(&command, &dir, "64k"))?;
    agent.wait_for_log("capturing", SOON)?;
    let container = steady(&containerd, &busybox, "steady")?;
    wait_for("calls that the file lacks", SOON, || {
        metric(&agent, "surprisal_agent_jsonl_dropped_calls_total").ok().filter(|n| *n > 0)
    });
    // Past the next try for a new file.
    thread::sleep(Duration::from_secs(6));
    let seen = score(&url, "steady").map_or(0, |s| super::calls(&s));
    more_calls(&url, "steady", seen + 1000);
    let now = score(&url, "steady").context("its score")?;
    ensure!(now["loss_ratio"] == 0.0, "a full disk cost calls: {now:#}");
    let said = agent.log().lines().filter(|l| l.contains("going on without this file")).count();
    ensure!(said == 1, "said {said} times:\n{}", agent.log());
    let of = |name: &str| metric(&agent, &format!("surprisal_agent_jsonl_{name}_calls_total"));
    // Out before in: what is written between the two looks is in both or in the second only.
    let (out, dropped, taken) = (of("out")?, of("dropped")?, of("in")?);
    ensure!(out > 0 && dropped > 0 && out + dropped <= taken, "{taken} in, {out} out, {dropped} dropped");
    drop(container);
    ensure!(agent.terminate(SOON)?.success(), "{}", agent.log());
    Ok(())
}

/// Under the profiles: a threshold that cannot be kept is refused; the one before stays in force, and is there after a restart.
#[test]
fn a_full_disk_under_the_profiles_changes_nothing() -> Result<()> {
    let scratch = Scratch::new()?;
    let dir = scratch.path().join("small");
    fs::create_dir(&dir)?;
    let address = scorer::free_address()?;
    let mut command = scorer::command(&["serve", "--listen", &address.to_string(), "--profiles"])?;
    command.arg(&dir);
    let mut daemon = Daemon::start(&scratch, "scorer", &mut on_small_disk(&command, &dir, "128k"))?;
    let url = format!("http://{address}");
    daemon.wait_until("it answers", SOON, |_| set(&url, None).is_ok_and(|out| out.status.success()))?;
    // The directory as the scorer sees it.
    let inside = Path::new("/proc").join(daemon.pid().to_string()).join("root").join(dir.strip_prefix("/")?);
    ensure!(set(&url, Some("4.25"))?.status.success(), "{}", daemon.log());
    let kept = fs::read_to_string(inside.join("thresholds.json"))?;
    ensure!(kept.contains("4.25"), "{kept}");
    let filled = fs::write(inside.join("filler"), vec![0; 1 << 20]);
    ensure!(filled.is_err(), "the disk was to be full");

    let out = set(&url, Some("5.5"))?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    ensure!(!out.status.success() && said.trim_end().lines().count() == 1, "one clear line: {said}");
    ensure!(said.contains("No space left"), "with the reason: {said}");
    ensure!(fs::read_to_string(inside.join("thresholds.json"))? == kept, "what was there has changed");
    let names: Vec<_> = fs::read_dir(&inside)?.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    let mut rest: Vec<_> = names.iter().filter(|n| !["thresholds.json", "filler"].contains(&n.as_str())).collect();
    ensure!(rest.is_empty(), "something half-written stays: {rest:?}");
    ensure!(daemon.is_running(), "the scorer has ended");

    fs::remove_file(inside.join("filler"))?;
    ensure!(set(&url, Some("5.5"))?.status.success(), "with room again it is taken");
    ensure!(fs::read_to_string(inside.join("thresholds.json"))?.contains("5.5"), "and kept");
    rest.clear();
    ensure!(daemon.terminate(SOON)?.success(), "{}", daemon.log());
    Ok(())
}

/// Under the profiles, in the middle of an import: there is room for the new weights and not for what describes them. The import
/// is refused, the profile before stays in force, and a scorer that starts on what is on the disk takes it too.
#[test]
fn a_disk_that_fills_during_an_import_keeps_the_old_profile() -> Result<()> {
    const WORKLOAD: &str = "demo/-/redis";
    let scratch = Scratch::new()?;
    let (old, new) = (trained(&scratch, "1")?, trained(&scratch, "2")?);
    ensure!(old.weights != new.weights && new.weights.len() <= 4096 && new.metadata.len() > 4096, "one page and more than one");
    let dir = scratch.path().join("small");
    fs::create_dir(&dir)?;
    let address = scorer::free_address()?;
    let mut command = scorer::command(&["serve", "--listen", &address.to_string(), "--profiles"])?;
    command.arg(&dir);
    let mut daemon = Daemon::start(&scratch, "scorer", &mut on_small_disk(&command, &dir, "128k"))?;
    let url = format!("http://{address}");
    daemon.wait_until("it answers", SOON, |_| set(&url, None).is_ok_and(|out| out.status.success()))?;
    import(&url, old, WORKLOAD)?;
    let version = version(&url, WORKLOAD)?;
    let inside = Path::new("/proc").join(daemon.pid().to_string()).join("root").join(dir.strip_prefix("/")?);
    ensure!(fs::write(inside.join("filler"), vec![0; 1 << 20]).is_err(), "the disk was to be full");
    let filler = fs::OpenOptions::new().write(true).open(inside.join("filler"))?;
    filler.set_len(filler.metadata()?.len() / 4096 * 4096 - 4096)?;

    for workload in [WORKLOAD, "another/-/one"] {
        let refused = import(&url, new.clone(), workload).expect_err("there is no room");
        ensure!(format!("{refused:#}").contains("No space left"), "with the reason: {refused:#}");
    }
    ensure!(self::version(&url, WORKLOAD)? == version, "another profile is in force");
    // What a scorer finds that starts now.
    let copy = scratch.path().join("copy");
    fs::create_dir(&copy)?;
    for entry in fs::read_dir(&inside)?.flatten().filter(|e| e.path().is_dir()) {
        fs::create_dir(copy.join(entry.file_name()))?;
        for file in fs::read_dir(entry.path())?.flatten() {
            fs::copy(file.path(), copy.join(entry.file_name()).join(file.file_name()))?;
        }
    }
    let dirs: Vec<_> = fs::read_dir(&copy)?.flatten().map(|e| e.file_name()).collect();
    ensure!(dirs.len() == 1, "the refused workload's directory stays: {dirs:?}");
    let again = Scorer::serve(&scratch, &copy, &[])?;
    wait_for("the old profile", SOON, || self::version(&again.url(), WORKLOAD).ok().filter(|v| *v == version));
    ensure!(!again.daemon.log().contains("refused"), "{}", again.daemon.log());
    ensure!(daemon.terminate(SOON)?.success(), "{}", daemon.log());
    Ok(())
}

/// A tiny model of the demo's recording, as an archive.
fn trained(scratch: &Scratch, seed: &str) -> Result<ProfileArchive> {
    let dir = scratch.path().join(format!("trained-{seed}"));
    let recording = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/demo/normal.jsonl.zst");
    let mut command = scorer::command(&["train", "--any-label", "--allow-truncated", "--epochs", "1", "--max-windows", "100"])?;
    command.args(["--embedding", "2", "--hidden", "3", "--seed", seed, "--profiles"]).arg(&dir).arg(recording);
    let out = command.output()?;
    ensure!(out.status.success(), "training: {}", String::from_utf8_lossy(&out.stderr));
    let profile = fs::read_dir(&dir)?.next().context("a profile")??.path();
    Ok(ProfileArchive {
        metadata: fs::read(profile.join("profile.json"))?,
        weights: fs::read(profile.join("weights.safetensors"))?,
    })
}

fn import(url: &str, archive: ProfileArchive, workload: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client = ProfilesClient::connect(url.to_owned()).await?;
        client.import(ImportRequest { archive: Some(archive), workload: workload.to_owned() }).await?;
        Ok(())
    })
}

/// The version of a workload's profile in force.
fn version(url: &str, workload: &str) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client = ProfilesClient::connect(url.to_owned()).await?;
        let answer = client.get(GetProfileRequest { workload: workload.to_owned() }).await?.into_inner();
        Ok(answer.profile.context("a profile")?.version)
    })
}

/// Sets the threshold of all workloads, or clears it.
fn set(url: &str, threshold: Option<&str>) -> Result<Output> {
    let mut args = vec!["profile", "threshold", "--scorer", url, "--global"];
    match threshold {
        Some(nats) => args.extend(["--set", nats]),
        None => args.push("--clear"),
    }
    scorer::run(&args)
}
