//! What may be attached while a server works: nothing, an empty program, the agent.
//!
//! In: the programs that were built. Out: [`Held`], which is over when it is dropped, and what the agent cost. Never: a peer;
//! see `peers`.

use anyhow::{Context as _, Result, ensure};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};
use surprisal_e2e::{Daemon, Scratch, scorer::free_address};

/// Until a program is attached.
const PATIENCE: Duration = Duration::from_secs(30);

/// A state, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Nothing,
    AttachOnly,
    Untracked,
    Tracked,
}

impl State {
    pub(super) const ALL: [Self; 4] = [Self::Nothing, Self::AttachOnly, Self::Untracked, Self::Tracked];

    /// As in the JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::AttachOnly => "attach_only",
            Self::Untracked => "untracked",
            Self::Tracked => "tracked",
        }
    }
}

/// The programs that were built.
pub(super) struct Programs {
    pub(super) agent: PathBuf,
    pub(super) attach: PathBuf,
    pub(super) sink: PathBuf,
}

/// A scorer that only acknowledges; it shares the load generators' processor, for a real one runs elsewhere.
pub(super) struct Sink {
    daemon: Daemon,
    address: SocketAddr,
}

impl Sink {
    pub(super) fn start(programs: &Programs, scratch: &Scratch) -> Result<Self> {
        let address = free_address()?;
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &super::workloads::processors().1.to_string()]).arg(&programs.sink);
        let mut daemon = Daemon::start(scratch, "sink", command.arg(address.to_string()))?;
        daemon.wait_for_log("listening", PATIENCE)?;
        Ok(Self { daemon, address })
    }

    pub(super) fn cpu(&self) -> Result<Duration> {
        cpu(self.daemon.pid())
    }
}

/// What is attached; dropping it detaches it.
pub(super) enum Held {
    Nothing,
    #[expect(dead_code, reason = "held, so that it goes on")]
    Attached(Daemon),
    Agent(Agent),
}

impl Held {
    /// Attaches what `state` says; the agent follows containers of `namespace`, or of none.
    pub(super) fn start(state: State, programs: &Programs, sink: &Sink, scratch: &Scratch, namespace: &str) -> Result<Self> {
        Ok(match state {
            State::Nothing => Self::Nothing,
            State::AttachOnly => {
                let mut daemon = Daemon::start(scratch, "attach", &mut Command::new(&programs.attach))?;
                daemon.wait_for_log("attached", PATIENCE)?;
                Self::Attached(daemon)
            }
            State::Untracked => Self::Agent(Agent::start(programs, sink, scratch, "somewhere-else")?),
            State::Tracked => Self::Agent(Agent::start(programs, sink, scratch, namespace)?),
        })
    }
}

/// The agent as it comes, with its uplink to the sink.
pub(super) struct Agent {
    daemon: Daemon,
    admin: SocketAddr,
}

/// Counts of an agent, so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct AgentReading {
    at: Instant,
    cpu: Duration,
    sink_cpu: Duration,
    calls: f64,
    lost: f64,
    dropped: f64,
}

/// What an agent cost and did in one stretch of time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AgentCost {
    /// Of one processor.
    pub(super) cpu_percent: f64,
    pub(super) sink_cpu_percent: f64,
    pub(super) rss_mb: f64,
    pub(super) calls_per_s: f64,
    /// Calls lost in the kernel, or dropped on the way to the sink.
    pub(super) lost_calls: f64,
}

impl Agent {
    fn start(programs: &Programs, sink: &Sink, scratch: &Scratch, namespace: &str) -> Result<Self> {
        let admin = free_address()?;
        let mut command = Command::new(&programs.agent);
        for name in ["SURPRISAL_SCORER", "NODE_NAME", "RUST_LOG"] {
            command.env_remove(name);
        }
        command.args(["run", "--select", &format!("namespace={namespace}"), "--admin", &admin.to_string()]);
        command.args(["--scorer", &format!("http://{}", sink.address)]).env("NO_COLOR", "1");
        let mut daemon = Daemon::start(scratch, "agent", &mut command)?;
        daemon.wait_for_log("capturing", PATIENCE)?;
        daemon.wait_for_log("connected to the scorer", PATIENCE)?;
        Ok(Self { daemon, admin })
    }

    pub(super) fn read(&self, sink: &Sink) -> Result<AgentReading> {
        let text = scrape(self.admin)?;
        let sum = |name: &str| sum(&text, name);
        Ok(AgentReading {
            at: Instant::now(),
            cpu: cpu(self.daemon.pid())?,
            sink_cpu: sink.cpu()?,
            calls: sum("surprisal_agent_uplink_in_calls_total"),
            lost: sum("surprisal_agent_capture_lost_calls_total"),
            dropped: sum("surprisal_agent_uplink_dropped_calls_total"),
        })
    }

    pub(super) fn cost(&self, from: &AgentReading, to: &AgentReading) -> AgentCost {
        let seconds = (to.at - from.at).as_secs_f64();
        let percent = |used: Duration| 100.0 * used.as_secs_f64() / seconds;
        AgentCost {
            cpu_percent: percent(to.cpu.saturating_sub(from.cpu)),
            sink_cpu_percent: percent(to.sink_cpu.saturating_sub(from.sink_cpu)),
            rss_mb: self.daemon.resident_bytes() as f64 / 1e6,
            calls_per_s: (to.calls - from.calls) / seconds,
            lost_calls: to.lost - from.lost + to.dropped - from.dropped,
        }
    }
}

/// CPU time of all threads that a process has now.
pub(super) fn cpu(pid: u32) -> Result<Duration> {
    let mut total = 0;
    let path = format!("/proc/{pid}/task");
    for thread in fs::read_dir(&path).with_context(|| format!("reading {path}"))? {
        // A thread may end between.
        let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        total += text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(total))
}

/// A daemon's figures.
pub(crate) fn scrape(admin: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE).with_context(|| format!("connecting to {admin}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).with_context(|| format!("reading the figures of {admin}"))?;
    ensure!(text.starts_with("HTTP/1.1 200"), "{admin} answered {:?}", text.lines().next().unwrap_or_default());
    Ok(text)
}

/// Of a metric, over all its labels.
pub(crate) fn sum(text: &str, name: &str) -> f64 {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let number = if rest.starts_with('{') { rest.rsplit_once('}')?.1 } else { rest };
        number.strip_prefix(' ')?.trim().parse::<f64>().ok()
    };
    text.lines().filter_map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn metrics_are_summed_over_their_labels() {
        let text = "# TYPE a counter\na_total{reason=\"x\"} 3\na_total{reason=\"y z\"} 4\nab_total 9\nb 7\n# EOF\n";
        for (name, expect) in [("a_total", 7.0), ("ab_total", 9.0), ("b", 7.0), ("c", 0.0)] {
            assert!((sum(text, name) - expect).abs() < 1e-9, "{name}");
        }
    }
}
