//! The kernel's audit with every system call of a container in its log: what Cosmos built on.
//!
//! In: Debian's auditd and auditctl, unpacked and not installed. Out: audit on for the time of an [`Auditing`]; all of it as
//! it was when [`Audit`] is dropped. Never: touches an audit that is in use: with a daemon or rules of somebody else it
//! says so and does nothing.
//!
//! Audit cannot filter by container, but by login uid, which processes inherit: a containerd that is started with one of
//! its own ([`Audit::as_login`]) gives it to its containers. Only tasks that are born with audit on and match a filter
//! are ever audited, so the audited servers are twins of the others, and a rule keeps all other tasks out.
//!
//! The kernel never forgets that audit was on once: until the next start, every task born later enters all its system
//! calls by the slow path (90 ns each here), audit on or off, unless a rule says that tasks are not to be audited. So one
//! such rule, `never,task`, stays where audit was off before; with it, tasks are as fast as they were.

use crate::{
    setup,
    shell::{self, show},
    undo::Undo,
};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use surprisal_e2e::{Daemon, Scratch};

/// The login uid of what is audited; no user of the host has it.
const LOGIN: &str = "4711";
const UNSET: &str = "4294967295";
/// Marks our rules.
const KEY: &str = "surprisal-bench";
/// Marks our mount.
const MOUNT: &str = "surprisal-auditd";
/// How much log there may be, MB; Debian's own settings keep five files of 8 MB.
const LOG_MB: u32 = 64;
/// Debian's rules begin with this.
const BACKLOG: &str = "8192";

/// auditd has this long to open its log, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Audit is ours.
pub(super) struct Audit {
    tools: Tools,
    dir: PathBuf,
    daemon: Option<Daemon>,
    // Last: the daemon ends, then the rest is undone.
    undo: Undo,
}

/// Audit is on.
pub(super) struct Auditing<'a> {
    audit: &'a Audit,
    log_from: u64,
    lost_from: u64,
    // Off again.
    _off: Undo,
}

impl Audit {
    /// Prepares it, and leaves it off; an error says why it cannot be had here.
    pub(super) fn prepare(scratch: &Scratch) -> Result<Self> {
        let tools = Tools { root: setup::auditd()? };
        end_leftovers(&tools)?;
        let before = tools.status()?;
        let number = |name: &str| status(&before, name).with_context(|| format!("auditctl does not say {name}: {before}"));
        let enabled = number("enabled")?;
        ensure!(number("pid")? == 0, "another audit daemon runs (process {})", number("pid")?);
        ensure!(enabled != 2, "audit's settings are locked until the next start of the machine");
        ensure!(tools.run(&["-l"])?.lines().all(is_harmless), "audit has rules of somebody else's (auditctl -l)");
        let dir = scratch.path().join("auditd");
        let mut audit = Self { tools, dir, daemon: None, undo: Undo::default() };
        audit.never_others(enabled)?;
        for (name, option) in [("backlog_limit", "-b"), ("failure", "-f")] {
            let (tools, value) = (audit.tools.clone(), number(name)?.to_string());
            audit.undo.later(name, move || tools.run(&[option, &value]).map(drop));
        }
        audit.tools.run(&["-b", BACKLOG])?;
        // A full backlog is counted, and not printed for each call.
        audit.tools.run(&["-f", "0"])?;
        audit.start_daemon(scratch)?;
        // From here on audited tasks can be born.
        audit.tools.run(&["-e", "1"])?;
        let (tools, enabled) = (audit.tools.clone(), enabled.to_string());
        audit.undo.later("audit on", move || tools.run(&["-e", &enabled]).map(drop));
        audit.tools.run(&["-e", "0"])?;
        Ok(audit)
    }

