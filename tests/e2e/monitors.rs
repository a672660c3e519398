//! What the agent promises of containers that something else than containerd's shim holds.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::{fs, time::Duration};
use surprisal_e2e::{Containerd, Recording, Run, Scorer, Scratch, agent, conmon::Conmon, images, scorer, wait_for};

const SOON: Duration = Duration::from_secs(20);
const EXECVE: u16 = 59;

/// conmon and runc, by hand: containers born before and after the agent, with their names.
#[test]
fn containers_below_conmon() -> Result<()> {
    let scratch = Scratch::new()?;
    let busy = ["sh", "-c", "while :; do cat /proc/self/stat >/dev/null; sleep 0.1; done"];
    let before = Conmon::start(&scratch, "before", &busy)?;
    let path = scratch.path().join("recording.jsonl");
    let output = path.to_str().context("a path in UTF-8")?;
    // Ids of this test's containers are its process id and a number.
    let select = format!("id=*0{}????", std::process::id());
    let mut agent = agent::start(&scratch, &["record", "--label", "normal", "--select", &select, "--output", output])?;
    agent.wait_for_log("capturing", SOON)?;
    let after = Conmon::start(&scratch, "after", &busy)?;
    let heard = |recording: &Recording| [&before, &after].iter().all(|c| recording.count(c.id(), EXECVE) > 5);
    wait_for("calls of both containers", SOON, || Recording::read_so_far(&path).ok().filter(heard));
    let status = agent.terminate(SOON)?;
    ensure!(status.success(), "the agent ended with {status}: {}", agent.log());
    let recording = Recording::read(&path)?;
    for (container, name) in [(&before, "before"), (&after, "after")] {
        let known = recording.containers.get(container.id()).context("a container's line")?;
        ensure!((known.names.name.as_str(), known.names.runtime_namespace.as_str()) == (name, "libpod"), "{known:?}");
        ensure!(recording.threads(container.id())?.contains_key(&(container.pid(), container.pid())), "{name}: no first process");
    }
    let first = recording.threads(after.id())?;
    let first = first.get(&(after.pid(), after.pid())).context("the first process of the container born later")?;
    ensure!(first.calls.first() == Some(&EXECVE), "{:?}", first.calls.first());
    Ok(())
}

/// A container in a sandboxed runtime is reported, and never scored. gVisor is not to be had here: a stand-in, runc's own shim under the
/// name of gVisor's, by which the agent tells.
#[test]
fn a_sandboxed_runtime_is_said() -> Result<()> {
    let containerd = Containerd::start()?;
    let busybox = images::busybox()?;
    containerd.import(&busybox)?;
    let dir = containerd.scratch().path();
    let shim = dir.join("containerd-shim-runsc-v1");
    fs::copy("/usr/bin/containerd-shim-runc-v2", &shim).context("copying containerd's shim")?;
    let scorer = Scorer::serve(containerd.scratch(), &dir.join("profiles"), &[])?;
    let (select, url) = (format!("namespace={}", containerd.namespace()), scorer.url());
    let args = ["run", "--scorer", &url, "--select", &select, "--admin", "127.0.0.1:0"];
    let mut agent = agent::start(containerd.scratch(), &args)?;
    agent.wait_for_log("capturing", SOON)?;
    let address = agent::admin_address(&agent.log()).context("the agent says where its admin endpoint is")?;
    let plain = containerd.run(&Run::new("plain", &busybox, &["sleep", "600"]))?;
    let boxed = containerd.run(&Run::new("boxed", &busybox, &["sleep", "600"]).shim(&shim))?;
    let reason = |id: &str| -> Option<String> {
        let out = scorer::run(&["scores", "get", "--id", id, "--scorer", &url, "-o", "json"]).ok()?;
        let score: Value = serde_json::from_slice(&out.stdout).ok()?;
        score["unscored_reason"].as_str().map(str::to_owned)
    };
    for (id, expect) in [("plain", "no profile"), ("boxed", "sandboxed runtime")] {
        wait_for(expect, SOON, || reason(id).filter(|reason| reason == expect));
    }
    let said = wait_for("the agent's own word", SOON, || {
        let rows = agent::run(&["containers", "--admin", &address, "-o", "json"]).ok()?;
        let rows: Vec<Value> = serde_json::from_slice(&rows.stdout).ok()?;
        rows.into_iter().find(|row| row["id"] == "boxed" && row["workload"] != "")
    });
    ensure!(said["reason"].as_str().is_some_and(|reason| reason.starts_with("sandboxed runtime")), "{said}");
    drop((plain, boxed));
    Ok(())
}
