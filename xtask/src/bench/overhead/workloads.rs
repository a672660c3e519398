//! The servers under load, and how much they get done.
//!
//! In: a containerd. Out: a [`Server`] in a container, pinned to one processor; a load on it from another; its own count of
//! requests and the CPU time its container used. Never: a client in a container: load generators are processes of the
//! host, in the server's network namespace, where nobody follows them.
//!
//! Throughput is the difference of the server's own counter over a time, not what a generator says at its end: so each
//! state gets the same seconds, however slow it is.

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, Pid, sched_setaffinity};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread::available_parallelism,
    time::{Duration, Instant},
};
use surprisal_e2e::{
    Containerd, Daemon, Netns,
    attacks::attacker,
    servers::{Mariadb, Redis, StaticFiles},
};

/// Until a load has begun.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Workload {
    /// redis-benchmark: SET, 50 clients, no pipelining
    Redis,
    /// wrk: one small file, 32 connections
    Nginx,
    /// mariadb-slap: SELECT by key, 8 clients
    Mariadb,
}

impl Workload {
    pub(super) const ALL: [Self; 3] = [Self::Redis, Self::Nginx, Self::Mariadb];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Nginx => "nginx",
            Self::Mariadb => "mariadb",
        }
    }

    /// The generator, which goes on for ever; its threads stay on `cpu`.
    fn generator(self, network: &Netns, cpu: usize) -> Command {
        let many = i32::MAX.to_string();
        let web = format!("http://127.0.0.1:{}/", StaticFiles::PORT);
        let args: Vec<&str> = match self {
            Self::Redis => {
                vec!["redis-benchmark", "-h", "127.0.0.1", "-t", "set", "-r", "100000", "-c", "50", "-n", &many, "-q"]
            }
            Self::Nginx => vec!["wrk", "--threads", "1", "--connections", "32", "--duration", "10h", &web],
            Self::Mariadb => vec![
                "mariadb-slap",
                "--host=127.0.0.1",
                "--user=app",
                "--password=app",
                "--silent",
                "--create-schema=slap",
                "--auto-generate-sql",
                "--auto-generate-sql-add-autoincrement",
                "--auto-generate-sql-load-type=key",
                "--auto-generate-sql-write-number=100",
                "--concurrency=8",
                "--number-of-queries=2000000000",
            ],
        };
        let mut command = network.command("taskset");
        command.args(["--cpu-list", &cpu.to_string()]).args(args);
        command
    }
}

/// A running server.
pub(super) struct Server {
    pub(super) workload: Workload,
    network: Netns,
    cgroup: PathBuf,
}

/// What a server has done so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    at: Instant,
    requests: u64,
    cpu_us: u64,
}

impl Reading {
    /// (requests a second, microseconds of the container's CPU time a request) from `earlier` to here.
    pub(super) fn since(&self, earlier: &Self) -> (f64, f64) {
        let requests = self.requests.saturating_sub(earlier.requests) as f64;
        let cpu = self.cpu_us.saturating_sub(earlier.cpu_us) as f64;
        (requests / (self.at - earlier.at).as_secs_f64(), cpu / requests.max(1.0))
    }

    /// Requests from `earlier` to here.
    pub(super) fn requests_since(&self, earlier: &Self) -> u64 {
        self.requests.saturating_sub(earlier.requests)
    }
}

impl Server {
    /// Starts one as container `id`.
    pub(super) fn start(containerd: &Containerd, workload: Workload, id: &str) -> Result<Self> {
        let network = Netns::new(containerd.scratch())?;
        let container = match workload {
            Workload::Redis => Redis::start(containerd, &network, id)?.container,
            Workload::Nginx => StaticFiles::start(containerd, &network, id)?.container,
            Workload::Mariadb => Mariadb::start(containerd, &network, id)?.container,
        };
        let cgroup = cgroup(container.pid())?;
        let server = Self { workload, network, cgroup };
        server.pin(processors().0)?;
        Ok(server)
    }

    /// Puts load on it, and waits until it has begun; the load ends with the value.
    pub(super) fn load(&self, containerd: &Containerd) -> Result<Daemon> {
        let mut command = self.workload.generator(&self.network, processors().1);
        let mut load = Daemon::start(containerd.scratch(), "load", &mut command)?;
        let before = self.requests()?;
        load.wait_until("its first thousand requests", PATIENCE, |_| self.requests().is_ok_and(|now| now > before + 1000))?;
        Ok(load)
    }

