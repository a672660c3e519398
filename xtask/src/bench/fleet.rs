//! `xtask bench fleet`: what one scorer does for many nodes, on this machine.
//!
//! In: a recording (the demo's, unless told otherwise). Out: a table on stdout and, with `--json`, all figures in a file. Never: an
//! opinion; where the scorer saturates the figures say what was shed, and of whom.
//!
//! The scorer is the released one, with a profile trained on the recording; `fleet` (tests/src/fleet.rs) plays the agents, all on
//! loopback. It shares the machine with the scorer, so what it uses of the processors is said too.

use crate::{
    interrupt::Interrupt,
    setup::{self, Part},
    shell, workspace,
};
use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs::{self, File},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use surprisal_e2e::{Daemon, Scratch, scorer::free_address};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write all figures there too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Nodes
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=2000))]
    agents: u32,
    /// Containers on each
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=500))]
    containers: u32,
    /// Length of each step
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u32).range(4..=600))]
    seconds: u32,
    /// Calls a second of a container at 1x, on average; one in 30 makes ten times the calls of each other one
    #[arg(long, value_name = "N", default_value_t = 20.0)]
    rate: f64,
    /// Multiples of the rate, one after the other
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 2, 4], value_parser = clap::value_parser!(u32).range(1..=64))]
    steps: Vec<u32>,
    /// How often an agent sends what there is; agents do so every 200 ms
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=4000))]
    flush: u32,
    /// Recording that is learned and replayed, .jsonl or .jsonl.zst [default: the demo's redis server]
    #[arg(long, value_name = "FILE")]
    recording: Option<PathBuf>,
}

/// Starting, training and connecting, at most.
const SOON: Duration = Duration::from_mins(2);
/// What a step may take besides its own time, at most.
const SLACK: Duration = Duration::from_mins(2);

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(args.rate > 0.0 && args.rate <= 1e6, "--rate {}: more than 0 and at most 1000000", args.rate);
    let interrupt = Interrupt::catch()?;
    setup::ensure(&[Part::Libtorch])?;
    let release = |package: &str| {
        let mut cargo = shell::cargo();
        cargo.args(["build", "--release", "--locked", "--package", package]);
        cargo
    };
    shell::run(&mut release("surprisal-scorer"))?;
    // Trains, beside it.
    shell::run(&mut release("surprisal-learn"))?;
    shell::run(release("surprisal-e2e").args(["--bin", "fleet"]))?;
    interrupt.check()?;
    raise_descriptors(u64::from(args.agents) + 200)?;

    let scratch = Scratch::new()?;
    let dir = scratch.path();
    let (recording, profiles, figures) = (dir.join("normal.jsonl"), dir.join("profiles"), dir.join("figures.json"));
    unpack(args.recording.as_deref(), &recording)?;
    fs::create_dir_all(&profiles)?;
    let scorer = || {
        let mut command = Command::new(workspace::target().join("release/surprisal-scorer"));
        command.env_remove("SURPRISAL_CONFIG").env("OMP_WAIT_POLICY", "PASSIVE").env("NO_COLOR", "1");
        command
    };
    shell::run(scorer().arg("train").arg("--profiles").arg(&profiles).arg(&recording))?;
    interrupt.check()?;

    let (listen, admin) = (free_address()?, free_address()?);
    let mut serve = scorer();
    serve.args(["serve", "--listen", &listen.to_string(), "--admin", &admin.to_string(), "--profiles"]).arg(&profiles);
    let mut server = Daemon::start(&scratch, "scorer", &mut serve)?;
    server
        .wait_until("it takes connections", SOON, |_| TcpStream::connect(listen).is_ok() && TcpStream::connect(admin).is_ok())?;

    let mut fleet = Command::new(workspace::target().join("release/fleet"));
    fleet.arg(&figures).arg(&recording).arg(format!("http://{listen}"));
    fleet.args([admin.to_string(), server.pid().to_string(), args.agents.to_string(), args.containers.to_string()]);
    fleet.args([args.rate.to_string(), args.seconds.to_string(), args.flush.to_string()]);
    fleet.args(args.steps.iter().map(u32::to_string));
    let mut fleet = Daemon::start(&scratch, "fleet", &mut fleet)?;
    let limit = SOON + (Duration::from_secs(args.seconds.into()) + SLACK) * args.steps.len() as u32;
    follow(&mut fleet, limit, &interrupt)?;
    ensure!(server.is_running(), "the scorer has ended; its log:\n{}", server.log());

    let text = fs::read_to_string(&figures).with_context(|| format!("the fleet's figures; its log:\n{}", fleet.log()))?;
    let report: Value = serde_json::from_str(&text)?;
    println!("{}", table(&report));
    if let Some(path) = &args.json {
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Each agent is a descriptor here and one in the scorer.
fn raise_descriptors(wanted: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|n| n >= wanted) {
        return Ok(());
    }
    ensure!(
        limit.maximum.is_none_or(|n| n >= wanted),
        "{wanted} open files are needed, the limit is {:?}: see ulimit -Hn",
        limit.maximum
    );
    let raised = Rlimit { current: Some(limit.maximum.unwrap_or(wanted).min(1 << 20).max(wanted)), ..limit };
    setrlimit(Resource::Nofile, raised).context("raising the limit of open files")
}

