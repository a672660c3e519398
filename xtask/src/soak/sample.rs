//! What agent and scorer hold at one moment.
//!
//! In: the two daemons. Out: a [`Sample`]. Never: asks the kernel for more than it must: the agent's maps are counted by a
//! program of its own (agent/benches/maps.rs).

use super::served::Served;
use crate::bench::overhead::states::{scrape, sum};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};
use surprisal_e2e::Scratch;

/// One moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// Seconds since the first.
    pub(super) at: f64,
    /// Containers born so far, and alive now.
    pub(super) born: u64,
    pub(super) alive: u64,
    pub(super) agent: Held,
    pub(super) scorer: Held,
    /// Entries of the agent's maps in the kernel.
    pub(super) maps: BTreeMap<String, u64>,
    /// After the last container.
    pub(super) is_end: bool,
}

/// What one daemon holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    pub(super) rss_mb: f64,
    pub(super) descriptors: u64,
    /// As its own figures say.
    pub(super) containers: f64,
    pub(super) threads: f64,
}

impl Sample {
    /// Entries in all maps whose entries go with a container, a shim or a process.
    pub(super) fn map_entries(&self) -> u64 {
        self.maps.values().sum()
    }

    /// For people who wait.
    pub(super) fn line(&self) -> String {
        let held = |h: &Held| {
            format!("{:.1} MB, {} descriptors, {} containers, {} threads", h.rss_mb, h.descriptors, h.containers, h.threads)
        };
        format!(
            "{:>5.0} s: {} born, {} alive; agent {}; scorer {}; {} map entries",
            self.at,
            self.born,
            self.alive,
            held(&self.agent),
            held(&self.scorer),
            self.map_entries()
        )
    }

    pub(super) fn json(&self) -> Value {
        let held = |h: &Held| json!({ "rss_mb": h.rss_mb, "descriptors": h.descriptors, "containers": h.containers, "threads": h.threads });
        json!({
            "at_s": self.at, "born": self.born, "alive": self.alive, "agent": held(&self.agent), "scorer": held(&self.scorer),
            "maps": self.maps,
        })
    }
}

/// Takes samples.
pub(super) struct Sampler {
    begin: Instant,
    agent: (u32, SocketAddr),
    scorer: (u32, SocketAddr),
    maps: Maps,
}

impl Sampler {
    pub(super) fn start(maps: &Path, agent: &Served, scorer: &Served, scratch: &Scratch) -> Result<Self> {
        Ok(Self {
            begin: Instant::now(),
            agent: (agent.daemon.pid(), agent.admin),
            scorer: (scorer.daemon.pid(), scorer.admin),
            maps: Maps::start(maps, agent.daemon.pid(), scratch)?,
        })
    }

    pub(super) fn take(&mut self, born: u64, alive: u64) -> Result<Sample> {
        Ok(Sample {
            at: self.begin.elapsed().as_secs_f64(),
            born,
            alive,
            agent: held(self.agent, "surprisal_agent")?,
            scorer: held(self.scorer, "surprisal_scorer")?,
            maps: self.maps.count()?,
            is_end: false,
        })
    }
}

fn held((pid, admin): (u32, SocketAddr), product: &str) -> Result<Held> {
    let text = scrape(admin)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let rss = status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<f64>().ok());
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).with_context(|| format!("reading /proc/{pid}/fd"))?.count();
    Ok(Held {
        rss_mb: rss.with_context(|| format!("process {pid} has no VmRSS"))? / 1e3,
        descriptors: descriptors as u64,
        containers: sum(&text, &format!("{product}_containers")),
        threads: sum(&text, &format!("{product}_threads")),
    })
}

/// The program that counts; it ends with this value.
struct Maps {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Maps {
    fn start(program: &Path, pid: u32, scratch: &Scratch) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg(pid.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        scratch.owns_process(child.id())?;
        let to = child.stdin.take().context("its input")?;
        let from = BufReader::new(child.stdout.take().context("its output")?);
        Ok(Self { child, to, from })
    }

    fn count(&mut self) -> Result<BTreeMap<String, u64>> {
        writeln!(self.to).context("asking for the maps' entries")?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("counting the maps' entries: {line:?}"))
    }
}

impl Drop for Maps {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
