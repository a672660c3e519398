//! The promises that are looked at on each kernel, for each way of capturing.
//!
//! In: the agent's `--capture`. Out: why a promise did not hold. Never: a tolerance: every count is known to the call.

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};
use surprisal_e2e::{
    Daemon, Recording, Scratch,
    program::{EXACT, GETPPID},
    vm::initramfs::SHIM,
};
use surprisal_proto::{recording::Name, token::Token};

/// Software emulation is slow.
const SOON: Duration = Duration::from_mins(2);
const EXECVE: u16 = 59;
/// `getppid` calls of the program `countdown`.
const COUNTDOWN: u64 = 200_000;

/// A promise and how to look at it.
type Promise = (&'static str, fn(&str) -> Result<()>);

/// All of them.
pub(crate) const ALL: [Promise; 4] =
    [("conservation", conservation), ("overload", overload), ("attribution", attribution), ("nested", nested)];

/// Looks at one of them, by its name.
pub(crate) fn one(name: &str, capture: &str) -> Result<()> {
    let (_, promise) = ALL.iter().find(|(known, _)| *known == name).with_context(|| format!("no promise {name}"))?;
    promise(capture)
}

/// Nothing is lost at a rate that the agent can follow; every call is delivered once.
fn conservation(capture: &str) -> Result<()> {
    let tape = Tape::start(&["--capture", capture])?;
    Container::start("countdown", "-", &["countdown"])?.end()?;
    Container::start("calls", "-", &["workload", "calls", "2500", "4", "2"])?.end()?;
    let recording = tape.stop()?;
    let lost = conserved(&recording, "countdown", Some(COUNTDOWN + 2))?;
    ensure!(lost == 0, "countdown: {lost} calls lost");
    ensure!(recording.count("countdown", GETPPID) == COUNTDOWN, "{} of {COUNTDOWN}", recording.count("countdown", GETPPID));
    ensure!(conserved(&recording, "calls", None)? == 0, "calls: {:?}", recording.accounts.get("calls"));
    let count = recording.count("calls", GETPPID);
    ensure!(count == 20_000, "{count} of 20000 calls, in 4 processes of 2 threads each");
    // 4 processes of 2 threads and the one that waits for them, and the first one.
    let threads = recording.threads("calls")?.len();
    ensure!(threads == 13, "{threads} of 13 threads");
    Ok(())
}

/// A ring buffer of one page and a reader that stands still: what is issued is delivered or counted lost, to the call.
fn overload(capture: &str) -> Result<()> {
    let mut tape = Tape::start(&["--capture", capture, "--ring-bytes", "4096"])?;
    tape.agent.signal(Signal::STOP)?;
    let container = Container::start("flood", "-", &["countdown"])?;
    let (container, status) = container.wait()?;
    tape.agent.signal(Signal::CONT)?;
    ensure!(status == "ended 0", "countdown {status}");
    let recording = tape.stop()?;
    container.end()?;
    let lost = conserved(&recording, "flood", Some(COUNTDOWN + 2))?;
    ensure!(lost > 0, "a ring of one page was to lose something");
    Ok(())
}

/// Whose calls they are: two containers, one with children that leave their parents, one that a process enters later, and
/// the same calls by a process of the host.
fn attribution(capture: &str) -> Result<()> {
    let tape = Tape::start(&["--capture", capture])?;
    let quiet = Container::start("quiet", "exact", &["workload", "sleep"])?;
    let noisy = Container::start("noisy", "-", &["workload", "orphans", "8", "500"])?;
    for _ in 0..1000 {
        std::hint::black_box(std::os::unix::process::parent_id());
    }
    noisy.end()?;
    quiet.end()?;
    let recording = tape.stop()?;
    let names: Vec<_> = recording.containers.keys().map(String::as_str).collect();
    ensure!(names == ["noisy", "quiet"], "containers {names:?}");
    let noisy = recording.count("noisy", GETPPID);
    ensure!(noisy == 8 * 500, "noisy: {noisy} calls of 4000");
    let quiet = recording.count("quiet", GETPPID);
    ensure!(quiet == 5 + 1, "quiet: {quiet} calls of 5 and 1");
    let entered = recording.threads("quiet")?;
    let exact = entered.values().find(|t| t.process == "exact").context("the process that entered is not there")?;
    ensure!(exact.calls.get(1..) == Some(&EXACT[..]), "it made {:?}", exact.calls);
    // What runs is read from the kernel's memory, on each kernel in its own place.
    for (id, program) in [("noisy", "workload"), ("quiet", "workload"), ("quiet", "exact")] {
        let ran = |name: &&Name| name.container == id && name.call == Token(EXECVE) && name.name.ends_with(program);
        ensure!(recording.names.iter().any(|name| ran(&name)), "{id}: no {program} in {:?}", recording.names);
    }
    for id in ["noisy", "quiet"] {
        ensure!(conserved(&recording, id, None)? == 0, "{id}: {:?}", recording.accounts.get(id));
    }
    Ok(())
}

/// Whose calls they are, where this node is itself a container: agent, containers and test in a pid namespace below the first.
fn nested(capture: &str) -> Result<()> {
    let this = env::current_exe().context("finding this program")?;
    let script = "mount -t proc proc /proc && exec \"$0\" --check attribution \"$1\"";
    let mut unshare = Command::new("/bin/unshare");
    unshare.args(["-m", "-p", "-f", "/bin/sh", "-c", script]).arg(this).arg(capture).stdin(Stdio::null());
    let out = unshare.output().context("starting unshare")?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout).trim());
    Ok(())
}

