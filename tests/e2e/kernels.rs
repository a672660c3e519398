//! Older kernels' ways of capturing, forced on this one: every promise that is looked at on them (`cargo xtask vm`) holds here,
//! with a real runtime.
//!
//! `hash`: no task storage (before 5.12). `raw`: no BTF tracepoints either.

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use std::{path::PathBuf, time::Duration};
use surprisal_e2e::{
    Containerd, Daemon, Recording, Run, agent,
    images::{self, Archive},
    program::{EXACT, GETPPID},
    wait_for,
};

const SOON: Duration = Duration::from_secs(30);
/// `getppid` calls of the program `countdown`; its execve and its end make two more.
const COUNTDOWN: u64 = 200_000;

/// An agent that records.
struct Tape {
    containerd: Containerd,
    busybox: Archive,
    agent: Daemon,
    path: PathBuf,
}

impl Tape {
    fn start(flags: &[&str]) -> Result<Self> {
        let containerd = Containerd::start()?;
        let busybox = images::busybox()?;
        containerd.import(&busybox)?;
        let path = containerd.scratch().path().join("recording.jsonl");
        let select = format!("namespace={}", containerd.namespace());
        let mut args = vec!["record", "--label", "normal", "--select", &select, "--output", path.to_str().context("UTF-8")?];
        args.extend(flags);
        let mut agent = agent::start(containerd.scratch(), &args)?;
        agent.wait_for_log("capturing", SOON)?;
        Ok(Self { containerd, busybox, agent, path })
    }

    fn stop(mut self) -> Result<Recording> {
        let status = self.agent.terminate(SOON)?;
        ensure!(status.success(), "the agent ended with {status}: {}", self.agent.log());
        Recording::read(&self.path)
    }
}

/// Recorded = delivered and issued = delivered + lost = what the program made, to the call; returns the lost.
fn conserved(recording: &Recording, id: &str, made: Option<u64>) -> Result<u64> {
    let account = recording.accounts.get(id).with_context(|| format!("no account of {id}"))?;
    ensure!(recording.delivered(id) == account.delivered, "{id}: {} calls recorded, {account:?}", recording.delivered(id));
    ensure!(account.issued == account.delivered + account.lost, "{id}: {account:?}");
    ensure!(made.is_none_or(|made| account.issued == made), "{id}: {made:?} calls were made, {account:?}");
    ensure!(account.threads_untracked == 0, "{id}: {account:?}");
    Ok(account.lost)
}

/// Nothing is lost at a rate that the agent can follow.
fn conservation(capture: &str) -> Result<()> {
    let tape = Tape::start(&["--capture", capture])?;
    tape.containerd.run_to_end(&Run::new("countdown", &tape.busybox, &["countdown"]))?;
    tape.containerd.run_to_end(&Run::new("calls", &tape.busybox, &["workload", "calls", "25000", "4", "2"]))?;
    let recording = tape.stop()?;
    ensure!(conserved(&recording, "countdown", Some(COUNTDOWN + 2))? == 0, "{:?}", recording.accounts);
    ensure!(recording.count("countdown", GETPPID) == COUNTDOWN, "{}", recording.count("countdown", GETPPID));
    ensure!(conserved(&recording, "calls", None)? == 0, "{:?}", recording.accounts);
    ensure!(recording.count("calls", GETPPID) == 200_000, "{}", recording.count("calls", GETPPID));
    ensure!(recording.threads("calls")?.len() == 1 + 4 * 3, "{} threads", recording.threads("calls")?.len());
    Ok(())
}

/// A reader that stands still before a ring of one page: what is issued is delivered or counted lost.
fn overload(capture: &str) -> Result<()> {
    let mut tape = Tape::start(&["--capture", capture, "--ring-bytes", "4096"])?;
    tape.agent.signal(Signal::STOP)?;
    let flood = tape.containerd.run(&Run::new("flood", &tape.busybox, &["countdown"]))?;
    flood.wait(SOON);
    // Its end could not be told either. The kernel gives the number of its mount namespace to the next one.
    for n in 0..3 {
        tape.containerd.run_to_end(&Run::new(&format!("next-{n}"), &tape.busybox, &["workload", "calls", "1000", "1", "1"]))?;
    }
    tape.agent.signal(Signal::CONT)?;
    wait_for("the account of what was lost", SOON, || {
        Recording::read_so_far(&tape.path).ok()?.accounts.contains_key("flood").then_some(())
    });
    let recording = tape.stop()?;
    // Until here its shim has stayed, and the bundle that names it.
    drop(flood);
    let lost = conserved(&recording, "flood", Some(COUNTDOWN + 2))?;
    ensure!(lost > 0, "a ring of one page was to lose something");
    Ok(())
}

/// Whose calls they are.
fn attribution(capture: &str) -> Result<()> {
    let tape = Tape::start(&["--capture", capture])?;
    let quiet = tape.containerd.run(&Run::new("quiet", &tape.busybox, &["workload", "sleep"]))?;
    let noisy = tape.containerd.run(&Run::new("noisy", &tape.busybox, &["workload", "orphans", "8", "5000"]))?;
    ensure!(quiet.exec(&["exact"])?.status.success(), "exact inside the container");
    for _ in 0..1000 {
        std::hint::black_box(std::os::unix::process::parent_id());
    }
    noisy.wait(SOON);
    let recording = tape.stop()?;
    let names: Vec<_> = recording.containers.keys().map(String::as_str).collect();
    ensure!(names == ["noisy", "quiet"], "{names:?}");
    ensure!(recording.count("noisy", GETPPID) == 8 * 5000, "{}", recording.count("noisy", GETPPID));
    ensure!(recording.count("quiet", GETPPID) == 5 + 1, "{}", recording.count("quiet", GETPPID));
    let threads = recording.threads("quiet")?;
    let exact = threads.values().find(|t| t.process == "exact").context("the process that entered")?;
    ensure!(exact.calls.get(1..) == Some(&EXACT[..]), "it made {:?}", exact.calls);
    ensure!(conserved(&recording, "noisy", None)? == 0, "{:?}", recording.accounts);
    drop((quiet, noisy));
    Ok(())
}

#[test]
fn conservation_without_btf_tracepoints() -> Result<()> {
    conservation("raw")
}

#[test]
fn overload_without_task_storage() -> Result<()> {
    overload("hash")
}

#[test]
fn overload_without_btf_tracepoints() -> Result<()> {
    overload("raw")
}

/// And as this kernel captures by itself.
#[test]
fn overload_to_the_call() -> Result<()> {
    overload("auto")
}

#[test]
fn attribution_without_task_storage() -> Result<()> {
    attribution("hash")
}

#[test]
fn attribution_without_btf_tracepoints() -> Result<()> {
    attribution("raw")
}
