//! What else watches system calls on a Debian machine, pointed at one server.
//!
//! In: a server. Out: a peer at work on it, until it is dropped, and a sign that it saw something. Never: a peer that
//! cannot work here is left out in silence.

use super::{audit::Auditing, workloads::Server};
use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use std::{fs, path::PathBuf, process::Command, time::Duration};
use surprisal_e2e::{Daemon, Scratch};

/// Until a peer is at work, and until it has ended.
const PATIENCE: Duration = Duration::from_secs(20);

/// A peer, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Peer {
    /// The kernel's audit, with a rule for every call of the container
    Auditd,
    /// `strace -f -c`
    Strace,
    /// `bpftrace`, counting the container's calls by number
    Bpftrace,
    /// `perf trace -s`
    PerfTrace,
}

impl Peer {
    pub(super) const ALL: [Self; 4] = [Self::Auditd, Self::Strace, Self::Bpftrace, Self::PerfTrace];

    /// As in the JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Auditd => "auditd",
            Self::Strace => "strace",
            Self::Bpftrace => "bpftrace",
            Self::PerfTrace => "perf_trace",
        }
    }
}

/// A peer at work.
pub(super) enum Watching<'a> {
    Audit(Auditing<'a>),
    Tracer(Tracer),
}

/// A program that writes what it saw when it is interrupted.
pub(super) struct Tracer {
    peer: Peer,
    daemon: Daemon,
    report: PathBuf,
}

impl Tracer {
    /// Points `peer` at `server`, and waits until it has begun.
    pub(super) fn start(peer: Peer, server: &Server, scratch: &Scratch) -> Result<Self> {
        let report = scratch.path().join(format!("{}.txt", peer.name()));
        if report.exists() {
            fs::remove_file(&report)?;
        }
        let pids: Vec<_> = server.pids()?.iter().map(u32::to_string).collect();
        let mut command = match peer {
            Peer::Strace => {
                let mut strace = Command::new("strace");
                strace.args(["-f", "-c", "-o"]).arg(&report);
                strace.args(pids.iter().flat_map(|pid| ["-p", pid]));
                strace
            }
            Peer::Bpftrace => {
                let mut bpftrace = Command::new("bpftrace");
                let program = format!(
                    "BEGIN {{ printf(\"counting\\n\"); }}
                     tracepoint:raw_syscalls:sys_enter /cgroup == {}/ {{ @[args->id] = count(); }}",
                    server.cgroup_id()?
                );
                bpftrace.args(["-B", "none", "-e", &program]);
                bpftrace
            }
            Peer::PerfTrace => {
                let mut perf = Command::new("perf");
                perf.args(["trace", "-s", "-o"]).arg(&report).args(["-p", &pids.join(",")]);
                perf
            }
            Peer::Auditd => anyhow::bail!("auditd is no tracer"),
        };
        let mut daemon = Daemon::start(scratch, peer.name(), &mut command)?;
        match peer {
            Peer::Strace => daemon.wait_until("that it is attached", PATIENCE, |log| log.contains("attached"))?,
            Peer::Bpftrace => daemon.wait_until("that it counts", PATIENCE, |log| log.contains("counting"))?,
            // It says nothing: its events are there as soon as it has opened them.
            _ => daemon.wait_until("its events", PATIENCE, |_| report.exists())?,
        }
        Ok(Self { peer, daemon, report })
    }

    /// Ends it, and says for people what it saw.
    fn finish(mut self) -> Result<String> {
        self.daemon.signal(Signal::INT)?;
        self.daemon.wait(PATIENCE)?;
        // bpftrace would buffer a file of its own until its end.
        let file = if self.peer == Peer::Bpftrace { self.daemon.log_path() } else { &self.report };
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let calls = calls(self.peer, &text);
        let said = || format!("{} saw nothing; it wrote {text:?} and said {:?}", self.peer.name(), self.daemon.log());
        ensure!(calls > 0, "{}", said());
        Ok(format!("{:.2} million calls", calls as f64 / 1e6))
    }
}

impl Watching<'_> {
    /// Ends it, and says for people what it saw.
    pub(super) fn finish(self) -> Result<String> {
        match self {
            Self::Audit(auditing) => auditing.seen(),
            Self::Tracer(tracer) => tracer.finish(),
        }
    }
}

/// Calls in a tracer's report.
fn calls(peer: Peer, text: &str) -> u64 {
    let number = |word: Option<&str>| word.and_then(|w| w.parse::<u64>().ok());
    match peer {
        // `100.00    1.234567           3    456789      1234 total`
        Peer::Strace => {
            let total = text.lines().find(|l| l.ends_with(" total"));
            total.and_then(|l| number(l.split_whitespace().nth(3))).unwrap_or(0)
        }
        // `@[232]: 55120`
        Peer::Bpftrace => {
            text.lines().filter(|l| l.starts_with("@[")).filter_map(|l| number(l.rsplit_once(": ").map(|(_, n)| n))).sum()
        }
        // ` redis-server (123), 240000 events, 99.9%`: an event for the entry and one for the exit of each call.
        Peer::PerfTrace => {
            let events = |l: &str| number(l.split_once(" events,")?.0.rsplit_once(' ').map(|(_, n)| n));
            text.lines().filter_map(events).sum::<u64>() / 2
        }
        Peer::Auditd => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{Peer, calls};

    #[test]
    fn reports_of_tracers() {
        let strace = "% time     seconds  usecs/call     calls    errors syscall\n------ ----\n 60.00    0.1 1 10 read\n\
                      ------ ----------- ----------- --------- --------- ----------------\n\
                      100.00    0.291823           2    141212        35 total\n";
        let bpftrace = "counting\n\n\n@[20]: 20\n@[0]: 51000\n@[232]: 900\n";
        let perf = "\n Summary of events:\n\n redis-server (2211), 240002 events, 99.9%\n\n   syscall calls errors\n\n io (3), 8 events, 0.1%\n";
        for (peer, text, expect) in [
            (Peer::Strace, strace, 141_212),
            (Peer::Bpftrace, bpftrace, 51_920),
            (Peer::PerfTrace, perf, 120_005),
            (Peer::Strace, "", 0),
        ] {
            assert_eq!(calls(peer, text), expect, "{peer:?}");
        }
    }
}
