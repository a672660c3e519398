//! The demo without eBPF: a recording of the live demo, shipped with the project, through the same scorer.
//!
//! In: tests/fixtures/demo/*.jsonl.zst, which are what `cargo xtask demo --keep DIR` kept, packed with zstd, the
//! containerd's namespace renamed to "demo". Out: the same screen. Never: a score from anywhere but the scorer.

use super::{
    play::{PATIENCE, conclude, show},
    scores::Watch,
    screen,
};
use crate::{interrupt::Interrupt, shell, workspace};
use anyhow::{Context as _, Result};
use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};
use surprisal_e2e::{Daemon, Scorer, Scratch, daemon};

/// The recording's container.
const CONTAINER: &str = "redis";

pub(super) fn run(interrupt: &Interrupt) -> Result<()> {
    let scratch = Scratch::new()?;
    let dir = scratch.path();
    let (normal, attack, profiles) = (dir.join("normal.jsonl"), dir.join("attack.jsonl"), dir.join("profiles"));
    let replay = daemon::binary("replay", "SURPRISAL_REPLAY")?;
    for to in [&normal, &attack] {
        let name = to.file_name().context("a file has a name")?;
        let from = workspace::root().join("tests/fixtures/demo").join(name).with_extension("jsonl.zst");
        shell::run(Command::new(&replay).arg("unpack").arg(&from).arg(to))?;
    }
    screen::title("1  Train a language model on recorded normal calls of a redis server");
    fs::create_dir_all(&profiles)?;
    let mut train: Command = surprisal_e2e::scorer::command(&["train", "--profiles"])?;
    shell::run(train.arg(&profiles).arg(&normal))?;
    interrupt.check()?;

    screen::title("2  Replay what came next, as fast as it was: normal load, then an attack");
    let server = Scorer::serve(&scratch, &profiles, &[])?;
    let url = server.url();
    let mut sender = Daemon::start(&scratch, "replay", Command::new(&replay).arg("send").arg(&attack).arg(&url))?;
    let watch = Watch::start(&url, CONTAINER)?;
    let begin = Instant::now();
    let (mut turned, mut quiet) = (None, None);
    let after = show(interrupt, &watch, PATIENCE * 4, || {
        let latest = watch.latest();
        match latest {
            Some(score) if score.is_anomalous() && turned.is_none() => turned = Some(begin.elapsed()),
            Some(score) if score.is_normal() && turned.is_none() => quiet = Some(score),
            _ => {}
        }
        !sender.is_running()
    })?;
    let status = sender.wait(Duration::from_secs(5))?;
    if !status.success() {
        anyhow::bail!("replay ended with {status}:\n{}", sender.log());
    }
    conclude(quiet.as_ref(), after.as_ref(), turned, "after the replay began")
}
