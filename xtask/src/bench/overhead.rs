//! `xtask bench overhead`: what the agent costs servers in containers, beside what else watches system calls.
//!
//! In: how long. Out: a table for each server, a bar chart, JSON. Never: passes or fails; leaves anything switched on.
//!
//! All states take turns in one run, each against the empty program in the same round, the order reversed every other
//! round. The server has one processor, the load generator another; the agent runs where the kernel puts it, as it
//! comes, with its uplink to a scorer that only acknowledges. Peers, whose cost is plain, take part in fewer rounds.

mod audit;
mod chart;
mod peers;
pub(crate) mod states;
mod table;
mod workloads;

use crate::{
    interrupt::Interrupt,
    setup::{self, Part},
    shell::{self, Exit, NO_RIGHTS},
    undo::Undo,
    workspace,
};
use anyhow::{Context as _, Result, bail, ensure};
use audit::Audit;
use peers::{Peer, Tracer, Watching};
use serde_json::{Value, json};
use states::{Held, Programs, Sink, State};
use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};
use surprisal_e2e::Containerd;
use table::{Figures, GOAL, Slice};
use workloads::{Server, Workload};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the figures there too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the ratios there, as SVG
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Rounds of which the medians are taken
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds of each state in a round
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Only this server; may be given several times
    #[arg(long, value_name = "NAME", value_enum)]
    workload: Vec<Workload>,
    /// Peers, separated by commas, or "none" [default: all]
    #[arg(long, value_name = "LIST")]
    peers: Option<String>,
    /// Take the programs that are built already
    #[arg(long)]
    no_build: bool,
}

/// A peer takes part in so many rounds at most.
const PEER_ROUNDS: u32 = 3;
/// Between attaching or detaching something and the measurement.
const SETTLE: Duration = Duration::from_millis(500);
/// Exit code: bad command line.
const USAGE: u8 = 2;

