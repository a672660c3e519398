//! `xtask demo`: from nothing to a caught attack, alone, in a few minutes.
//!
//! In: a fresh machine. Out: on the screen, a container's score under normal load, then under a real attack, with
//! the verdict and its evidence. Never: leaves anything running, also after Ctrl-C; what a killed run left ends when
//! the next one starts.
//!
//! Where the kernel or the user's rights do not allow eBPF, the same scorer gets a recording that this project made.

mod picture;
mod play;
mod replay;
mod scores;
mod screen;

use crate::{
    build_ebpf,
    interrupt::Interrupt,
    setup::{self, Part},
    shell,
};
use anyhow::{Context as _, Result, bail};
use play::{PATIENCE, conclude, show};
use scores::Watch;
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use surprisal_e2e::{Scorer, agent, scene::Scene, scorer, scratch};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Replay the shipped recording even where eBPF is possible
    #[arg(long)]
    replay: bool,
    /// Keep the recording of the normal load and of the attack in this directory
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Write a picture of what was shown, an SVG, into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Seconds of normal load to learn from
    #[arg(long, value_name = "SECONDS", default_value_t = 25, value_parser = clap::value_parser!(u32).range(5..=600))]
    learn: u32,
}

/// How long normal load is scored before the attack.
const NORMAL: Duration = Duration::from_secs(12);
pub(crate) fn run(args: &Args) -> Result<()> {
    let interrupt = Interrupt::catch()?;
    scratch::end_leftovers();
    screen::title("Surprisal demo: learn a container's normal life, then attack it");
    let why = if args.replay { Some("--replay".to_owned()) } else { prepare(&interrupt)? };
    match why {
        None => live(args, &interrupt)?,
        Some(why) => {
            if !args.replay {
                screen::title("No eBPF here: replaying a recording through the same scorer");
                screen::say(&why);
            }
            prepare_replay(&interrupt)?;
            replay::run(&interrupt)?;
        }
    }
    args.svg.as_deref().map_or(Ok(()), |path| picture::write(path, &screen::shown()))
}

/// Installs and builds; says why eBPF is not possible, if it is not.
fn prepare(interrupt: &Interrupt) -> Result<Option<String>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Some("eBPF and containers need root, and this is not root.".to_owned()));
    }
    screen::title("1  Set up and build (minutes the first time, seconds then)");
    setup::ensure(&[Part::Bpf, Part::Libtorch, Part::Containers])?;
    build_ebpf::build()?;
    build()?;
    interrupt.check()?;
    let probe = agent::run(&["probe"])?;
    if probe.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&probe.stderr).trim().to_owned();
    Ok(Some(format!("`surprisal-agent probe` ended with {}: {text}", probe.status)))
}

fn prepare_replay(interrupt: &Interrupt) -> Result<()> {
    setup::ensure(&[Part::Libtorch])?;
    build()?;
    interrupt.check()
}

/// The packages and features that `xtask test` builds too, so that nothing is compiled twice.
fn build() -> Result<()> {
    let mut cargo = shell::cargo();
    shell::run(cargo.args(["build", "--workspace", "--bins", "--locked"]))
}

fn live(args: &Args, interrupt: &Interrupt) -> Result<()> {
    screen::title("2  A redis server in a container, with clients");
    let scene = Scene::start()?;
    interrupt.check()?;
    let (scratch, id, workload) = (scene.containerd.scratch(), scene.server.id().to_owned(), scene.server.workload());
    let (normal, profiles) = (scratch.path().join("normal.jsonl"), scratch.path().join("profiles"));
    let select = format!("workload={workload}");
    screen::say(&format!("container {workload}, process {}", scene.server.pid()));

    screen::title(&format!("3  Follow its system calls for {} s", args.learn));
    let (output, seconds) = (normal.to_string_lossy(), args.learn.to_string());
    let record = ["record", "--output", &*output, "--label", "normal", "--duration", &seconds, "--select", &select];
    let mut recorder = agent::start(scratch, &record)?;
    let begin = Instant::now();
    while recorder.is_running() {
        interrupt.sleep(Duration::from_millis(250))?;
        let bytes = normal.metadata().map_or(0, |m| m.len());
        screen::progress(begin.elapsed(), Duration::from_secs(u64::from(args.learn)), bytes);
        if begin.elapsed() > Duration::from_secs(u64::from(args.learn) + 30) {
            bail!("the recording does not end; the agent's log:\n{}", recorder.log());
        }
    }
    screen::end_progress();
    let status = recorder.wait(Duration::from_secs(1))?;
    if !status.success() {
        bail!("surprisal-agent record ended with {status}:\n{}", recorder.log());
    }

    screen::title("4  Train a language model on them");
    train(&profiles, &workload, &normal)?;
    interrupt.check()?;

    screen::title("5  Score what it does now: normal load");
    let server = Scorer::serve(scratch, &profiles, &[])?;
    let url = server.url();
    let second = scratch.path().join("live.jsonl");
    let second = second.to_string_lossy();
    let mut follower = vec!["run", "--scorer", &url, "--select", &select];
    if args.keep.is_some() {
        follower.extend(["--jsonl", &second]);
    }
    let mut follower = agent::start(scratch, &follower)?;
    let watch = Watch::start(&url, &id)?;
    let before = show(interrupt, &watch, NORMAL, || false)?;

    screen::title("6  Attack: a module loaded into the server starts a shell, reads secrets, calls home");
    let attack = scene.attack(screen::attacker)?;
    let begin = Instant::now();
    let mut turned = None;
    let after = show(interrupt, &watch, PATIENCE, || {
        if turned.is_none() && watch.latest().is_some_and(|s| s.is_anomalous()) {
            turned = Some(begin.elapsed());
        }
        turned.is_some_and(|t| begin.elapsed() > t + Duration::from_secs(3)) && attack.is_over()
    })?;
    if let Some(dir) = &args.keep {
        follower.terminate(Duration::from_secs(10))?;
        keep(dir, &normal, Path::new(&*second))?;
    }
    conclude(before.as_ref(), after.as_ref(), turned, "after the module was loaded")
}

fn train(profiles: &Path, workload: &str, recording: &Path) -> Result<()> {
    std::fs::create_dir_all(profiles)?;
    let mut train: Command = scorer::command(&["train", "--workload", workload, "--profiles"])?;
    shell::run(train.arg(profiles).arg(recording))
}

fn keep(dir: &Path, normal: &Path, live: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    for (from, name) in [(normal, "normal.jsonl"), (live, "attack.jsonl")] {
        let to = dir.join(name);
        std::fs::copy(from, &to).with_context(|| format!("copying to {}", to.display()))?;
    }
    Ok(())
}