    /// No task but those with our login uid is audited.
    fn never_others(&mut self, enabled: u64) -> Result<()> {
        let only_ours = ["never,task", "-F", &format!("auid!={LOGIN}")].map(str::to_owned);
        let tools = self.tools.clone();
        let add = |tools: &Tools, how: &str, rule: &[String]| {
            tools.run(&[&[how], &rule.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat())
        };
        // What an earlier run left.
        let _ = add(&tools, "-d", &only_ours);
        let _ = tools.run(&["-d", "never,task"]);
        add(&tools, "-a", &only_ours)?;
        self.undo.later("the rule against other tasks", move || {
            add(&tools, "-d", &only_ours)?;
            if enabled == 0 {
                tools.run(&["-a", "never,task"])?;
                println!("audit is off again; one rule stays until the next start, for without it every process started from");
                println!("now on would pay for audit having been on once; `auditctl -d never,task` takes it away");
            }
            Ok(())
        });
        Ok(())
    }

    fn start_daemon(&mut self, scratch: &Scratch) -> Result<()> {
        for part in ["conf", "log", "plugins"] {
            fs::create_dir_all(self.dir.join(part)).with_context(|| format!("creating {}", self.dir.join(part).display()))?;
        }
        let log = self.dir.join("log");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={LOG_MB}m,mode=700"), MOUNT]).arg(&log);
        shell::run(&mut mount)?;
        let mounted = log.clone();
        self.undo.later("the mount of audit's log", move || shell::run(Command::new("umount").arg(&mounted)));
        let file = self.dir.join("conf/auditd.conf");
        fs::write(&file, configuration(&self.dir)).with_context(|| format!("writing {}", file.display()))?;
        let mut command = self.tools.command("auditd");
        command.args(["-n", "-s", "nochange", "-c"]).arg(self.dir.join("conf"));
        let mut daemon = Daemon::start(scratch, "auditd", &mut command)?;
        let tools = self.tools.clone();
        let pid = u64::from(daemon.pid());
        daemon.wait_until("that the kernel knows it", PATIENCE, |_| {
            tools.status().is_ok_and(|text| status(&text, "pid") == Some(pid))
        })?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Does `start` as the login whose processes are audited: what it starts, and their descendants.
    pub(super) fn as_login<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        self.tools.run(&["-e", "1"])?;
        let set = |login: &str| fs::write("/proc/thread-self/loginuid", login).context("setting the login uid");
        let mut undo = Undo::default();
        undo.later("the login uid", move || set(UNSET));
        set(LOGIN)?;
        let started = start();
        drop(undo);
        self.tools.run(&["-e", "0"])?;
        started
    }

    /// Switches it on, with a rule for every system call of what was started by [`Audit::as_login`].
    pub(super) fn on(&self) -> Result<Auditing<'_>> {
        let lost_from = self.lost()?;
        let log_from = self.log_bytes();
        let mut off = Undo::default();
        let tools = self.tools.clone();
        off.later("audit off", move || tools.run(&["-e", "0"]).map(drop));
        self.tools.run(&["-e", "1"])?;
        let auid = format!("auid={LOGIN}");
        let rule = ["always,exit", "-F", "arch=b64", "-S", "all", "-F", &auid, "-k", KEY].map(str::to_owned);
        let with = |how: &'static str, rule: &[String]| -> Vec<String> {
            std::iter::once(how.to_owned()).chain(rule.iter().cloned()).collect()
        };
        let (add, delete) = (with("-a", &rule), with("-d", &rule));
        let tools = self.tools.clone();
        off.later("the rule for every call", move || tools.run(&delete.iter().map(String::as_str).collect::<Vec<_>>()).map(drop));
        self.tools.run(&add.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Auditing { audit: self, log_from, lost_from, _off: off })
    }

    fn lost(&self) -> Result<u64> {
        let text = self.tools.status()?;
        status(&text, "lost").with_context(|| format!("auditctl does not say lost: {text}"))
    }

    /// Written by the daemon so far, by its own I/O account: its files rotate.
    fn log_bytes(&self) -> u64 {
        let pid = self.daemon.as_ref().map_or(0, Daemon::pid);
        let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        text.lines().find_map(|l| l.strip_prefix("wchar: ")?.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        // Before its log is unmounted.
        if let Some(mut daemon) = self.daemon.take() {
            let _ = self.tools.run(&["-e", "0"]);
            if daemon.terminate(PATIENCE).is_err() {
                let _ = daemon.kill();
            }
        }
    }
}