pub(super) fn run(args: &Args) -> Result<()> {
    let peers = choose(args.peers.as_deref()).map_err(|why| Exit::new(USAGE, why))?;
    if !rustix::process::geteuid().is_root() {
        return Err(Exit::new(NO_RIGHTS, "containers and eBPF need root, and this is not root").into());
    }
    let interrupt = Interrupt::catch()?;
    setup::ensure(&[Part::Containers, Part::Bench])?;
    let programs = build(args.no_build)?;
    let begin = Instant::now();
    let workloads = if args.workload.is_empty() { Workload::ALL.to_vec() } else { args.workload.clone() };
    let figures = Bench::start(args, &programs, &interrupt, &workloads, &peers)?.measure()?;
    let states = State::ALL.map(State::name);
    let peer_names: Vec<_> = peers.iter().map(|p| p.name()).collect();
    let titles = titles(&peers);
    for f in &figures {
        println!("\n{}", f.markdown(&titles));
    }
    for f in &figures {
        let row = |state: State| f.row(state.name()).with_context(|| format!("{} was not measured", state.name()));
        let (tracked, base) = (row(State::Tracked)?, row(State::AttachOnly)?);
        let met = if tracked.ratio >= GOAL { "met" } else { "missed" };
        println!(
            "{}: {:.3} of attach-only with the agent tracking, the goal of {GOAL} is {met}; the server's CPU time a request: x {:.3}",
            f.workload.name(),
            tracked.ratio,
            tracked.server_us / base.server_us
        );
    }
    println!("{:.0} s in all", begin.elapsed().as_secs_f64());
    if let Some(path) = &args.json {
        let value = json!({
            "workloads": figures.iter().map(|f| f.json(&states, &peer_names)).collect::<Vec<Value>>(),
            "goal": GOAL, "rounds": args.rounds, "seconds": args.seconds, "processors": std::thread::available_parallelism()?.get(),
            "load_average": load_average(), "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        });
        fs::write(path, format!("{value:#}\n")).with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &args.chart {
        fs::write(path, chart::draw(&bars(&figures, &titles))?).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// The peers of `--peers`.
fn choose(list: Option<&str>) -> Result<Vec<Peer>, String> {
    match list {
        None => Ok(Peer::ALL.to_vec()),
        Some("none") => Ok(Vec::new()),
        Some(list) => list
            .split(',')
            .map(|name| {
                let found = Peer::ALL.into_iter().find(|p| p.name() == name.trim().replace('-', "_"));
                found.ok_or_else(|| format!("there is no peer {name:?}; there are auditd, strace, bpftrace and perf_trace"))
            })
            .collect(),
    }
}

/// (name in the JSON, in the table) of all lines.
fn titles(peers: &[Peer]) -> Vec<(&'static str, &'static str)> {
    let states = [
        (State::Nothing.name(), "nothing attached"),
        (State::AttachOnly.name(), "an empty program attached"),
        (State::Untracked.name(), "agent, not tracking it"),
        (State::Tracked.name(), "**agent, tracking it**"),
    ];
    let peers = peers.iter().map(|peer| {
        let title = match peer {
            Peer::Auditd => "auditd, a rule for every call",
            Peer::Strace => "strace -f -c",
            Peer::Bpftrace => "bpftrace, counting",
            Peer::PerfTrace => "perf trace -s",
        };
        (peer.name(), title)
    });
    states.into_iter().chain(peers).collect()
}

fn bars(figures: &[Figures], titles: &[(&'static str, &str)]) -> Vec<(String, Vec<chart::Bar>)> {
    let kind = |name: &str| match name {
        "nothing" | table::BASE => chart::Kind::Reference,
        "untracked" | "tracked" => chart::Kind::Agent,
        _ => chart::Kind::Peer,
    };
    let group = |f: &Figures| {
        let bar = |(name, title): &(&'static str, &str)| {
            Some(chart::Bar { name: title.replace('*', ""), ratio: f.row(name)?.ratio, kind: kind(name) })
        };
        (f.workload.name().to_owned(), titles.iter().filter_map(bar).collect())
    };
    figures.iter().map(group).collect()
}

/// The agent as it is shipped, and what the bench starts beside it.
fn build(no_build: bool) -> Result<Programs> {
    if !no_build {
        setup::ensure(&[Part::Bpf])?;
        crate::build_ebpf::build()?;
        // Apart from the benches: they want other features of what the agent stands on.
        let build = ["build", "--release", "--locked", "--package", "surprisal-agent"];
        shell::run(shell::cargo().args(build))?;
        shell::run(shell::cargo().args(build).args(["--example", "attach", "--example", "sink"]))?;
    }
    let release = workspace::target().join("release");
    let find = |name: &str| -> Result<PathBuf> {
        let path = release.join(name);
        ensure!(path.is_file(), "there is no {}; leave out --no-build", path.display());
        Ok(path)
    };
    Ok(Programs { agent: find("surprisal-agent")?, attach: find("examples/attach")?, sink: find("examples/sink")? })
}

fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0.0)
}

/// Everything that runs for the time of the measurement.
struct Bench<'a> {
    args: &'a Args,
    programs: &'a Programs,
    interrupt: &'a Interrupt,
    peers: &'a [Peer],
    sink: Sink,
    servers: Vec<Server>,
    /// Or why there is none.
    audit: Result<Audited, String>,
    // Gone again at the end.
    _tracefs: Undo,
    containerd: Containerd,
}

/// Twins of the servers, born to be audited.
struct Audited {
    servers: Vec<Server>,
    // They end before audit is given back.
    containerd: Containerd,
    audit: Audit,
}

impl<'a> Bench<'a> {
    fn start(
        args: &'a Args,
        programs: &'a Programs,
        interrupt: &'a Interrupt,
        workloads: &[Workload],
        peers: &'a [Peer],
    ) -> Result<Self> {
        println!("load average before: {:.2}; starting {} servers", load_average(), workloads.len());
        audit::unmount_leftovers()?;
        let containerd = Containerd::start()?;
        let sink = Sink::start(programs, containerd.scratch())?;
        let start = |containerd: &Containerd| -> Result<Vec<Server>> {
            workloads
                .iter()
                .map(|w| {
                    interrupt.check()?;
                    Server::start(containerd, *w, w.name())
                })
                .collect()
        };
        // Before audit is on for the first time: tasks that are older never pay for it.
        let servers = start(&containerd)?;
        let audited = || -> Result<Audited> {
            let audit = Audit::prepare(containerd.scratch())?;
            let (containerd, servers) = audit.as_login(|| {
                let containerd = Containerd::start()?;
                let servers = start(&containerd)?;
                Ok((containerd, servers))
            })?;
            Ok(Audited { servers, containerd, audit })
        };
        let wanted = peers.contains(&Peer::Auditd);
        let audit = if wanted { audited().map_err(|error| format!("{error:#}")) } else { Err("not wanted".to_owned()) };
        interrupt.check()?;
        let tracefs = super::tracefs::mounted()?;
        Ok(Self { args, programs, interrupt, peers, sink, servers, audit, _tracefs: tracefs, containerd })
    }

    fn measure(&self) -> Result<Vec<Figures>> {
        let mut figures: Vec<_> = self.servers.iter().map(|s| Figures::new(s.workload)).collect();
        let every = self.args.rounds.div_ceil(PEER_ROUNDS);
        for round in 0..self.args.rounds {
            for (at, figures) in figures.iter_mut().enumerate() {
                let server = &self.servers[at];
                println!("round {}/{}: {}", round + 1, self.args.rounds, server.workload.name());
                {
                    let _load = server.load(&self.containerd)?;
                    let mut order = State::ALL;
                    if round % 2 == 1 {
                        order.reverse();
                    }
                    for state in order {
                        let slice = self.slice(server, state, round)?;
                        figures.slices.entry(state.name()).or_default().push(slice);
                    }
                }
                if round % every == 0 {
                    for peer in self.peers {
                        self.peer(at, *peer, round, figures)?;
                    }
                }
            }
        }
        Ok(figures)
    }

    fn slice(&self, server: &Server, state: State, round: u32) -> Result<Slice> {
        let scratch = self.containerd.scratch();
        let held = Held::start(state, self.programs, &self.sink, scratch, self.containerd.namespace())?;
        self.interrupt.sleep(SETTLE)?;
        let agent = match &held {
            Held::Agent(agent) => Some((agent, agent.read(&self.sink)?)),
            _ => None,
        };
        let from = server.read()?;
        self.interrupt.sleep(Duration::from_secs(self.args.seconds))?;
        let to = server.read()?;
        let agent = match agent {
            Some((agent, before)) => Some(agent.cost(&before, &agent.read(&self.sink)?)),
            None => None,
        };
        if let Some(cost) = &agent {
            let (tracked, requests) = (state == State::Tracked, to.requests_since(&from));
            // A request takes a call at least.
            let followed = cost.calls_per_s * self.args.seconds as f64 > requests as f64 * 0.5;
            ensure!(
                followed == tracked,
                "the agent passed on {:.0} calls/s of {} {}",
                cost.calls_per_s,
                state.name(),
                server.workload.name()
            );
        }
        let (per_s, server_us) = to.since(&from);
        Ok(Slice { round, per_s, server_us, agent })
    }

    /// Measures `peer` at server number `at`, or notes why it cannot be.
    fn peer(&self, at: usize, peer: Peer, round: u32, figures: &mut Figures) -> Result<()> {
        if figures.not_run.contains_key(peer.name()) {
            return Ok(());
        }
        match self.peer_slice(at, peer, round) {
            Ok((slice, seen)) => {
                figures.slices.entry(peer.name()).or_default().push(slice);
                figures.seen.insert(peer.name(), seen);
            }
            Err(error) => {
                // Unless it was somebody at the keyboard.
                self.interrupt.check()?;
                println!("{}: {error:#}", peer.name());
                figures.not_run.insert(peer.name(), format!("{error:#}").lines().next().unwrap_or_default().to_owned());
            }
        }
        Ok(())
    }

    fn peer_slice(&self, at: usize, peer: Peer, round: u32) -> Result<(Slice, String)> {
        let (server, containerd) = match (peer, &self.audit) {
            (Peer::Auditd, Ok(audited)) => (&audited.servers[at], &audited.containerd),
            (Peer::Auditd, Err(why)) => bail!("{why}"),
            _ => (&self.servers[at], &self.containerd),
        };
        let _load = server.load(containerd)?;
        let watching = match (peer, &self.audit) {
            (Peer::Auditd, Ok(audited)) => Watching::Audit(audited.audit.on()?),
            _ => Watching::Tracer(Tracer::start(peer, server, self.containerd.scratch())?),
        };
        self.interrupt.sleep(SETTLE)?;
        let from = server.read()?;
        self.interrupt.sleep(Duration::from_secs(self.args.seconds))?;
        let to = server.read()?;
        let seen = watching.finish()?;
        let (per_s, server_us) = to.since(&from);
        Ok((Slice { round, per_s, server_us, agent: None }, seen))
    }
}

#[cfg(test)]
mod tests {
    use super::{Peer, choose};

    #[test]
    fn lists_of_peers() {
        assert_eq!(choose(None), Ok(Peer::ALL.to_vec()));
        assert_eq!(choose(Some("none")), Ok(Vec::new()));
        assert_eq!(choose(Some("strace, perf-trace")), Ok(vec![Peer::Strace, Peer::PerfTrace]));
        assert!(choose(Some("falco")).is_err());
    }
}
