//! What `surprisal-agent containers` says: who was found how, and who is not followed and why.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::{fs, time::Duration};
use surprisal_e2e::{Containerd, Run, Scratch, agent, images, wait_for};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn each_container_with_its_reason() -> Result<()> {
    let containerd = Containerd::start()?;
    let busybox = images::busybox()?;
    containerd.import(&busybox)?;
    let sleep = ["sleep", "600"];
    let before = containerd.run(&Run::new("before", &busybox, &sleep))?;
    let file = containerd.scratch().path().join("calls.jsonl");
    let select = format!("namespace={}", containerd.namespace());
    let file = file.to_str().context("a path in UTF-8")?;
    let args =
        ["run", "--scorer", "none", "--jsonl", file, "--admin", "127.0.0.1:0", "--select", &select, "--exclude", "id=left-out"];
    let mut agent = agent::start(containerd.scratch(), &args)?;
    agent.wait_for_log("capturing", SOON)?;
    let address = agent::admin_address(&agent.log()).context("the agent says where its admin endpoint is")?;
    let after = containerd.run(&Run::new("after", &busybox, &sleep))?;
    let left_out = containerd.run(&Run::new("left-out", &busybox, &sleep))?;
    let ask = |format: &str| agent::run(&["containers", "--admin", &address, "-o", format]);
    let rows = || -> Option<Vec<Value>> {
        let rows: Vec<Value> = serde_json::from_slice(&ask("json").ok()?.stdout).ok()?;
        let ours = rows.into_iter().filter(|row| row["runtime"] == containerd.namespace()).collect::<Vec<_>>();
        (ours.len() == 3 && ours.iter().all(|row| row["workload"] != "")).then_some(ours)
    };
    let rows = wait_for("all three", SOON, rows);
    for (id, seen, reason) in [("before", "walk", ""), ("after", "birth", ""), ("left-out", "birth", "not selected")] {
        let row = rows.iter().find(|row| row["id"] == id).with_context(|| format!("no {id} in {rows:?}"))?;
        ensure!(row["seen"] == seen && row["reason"] == reason && row["owner_source"] == "guessed", "{row}");
        ensure!(row["followed_since"].is_string() == reason.is_empty(), "{row}");
        ensure!(row["workload"] == format!("{}/-/{id}", containerd.namespace()), "{row}");
    }
    let table = String::from_utf8(ask("table")?.stdout)?;
    ensure!(table.lines().any(|line| line.starts_with("left-out") && line.ends_with("not selected")), "{table}");
    for container in [before, after, left_out] {
        container.remove()?;
    }
    wait_for("no container of ours any more", SOON, || {
        let text = String::from_utf8(ask("table").ok()?.stdout).ok()?;
        (!text.contains(containerd.namespace())).then_some(())
    });
    ensure!(agent.terminate(SOON)?.success(), "{}", agent.log());
    // Nobody is asked in vain: it says so, and with the code that scripts look at.
    let out = ask("json")?;
    let said = String::from_utf8(out.stderr)?;
    ensure!(out.status.code() == Some(69) && said.contains("is one running there"), "{} {said}", out.status);
    Ok(())
}

#[test]
fn an_api_that_does_not_answer_is_said_and_nobody_waits_for_it() -> Result<()> {
    let scratch = Scratch::new()?;
    let file = |name: &str| scratch.path().join(name).display().to_string();
    // Nothing listens there.
    let text = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "u", "user": {}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}"#;
    fs::write(file("kubeconfig"), text)?;
    let (calls, kubeconfig) = (file("calls.jsonl"), file("kubeconfig"));
    let rest = ["--scorer", "none", "--jsonl", &calls, "--admin", "127.0.0.1:0", "--select", "id=none-of-these"];
    let mut agent = agent::start(&scratch, &[&["run", "--kubernetes", &kubeconfig], rest.as_slice()].concat())?;
    agent.wait_for_log("capturing", SOON)?;
    let address = agent::admin_address(&agent.log()).context("the agent says where its admin endpoint is")?;
    let kubernetes = wait_for("the agent to say so", SOON, || {
        let out = agent::run(&["status", "--admin", &address, "-o", "json"]).ok()?;
        let status: Value = serde_json::from_slice(&out.stdout).ok()?;
        (status["agent"]["kubernetes"]["state"] == "failing").then(|| status["agent"]["kubernetes"].clone())
    });
    ensure!(kubernetes["error"].as_str().is_some_and(|e| e.contains("127.0.0.1:1") || e.contains("refused")), "{kubernetes}");
    ensure!(agent.log().contains("does not answer: owners are guessed"), "{}", agent.log());
    ensure!(agent.terminate(SOON)?.success(), "{}", agent.log());

    fs::write(file("kubeconfig"), "no such thing")?;
    let out = agent::run(&[&["run", "--kubernetes", &kubeconfig], rest.as_slice()].concat())?;
    let said = String::from_utf8(out.stderr)?;
    ensure!(out.status.code() == Some(64) && said.contains("is no kubeconfig file"), "{} {said}", out.status);
    Ok(())
}
