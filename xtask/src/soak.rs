//! `xtask soak`: containers born and dying for as long as one likes, under the real agent and the real scorer.
//!
//! In: minutes. Out: what both hold (memory, descriptors, entries in maps) over time, as a chart and as JSON. Never: passes
//! when something has grown: one clear line, and exit code 1.
//!
//! A few containers live at any time, each for a second or three; as in a cluster, many of them are replicas of the same
//! workloads. After the last one there is a quiet time, and then nothing of a container may be left in the kernel.

mod chart;
mod churn;
mod sample;
mod served;
mod verdict;

use crate::{
    build_ebpf,
    interrupt::Interrupt,
    setup::{self, Part},
    shell::{self, Exit, NO_RIGHTS},
    workspace,
};
use anyhow::{Context as _, Result, ensure};
use churn::Churn;
use sample::{Sample, Sampler};
use served::{PATIENCE, Programs, Served};
use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};
use surprisal_e2e::{Containerd, images};
use verdict::Verdict;

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long containers come and go
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,
    /// Containers alive at once
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    alive: u32,
    /// Write the figures there too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw them over time there, as SVG
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Take the debug programs that are built already
    #[arg(long)]
    debug: bool,
}

/// The kernel's tables have this long to be empty again after the last container.
const QUIET: Duration = Duration::from_secs(30);
/// How often progress is said.
const PROGRESS: Duration = Duration::from_secs(30);

pub(crate) fn run(args: &Args) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(Exit::new(NO_RIGHTS, "containers and eBPF need root, and this is not root").into());
    }
    let interrupt = Interrupt::catch()?;
    setup::ensure(&[Part::Containers])?;
    let programs = build(args.debug)?;
    let (samples, containers) = soak(args, &programs, &interrupt)?;
    let verdict = Verdict::of(&samples, containers);
    println!("\n{}", verdict.table());
    if let Some(path) = &args.json {
        let mut value = verdict.json();
        value["minutes"] = args.minutes.into();
        value["samples"] = samples.iter().map(Sample::json).collect();
        fs::write(path, format!("{value:#}\n")).with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &args.chart {
        fs::write(path, chart::draw(&samples)?).with_context(|| format!("writing {}", path.display()))?;
    }
    match verdict.grown() {
        None => {
            println!("flat: {containers} containers were born and died");
            Ok(())
        }
        Some(what) => Err(Exit::new(1, format!("not flat: {what}")).into()),
    }
}

/// The five minutes of it that `xtask test` runs, with the debug programs that it has built: in a pid namespace of its own, so that
/// its agent follows no containers of the tests beside it.
pub(crate) fn check() -> Result<()> {
    let mut soak = Command::new("unshare");
    soak.args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "sh", "-c"]);
    // Notes of what was started hold this namespace's ids: nobody else may read them. And the first process has to reap.
    soak.arg("mount -t tmpfs tmpfs /tmp && \"$0\" \"$@\"").arg(workspace::target().join("debug/xtask"));
    shell::run(soak.args(["soak", "--minutes", "5", "--debug"]))
}

fn build(debug: bool) -> Result<Programs> {
    let target = workspace::target();
    let dir = if debug {
        target.join("debug")
    } else {
        setup::ensure(&[Part::Bpf, Part::Libtorch])?;
        build_ebpf::build()?;
        let build = ["build", "--release", "--locked"];
        let both = ["--package", "surprisal-agent", "--package", "surprisal-scorer"];
        shell::run(shell::cargo().args(build).args(both))?;
        shell::run(shell::cargo().args(build).args(["--package", "surprisal-agent", "--example", "maps"]))?;
        target.join("release")
    };
    let find = |name: &str| -> Result<PathBuf> {
        let path = dir.join(name);
        ensure!(path.is_file(), "there is no {}; `cargo xtask test --only build` makes it", path.display());
        Ok(path)
    };
    Ok(Programs { agent: find("surprisal-agent")?, scorer: find("surprisal-scorer")?, maps: find("examples/maps")? })
}

/// (one sample a second, containers that were born and died).
fn soak(args: &Args, programs: &Programs, interrupt: &Interrupt) -> Result<(Vec<Sample>, u64)> {
    let containerd = Containerd::start()?;
    let busybox = images::busybox()?;
    containerd.import(&busybox)?;
    let mut scorer = Served::scorer(programs, &containerd)?;
    let mut agent = Served::agent(programs, &containerd, &scorer)?;
    let mut sampler = Sampler::start(&programs.maps, &agent, &scorer, containerd.scratch())?;
    let mut samples = vec![sampler.take(0, 0)?];
    println!("{} containers alive at once, for {} minutes", args.alive, args.minutes);
    let churn = Churn::start(&containerd, &busybox, args.alive);
    let begin = Instant::now();
    let end = begin + Duration::from_mins(args.minutes);
    let mut said = begin;
    while Instant::now() < end {
        interrupt.sleep(Duration::from_secs(1))?;
        churn.check()?;
        ensure!(agent.daemon.is_running(), "the agent has ended; its log:\n{}", agent.daemon.log());
        ensure!(scorer.daemon.is_running(), "the scorer has ended; its log:\n{}", scorer.daemon.log());
        let sample = sampler.take(churn.born(), churn.alive())?;
        if said.elapsed() >= PROGRESS {
            said = Instant::now();
            println!("{}", sample.line());
        }
        samples.push(sample);
    }
    let containers = churn.end()?;
    samples.push(quiet(&mut sampler, &samples[0], containers, interrupt)?);
    let status = agent.daemon.terminate(PATIENCE)?;
    ensure!(status.success(), "the agent ended with {status}; its log:\n{}", agent.daemon.log());
    Ok((samples, containers))
}

/// The first sample after the last container in which the kernel's tables are as at the start, or the last one in [`QUIET`].
fn quiet(sampler: &mut Sampler, start: &Sample, containers: u64, interrupt: &Interrupt) -> Result<Sample> {
    let begin = Instant::now();
    loop {
        interrupt.sleep(Duration::from_secs(2))?;
        let mut sample = sampler.take(containers, 0)?;
        sample.is_end = true;
        if sample.map_entries() <= start.map_entries() || begin.elapsed() > QUIET {
            println!("{}", sample.line());
            return Ok(sample);
        }
    }
}