fn unpack(from: Option<&Path>, to: &Path) -> Result<()> {
    let from = from.map_or_else(|| workspace::root().join("tests/fixtures/demo/normal.jsonl.zst"), Path::to_owned);
    let input = File::open(&from).with_context(|| format!("opening {}", from.display()))?;
    if from.extension() == Some(OsStr::new("zst")) {
        zstd::stream::copy_decode(input, File::create(to)?).with_context(|| format!("unpacking {}", from.display()))
    } else {
        fs::copy(&from, to).map(drop).with_context(|| format!("copying {}", from.display()))
    }
}

/// Shows what it says, until it has ended.
fn follow(daemon: &mut Daemon, limit: Duration, interrupt: &Interrupt) -> Result<()> {
    let begin = std::time::Instant::now();
    let mut shown = 0;
    loop {
        let running = daemon.is_running();
        let log = daemon.log();
        print!("{}", log.get(shown..).unwrap_or_default());
        shown = log.len();
        if !running {
            let status = daemon.wait(SOON)?;
            ensure!(status.success(), "the fleet ended with {status}");
            return Ok(());
        }
        ensure!(begin.elapsed() < limit, "the fleet did not end within {} s", limit.as_secs());
        interrupt.check()?;
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn table(report: &Value) -> String {
    let number =
        |v: &Value| v.as_f64().map_or_else(|| "-".to_owned(), |n| if n < 100.0 { format!("{n:.1}") } else { format!("{n:.0}") });
    let share = |v: &Value| v.as_f64().map_or_else(|| "-".to_owned(), |n| format!("{:.1} %", n * 100.0));
    let mut text = format!(
        "\n{} recorded calls of {}; 1x: {} calls/s of a container on average; steps of {} s; {} cores, of which the agents use a part.\n\
         Resident before: {} MB; with all connected and announced: {} MB; at the end {} KB for each container, connections included.\n\n\
         | load | calls/s | windows/s | p50 ms | p99 ms | judged | of busy | of others | containers shed | lost | RSS MB | scorer CPU s | agents' CPU s | of s | bytes/call |\n\
         |--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        report["recorded_calls"],
        report["workload"].as_str().unwrap_or_default(),
        report["calls_per_s_of_a_container_at_1x"],
        report["seconds"],
        report["cores"],
        report["rss_before_mb"],
        report["rss_connected_mb"],
        number(&(report["bytes_per_container"].as_f64().unwrap_or(0.0) / 1000.0).into()),
    );
    for step in report["steps"].as_array().into_iter().flatten() {
        let mut cells = vec![format!("{}x", step["step"])];
        cells.extend(["calls_per_s", "windows_per_s", "p50_ms", "p99_ms"].map(|key| number(&step[key])));
        cells.extend(["judged_ratio", "judged_busy", "judged_quiet"].map(|key| share(&step[key])));
        cells.extend(["containers_shed", "lost"].map(|key| step[key].to_string()));
        cells.extend(["rss_mb", "scorer_cpu_s", "simulator_cpu_s", "elapsed_s"].map(|key| number(&step[key])));
        cells.push(step["bytes_per_call"].to_string());
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_a_row() {
        let step = serde_json::json!({"step": 2, "calls_per_s": 1_200_000.0, "p50_ms": 55.25, "p99_ms": null, "judged_ratio": 0.4292, "lost": 0});
        let text = table(&serde_json::json!({"steps": [step], "workload": "a/b/c", "bytes_per_container": 17_554}));
        let row = text.lines().last().expect("a row");
        assert!(row.starts_with("| 2x | 1200000 | - | 55.2 | - | 42.9 % | - | - | null | 0 |"), "{row}");
        assert!(text.contains("17.6 KB"), "{text}");
    }
}
