//! The node's namespaces and processes: made, entered, and gone without a trace.
//!
//! In: programs and their arguments. Out: running processes in a network and a mount namespace of their own, with
//! logs in one directory. Never: ends anything itself; the [`Scratch`] does, also after a killed run: the
//! programs are noted there, shims and containers descend from command lines that name the directory.

use super::config;
use crate::{Scratch, wait::try_wait_for};
use anyhow::{Context as _, Result, bail};
use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Namespaces, a directory, and processes. Fields are dropped in this order: first all processes are ended, then
/// they are taken out of the process table.
pub(super) struct Node {
    scratch: Scratch,
    holder: Reaped,
    programs: Vec<Reaped>,
    cgroup: String,
    nsenter: PathBuf,
}

struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // Ended by the scratch directory before; an error means that somebody else has waited.
        let _ = self.0.wait();
    }
}

impl Node {
    /// Makes the namespaces.
    pub(super) fn new(unshare: &Path, nsenter: &Path) -> Result<Self> {
        let scratch = Scratch::new()?;
        let cgroup = format!("surprisal-e2e-node-{}", std::process::id());
        scratch.owns_cgroup(&cgroup)?;
        for root in hierarchies()? {
            let path = root.join(&cgroup);
            fs::create_dir(&path).with_context(|| format!("creating cgroup {}", path.display()))?;
        }
        let mut command = Command::new(unshare);
        command.args(["--net", "--mount", "--propagation", "private", "sh", "-c", &config::holder(scratch.path())]);
        let holder = start(&scratch, "holder", &mut command)?;
        let node = Self { scratch, holder, programs: Vec::new(), cgroup, nsenter: nsenter.to_owned() };
        let holding = node.dir().join("holding");
        wait_until("the node's namespaces", Duration::from_secs(10), || Ok(holding.exists()))?;
        Ok(node)
    }

    /// Where its files are, on the host.
    pub(super) fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// Name of the node's own cgroup, below the root of every hierarchy.
    pub(super) fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// A command inside the node's namespaces.
    pub(super) fn enter(&self, program: &Path) -> Command {
        let mut command = Command::new(&self.nsenter);
        let holder = self.holder.0.id().to_string();
        command.args(["--net", "--mount", "--wd=/", "--target", &holder, "--"]).arg(program);
        command
    }

    /// Starts a program of the node; its output goes to `NAME.log`.
    pub(super) fn spawn(&mut self, name: &str, program: &Path, args: &[String]) -> Result<()> {
        let mut command = self.enter(program);
        let child = start(&self.scratch, name, command.args(args))?;
        self.programs.push(child);
        Ok(())
    }

    /// The last lines of each program's log.
    pub(super) fn logs(&self) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(self.dir()).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "log") {
                let log = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
                let lines: Vec<_> = log.lines().collect();
                let tail = &lines[lines.len().saturating_sub(8)..];
                text.extend(["--- ", &entry.file_name().to_string_lossy(), "\n", &tail.join("\n"), "\n"]);
            }
        }
        text
    }
}

/// Asks `check` until it says yes; errors count as "not yet", and the last one is shown.
pub fn wait_until(what: &str, patience: Duration, mut check: impl FnMut() -> Result<bool>) -> Result<()> {
    let mut last = None;
    let done = try_wait_for(patience, || match check() {
        Ok(yes) => yes.then_some(()),
        Err(error) => {
            last = Some(error);
            None
        }
    });
    if done.is_none() {
        let last = last.map_or(String::new(), |e| format!("; last: {e:#}"));
        bail!("{what}: not within {} s{last}", patience.as_secs());
    }
    Ok(())
}

fn start(scratch: &Scratch, name: &str, command: &mut Command) -> Result<Reaped> {
    let log = File::create(scratch.path().join(format!("{name}.log"))).with_context(|| format!("creating {name}'s log"))?;
    let stderr = log.try_clone().context("duplicating a file descriptor")?;
    // A group of its own: Ctrl-C ends the test, which then takes the node down.
    command.stdin(Stdio::null()).stdout(log).stderr(stderr).process_group(0);
    let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
    if let Err(error) = scratch.owns_process(child.id()) {
        // Whoever drops it would wait for an end that nobody brings.
        child.kill().with_context(|| format!("ending {name}"))?;
        return Err(error);
    }
    Ok(Reaped(child))
}

/// Roots of the mounted cgroup hierarchies: one on a pure v2 host, several on v1 and hybrid ones.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let base = Path::new("/sys/fs/cgroup");
    if base.join("cgroup.procs").exists() {
        return Ok(vec![base.to_owned()]);
    }
    let mut roots = Vec::new();
    for entry in fs::read_dir(base).context("reading /sys/fs/cgroup")? {
        let path = entry?.path();
        // `cpu` may be a link to `cpu,cpuacct`.
        if !path.is_symlink() && path.join("cgroup.procs").exists() {
            roots.push(path);
        }
    }
    Ok(roots)
}