/// Recorded = delivered, issued = delivered + lost, and issued is what the program made; returns the lost.
fn conserved(recording: &Recording, id: &str, made: Option<u64>) -> Result<u64> {
    let account = recording.accounts.get(id).with_context(|| format!("no account of {id}"))?;
    ensure!(recording.delivered(id) == account.delivered, "{id}: {} calls recorded, {account:?}", recording.delivered(id));
    ensure!(account.issued == account.delivered + account.lost, "{id}: {account:?}");
    ensure!(account.threads_untracked == 0, "{id}: {account:?}");
    ensure!(made.is_none_or(|made| account.issued == made), "{id}: {made:?} calls were made, {account:?}");
    Ok(account.lost)
}

/// An agent that records.
struct Tape {
    agent: Daemon,
    path: PathBuf,
    // Last: ends the agent.
    _scratch: Scratch,
}

impl Tape {
    fn start(flags: &[&str]) -> Result<Self> {
        let scratch = Scratch::new()?;
        let path = scratch.path().join("recording.jsonl");
        let mut command = Command::new("/bin/surprisal-agent");
        command.args(["record", "--label", "normal", "--output"]).arg(&path).args(flags).env("NO_COLOR", "1");
        let mut agent = Daemon::start(&scratch, "agent", &mut command)?;
        agent.wait_for_log("capturing", SOON)?;
        Ok(Self { agent, path, _scratch: scratch })
    }

    fn stop(mut self) -> Result<Recording> {
        let status = self.agent.terminate(SOON)?;
        ensure!(status.success(), "the agent ended with {status}: {}", self.agent.log());
        Recording::read(&self.path)
    }
}

/// A container of the fake shim's.
struct Container {
    shim: Child,
    open: Option<ChildStdin>,
}

impl Container {
    fn start(id: &str, also: &str, command: &[&str]) -> Result<Self> {
        ensure!(fs::exists(SHIM)?, "no {SHIM}");
        let mut shim = Command::new(SHIM).args([id, also]).args(command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let open = shim.stdin.take();
        Ok(Self { shim, open })
    }

    /// Waits for the end of its first process; the shim stays.
    fn wait(mut self) -> Result<(Self, String)> {
        let mut line = String::new();
        if let Some(out) = self.shim.stdout.as_mut() {
            BufReader::new(out).read_line(&mut line)?;
        }
        Ok((self, line.trim().to_owned()))
    }

    /// Waits for its end, and lets the shim go.
    fn end(mut self) -> Result<()> {
        drop(self.open.take());
        let mut said = String::new();
        if let Some(mut out) = self.shim.stdout.take() {
            out.read_to_string(&mut said)?;
        }
        let status = self.shim.wait()?;
        ensure!(status.success() && !said.starts_with("failed"), "the shim ended with {status}: {said}");
        Ok(())
    }
}
