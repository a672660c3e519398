//! `xtask bench`: what agent and scorer cost, in figures and never in a test.
//!
//! In: what to measure. Out: a table on stdout and, with `--json`, the same figures in a file. Never: passes or fails;
//! a shared machine's clock proves nothing.

mod fleet;
pub(crate) mod overhead;
mod scorer;
mod tracefs;

use crate::{
    build_ebpf,
    setup::{self, Part},
    shell, workspace,
};
use anyhow::{Context as _, Result, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};
use surprisal_e2e::{Containerd, Daemon, Run, images};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Nanoseconds added to a system call, and how fast records are decoded; needs root
    Capture {
        /// Write the figures there too
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Threads' buffers in a hash map, as on kernels before 5.11
        #[arg(long)]
        hash: bool,
        /// Rounds of which the medians are taken [default: the bench's own]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        rounds: Option<u32>,
    },
    /// Nanoseconds that each kind of hook adds to a system call, empty and with the agent's capture; needs root
    Hooks {
        /// Write the figures there too
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Rounds of which the medians are taken [default: the bench's own]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        rounds: Option<u32>,
    },
    /// What one scorer does for a thousand agents with 30 containers each
    Fleet(fleet::Args),
    /// Calls scored a second on one core: libraries, our kernels, and memory on top
    Scorer(scorer::Args),
    /// Throughput of redis, nginx and MariaDB under the agent and under its peers; needs root
    Overhead(overhead::Args),
    /// Memory of an agent that follows containers which all make calls; needs root
    Memory {
        /// Write the figures there too
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// How many containers
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
        containers: u32,
    },
}

/// The agent settles for this long before its memory is read.
const SETTLE: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.what {
        What::Overhead(args) => return overhead::run(args),
        // Neither root nor eBPF.
        What::Fleet(args) => return fleet::run(args),
        What::Scorer(args) => return scorer::run(args),
        _ => {}
    }
    setup::ensure(&[Part::Bpf])?;
    build_ebpf::build()?;
    match &args.what {
        What::Capture { json, hash, rounds } => micro("capture", json.as_deref(), *hash, *rounds),
        What::Hooks { json, rounds } => micro("hooks", json.as_deref(), false, *rounds),
        What::Overhead(args) => overhead::run(args),
        What::Fleet(args) => fleet::run(args),
        What::Scorer(args) => scorer::run(args),
        What::Memory { json, containers } => memory(json.as_deref(), *containers),
    }
}

/// One of the agent's own benches.
fn micro(bench: &str, json: Option<&Path>, hash: bool, rounds: Option<u32>) -> Result<()> {
    let mut cargo = shell::cargo();
    cargo.args(["bench", "--locked", "--package", "surprisal-agent", "--bench", bench, "--"]);
    if let Some(file) = json {
        // The bench runs in its package's directory.
        cargo.arg("--json").arg(std::path::absolute(file)?);
    }
    if hash {
        cargo.arg("--hash");
    }
    if let Some(rounds) = rounds {
        cargo.arg("--rounds").arg(rounds.to_string());
    }
    // The classic tracepoint is attached through it.
    let _tracefs = tracefs::mounted()?;
    shell::run(&mut cargo)
}

fn memory(json: Option<&Path>, count: u32) -> Result<()> {
    setup::ensure(&[Part::Containers])?;
    shell::run(shell::cargo().args(["build", "--release", "--locked", "--package", "surprisal-agent"]))?;
    let containerd = Containerd::start()?;
    let busybox = images::busybox()?;
    containerd.import(&busybox)?;
    // A thousand calls a second of each, so that each has buffers and records.
    let command = ["workload", "steady", "100", "100"];
    println!("starting {count} containers");
    for n in 0..count {
        containerd.run(&Run::new(&format!("c{n}"), &busybox, &command))?;
    }
    let select = format!("namespace={}", containerd.namespace());
    let file = containerd.scratch().path().join("calls.jsonl");
    let mut command = std::process::Command::new(workspace::target().join("release/surprisal-agent"));
    command.args(["run", "--select", &select, "--jsonl"]).arg(&file);
    let mut agent = Daemon::start(containerd.scratch(), "agent", &mut command)?;
    thread::sleep(SETTLE);
    ensure!(agent.is_running(), "the agent has ended; its log:\n{}", agent.log());
    let followed = fs::read_to_string(&file)?.matches("\"type\":\"container\"").count();
    ensure!(followed >= count as usize, "the agent follows {followed} of {count} containers");
    let bytes = agent.resident_bytes();
    let anonymous = agent.anonymous_bytes();
    println!(
        "agent with {count} containers: {:.1} MB resident, {:.1} MB of it anonymous",
        bytes as f64 / 1e6,
        anonymous as f64 / 1e6
    );
    if let Some(path) = json {
        let figures =
            serde_json::json!({ "containers": count, "agent_resident_bytes": bytes, "agent_anonymous_bytes": anonymous });
        fs::write(path, format!("{figures:#}\n")).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