    /// What it has done so far.
    pub(super) fn read(&self) -> Result<Reading> {
        let asked = Instant::now();
        let requests = self.requests()?;
        // The answer was true somewhere between.
        let at = asked + asked.elapsed() / 2;
        Ok(Reading { at, requests, cpu_us: cpu_us(&self.cgroup)? })
    }

    /// Its processes, as the host numbers them.
    pub(super) fn pids(&self) -> Result<Vec<u32>> {
        let path = self.cgroup.join("cgroup.procs");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        text.lines().map(|l| l.parse().with_context(|| format!("{} holds {l:?}", path.display()))).collect()
    }

    /// Its cgroup's id, as BPF programs see it: the inode.
    pub(super) fn cgroup_id(&self) -> Result<u64> {
        use std::os::unix::fs::MetadataExt as _;
        Ok(fs::metadata(&self.cgroup).with_context(|| format!("looking at {}", self.cgroup.display()))?.ino())
    }

    /// All threads that it has now to one processor; those they start stay there.
    fn pin(&self, cpu: usize) -> Result<()> {
        let mut cpus = CpuSet::new();
        cpus.set(cpu);
        for pid in self.pids()? {
            for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
                let tid = thread?.file_name().to_string_lossy().parse()?;
                sched_setaffinity(Pid::from_raw(tid), &cpus).with_context(|| format!("pinning thread {tid}"))?;
            }
        }
        Ok(())
    }

    /// By its own count.
    fn requests(&self) -> Result<u64> {
        let (text, before) = match self.workload {
            Workload::Redis => {
                let answer = attacker::ask(&self.network, Redis::PORT, b"INFO stats\r\nQUIT\r\n")?;
                (answer, "total_commands_processed:")
            }
            Workload::Nginx => {
                (attacker::http(&self.network, StaticFiles::PORT, "GET", "/status", "", "")?, "server accepts handled requests\n")
            }
            Workload::Mariadb => {
                let mut client = self.network.command("mariadb");
                client.args(["--host=127.0.0.1", "--user=app", "--password=app", "--skip-column-names", "--batch"]);
                let sql = "SHOW GLOBAL STATUS LIKE 'Questions'";
                (crate::shell::output(client.args(["--execute", sql]))?, "Questions")
            }
        };
        count(&text, before).with_context(|| format!("{} said {text:?}", self.workload.name()))
    }
}

/// The last number of what follows `before` on its line.
fn count(text: &str, before: &str) -> Option<u64> {
    text.split_once(before)?.1.lines().next()?.split_whitespace().last()?.parse().ok()
}

/// (the servers' processor, the generators'): two, as far as the machine has them.
pub(super) fn processors() -> (usize, usize) {
    let last = available_parallelism().map_or(0, |n| n.get() - 1);
    (last.min(1), 0)
}

/// Of the unified hierarchy, wherever it is mounted.
fn cgroup(pid: u32) -> Result<PathBuf> {
    let path = format!("/proc/{pid}/cgroup");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let name = text.lines().find_map(|l| l.strip_prefix("0::/")).with_context(|| format!("no unified cgroup in {path}"))?;
    let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(|root| Path::new(root).join(name));
    roots.into_iter().find(|p| p.join("cpu.stat").is_file()).with_context(|| format!("no cgroup {name:?} under /sys/fs/cgroup"))
}

fn cpu_us(cgroup: &Path) -> Result<u64> {
    let path = cgroup.join("cpu.stat");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    count(&text, "usage_usec").with_context(|| format!("no usage_usec in {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_servers() {
        for (text, before, expect) in [
            (
                "# Stats\r\ntotal_connections_received:2\r\ntotal_commands_processed:941\r\nx:1\r\n",
                "total_commands_processed:",
                941,
            ),
            (
                "Active connections: 33 \nserver accepts handled requests\n 33 33 120017 \nReading: 0",
                "handled requests\n",
                120_017,
            ),
            ("Questions\t5512\n", "Questions", 5512),
            ("usage_usec 120\nuser_usec 100\n", "usage_usec", 120),
        ] {
            assert_eq!(count(text, before), Some(expect), "{text:?}");
        }
        assert_eq!(count("-NOAUTH", "total_commands_processed:"), None);
    }
}
