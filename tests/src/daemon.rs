//! A program that runs beside the test: the agent, the scorer, containerd.
//!
//! In: a command. Out: its log, its end, its exit code. Never: outlives the test; see [`crate::scratch`].

use crate::{Scratch, wait::try_wait_for};
use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

/// A running program; dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command` with stdout and stderr going to `NAME.log` in `scratch`.
    pub fn start(scratch: &Scratch, name: &str, command: &mut Command) -> Result<Self> {
        // A second daemon of one name gets a log of its own.
        let mut log = scratch.path().join(format!("{name}.log"));
        let mut count = 1;
        while log.exists() {
            count += 1;
            log.set_file_name(format!("{name}-{count}.log"));
        }
        let out = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        scratch.owns_process(child.id())?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Where it writes.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Waits until the log holds `text`; an error, with the log, when the program ends first or `timeout` is over.
    pub fn wait_for_log(&mut self, text: &str, timeout: Duration) -> Result<()> {
        self.wait_until(&format!("{text:?} in its log"), timeout, |log| log.contains(text))
    }

    /// Waits until `condition` holds of the log; an error, with the log, when the program ends first or the time is over.
    pub fn wait_until(&mut self, what: &str, timeout: Duration, mut condition: impl FnMut(&str) -> bool) -> Result<()> {
        let (log, child) = (&self.log, &mut self.child);
        let read = || fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let ended = try_wait_for(timeout, || {
            // Asked before the look at the log: what it wrote before its end counts.
            let ended = child.try_wait().ok().flatten();
            if condition(&read()) { Some(None) } else { ended.map(Some) }
        });
        match ended {
            Some(None) => Ok(()),
            Some(Some(status)) => bail!("{} ended ({status}) before {what}; its log:\n{}", self.name, read()),
            None => bail!("{}: waited {} s for {what}; its log:\n{}", self.name, timeout.as_secs_f64(), read()),
        }
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(&mut self, timeout: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(timeout)
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// Sends a signal, unless it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let pid = Pid::from_raw(self.child.id() as i32).context("a process id is positive")?;
        kill_process(pid, signal).with_context(|| format!("signalling {}", self.name))
    }

    /// Waits for the end; an error, with the log, when it does not come.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        match try_wait_for(timeout, || self.child.try_wait().ok().flatten()) {
            Some(status) => Ok(status),
            None => bail!("{} still runs after {} s; its log:\n{}", self.name, timeout.as_secs_f64(), self.log()),
        }
    }

    /// It has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Resident memory, bytes; 0 when it has ended.
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// Resident memory that is its own: neither its program file nor what it shares with the kernel. Bytes.
    pub fn anonymous_bytes(&self) -> u64 {
        self.status_bytes("RssAnon:")
    }

    fn status_bytes(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix(field));
        line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = self.kill();
        }
        let log = self.log();
        if std::thread::panicking() && !log.is_empty() {
            eprintln!("---- {} ----\n{log}", self.log.display());
        }
    }
}

/// A program of this workspace, built beside the one that runs; `variable` in the environment overrides it.
pub fn binary(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        return Ok(path.into());
    }
    let me = env::current_exe()?;
    // target/debug/deps/e2e-… or target/debug/xtask
    let found = me.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("no {name} beside {}; build it first: cargo build --package {name}", me.display()))
}