impl Auditing<'_> {
    /// What it saw so far, for people.
    pub(super) fn seen(&self) -> Result<String> {
        let bytes = self.audit.log_bytes().saturating_sub(self.log_from);
        let lost = self.audit.lost()?.saturating_sub(self.lost_from);
        ensure!(bytes > 0, "auditd wrote nothing");
        Ok(format!("{:.0} MB of log, {lost} records lost", bytes as f64 / 1e6))
    }
}

/// Unmounts what a killed run left, before its directory is removed.
pub(super) fn unmount_leftovers() -> Result<()> {
    for line in fs::read_to_string("/proc/mounts").unwrap_or_default().lines() {
        let mut fields = line.split(' ');
        if fields.next() == Some(MOUNT) {
            // Its daemon may still be there for a moment.
            shell::run(Command::new("umount").arg("--lazy").args(fields.next()))?;
        }
    }
    Ok(())
}

/// Takes away what a killed run left in the kernel: its rules say that all of it was ours, and we only begin where audit is
/// as the kernel starts with it.
fn end_leftovers(tools: &Tools) -> Result<()> {
    let rules = tools.run(&["-l"])?;
    if [format!("key={KEY}"), format!("auid!={LOGIN}")].iter().any(|mark| rules.contains(mark)) {
        for args in [&["-D", "-k", KEY][..], &["-e", "0"], &["-f", "1"], &["-b", "64"]] {
            tools.run(args)?;
        }
    }
    Ok(())
}

/// Debian's settings, but for places, and that a full disk is not an emergency.
fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "local_events = yes\nwrite_logs = yes\nlog_file = {dir}/log/audit.log\nlog_format = RAW\nflush = INCREMENTAL_ASYNC\n\
         freq = 50\nmax_log_file = 8\nnum_logs = 5\nmax_log_file_action = ROTATE\npriority_boost = 4\nname_format = NONE\n\
         space_left = 2\nspace_left_action = IGNORE\nadmin_space_left = 1\nadmin_space_left_action = IGNORE\n\
         disk_full_action = IGNORE\ndisk_error_action = IGNORE\nverify_email = no\naction_mail_acct = root\n\
         distribute_network = no\nplugin_dir = {dir}/plugins\n"
    )
}

/// Rules that are there: none, or what an earlier run of ours left.
fn is_harmless(rule: &str) -> bool {
    let ours = format!("-a never,task -F auid!={LOGIN}");
    ["No rules", "-a never,task", ours.as_str()].contains(&rule.trim())
}

/// A number of `auditctl -s`.
fn status(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Debian's programs where they were unpacked.
#[derive(Clone)]
struct Tools {
    root: PathBuf,
}

impl Tools {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.root.join("sbin").join(program));
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|dir| self.root.join(dir).display().to_string());
        command.env("LD_LIBRARY_PATH", libraries.join(":"));
        command
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        let mut command = self.command("auditctl");
        let out = command.args(args).output().with_context(|| format!("starting {}", show(&command)))?;
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        if !out.status.success() {
            let error = String::from_utf8_lossy(&out.stderr);
            bail!("auditctl {}: {}", args.join(" "), error.lines().next().unwrap_or(said.trim()));
        }
        Ok(said)
    }

    fn status(&self) -> Result<String> {
        self.run(&["-s"])
    }
}

#[cfg(test)]
mod tests {
    use super::{is_harmless, status};

    #[test]
    fn an_audit_in_use_is_left_alone() {
        for (rule, expect) in [
            ("No rules", true),
            ("-a never,task", true),
            ("-a never,task -F auid!=4711", true),
            ("-w /etc/passwd -p wa -k identity", false),
            ("-a always,exit -S all -F key=surprisal-bench", false),
        ] {
            assert_eq!(is_harmless(rule), expect, "{rule}");
        }
    }

    #[test]
    fn numbers_of_a_status() {
        let text = "enabled 1\nfailure 1\npid 25300\nbacklog_limit 64\nbacklog 3\nloginuid_immutable 0 unlocked\n";
        for (name, expect) in [("enabled", Some(1)), ("pid", Some(25_300)), ("backlog", Some(3)), ("backlog_limit", Some(64))] {
            assert_eq!(status(text, name), expect, "{name}");
        }
        assert_eq!(status(text, "lost"), None);
    }
}
