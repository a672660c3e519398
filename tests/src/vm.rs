//! Other kernels: a virtual machine whose first process is our test program.
//!
//! In: a kernel, the programs that are to run on it. Out: what [`vm-init`](../vm_init/index.html) reported on the serial
//! console, or the console's tail. Never: a disk, a network, a distribution: the whole machine is one archive in
//! memory ([`initramfs`]), and the program in it ends the machine.
//!
//! qemu emulates the processor in software, so that no rights are needed and nothing depends on the host's kernel; that
//! is some twenty times slower than the processor itself, which a test of a few hundred thousand calls can bear.

pub mod initramfs;

use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// What comes before the report, on a line of its own.
pub const MARK: &str = "SURPRISAL-VM-REPORT ";
/// The first line of the first process.
pub const STARTED: &str = "vm-init: started";
/// A kernel that has not started its first process by then has hung; under software emulation that happens now and then.
const START: Duration = Duration::from_secs(90);
/// Lines of the console that an error shows.
const TAIL: usize = 40;

/// What has been checked on a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// How calls were captured: `--capture`.
    pub capture: String,
    /// What: "conservation", "overload", "attribution".
    pub name: String,
    /// Why it did not hold; `None`: it held.
    pub failure: Option<String>,
}

/// What was found on a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// As `uname -r` says there.
    pub release: String,
    /// What `--capture auto` comes to there.
    pub auto: String,
    /// Cgroup version, as the agent's probe names it.
    pub cgroups: String,
    /// All that was checked.
    pub checks: Vec<Check>,
}

impl Report {
    /// As one line of the console.
    pub fn line(&self) -> String {
        let check = |c: &Check| serde_json::json!({ "capture": c.capture, "name": c.name, "failure": c.failure });
        let checks: Vec<_> = self.checks.iter().map(check).collect();
        let report = serde_json::json!({ "release": self.release, "auto": self.auto, "cgroups": self.cgroups, "checks": checks });
        format!("{MARK}{report}")
    }

    /// From the console; an error when there is no whole report on it.
    pub fn parse(console: &str) -> Result<Self> {
        let text = console.lines().rev().find_map(|l| l.split_once(MARK)).context("there is no report on the console")?.1;
        let value: serde_json::Value = serde_json::from_str(text.trim()).context("the report on the console is damaged")?;
        let word = |value: &serde_json::Value, key: &str| -> Result<String> {
            Ok(value[key].as_str().with_context(|| format!("the report has no {key}"))?.to_owned())
        };
        let checks = value["checks"].as_array().context("the report has no checks")?;
        let check = |c: &serde_json::Value| -> Result<Check> {
            let failure = c["failure"].as_str().map(str::to_owned);
            Ok(Check { capture: word(c, "capture")?, name: word(c, "name")?, failure })
        };
        Ok(Self {
            release: word(&value, "release")?,
            auto: word(&value, "auto")?,
            cgroups: word(&value, "cgroups")?,
            checks: checks.iter().map(check).collect::<Result<_>>()?,
        })
    }
}

/// Boots `kernel` with `initramfs` and waits for the report; the console goes to `log`. A kernel that hangs before it has started
/// anything is booted once more, which is said.
///
/// # Errors
/// With the console's tail: it did not end within `limit`, or ended without a report.
pub fn boot(qemu: &Path, kernel: &Path, initramfs: &Path, log: &Path, limit: Duration) -> Result<Report> {
    let first = boot_once(qemu, kernel, initramfs, log, START, limit);
    if first.is_err() && !has_started(log) {
        println!("vm: {} has hung before its first process; once more", kernel.display());
        return boot_once(qemu, kernel, initramfs, log, limit, limit);
    }
    first
}

fn has_started(log: &Path) -> bool {
    fs::read(log).is_ok_and(|text| String::from_utf8_lossy(&text).contains(STARTED))
}

/// Ends the machine when there is no first process within `start`, or no end within `limit`.
fn boot_once(qemu: &Path, kernel: &Path, initramfs: &Path, log: &Path, start: Duration, limit: Duration) -> Result<Report> {
    let out = fs::File::create(log).with_context(|| format!("creating {}", log.display()))?;
    let mut command = Command::new(qemu);
    command.args(["-machine", "q35", "-m", "1024", "-smp", "2", "-accel", "tcg,thread=multi"]);
    // Without cmpxchg16b: software emulation of qemu 7.2 gets its flags wrong, and 6.12 panics.
    command.args(["-cpu", "max,cx16=off", "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"]);
    // Level 5 shows what a kernel that hangs was doing: its stacks are warnings.
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs).args(["-append", "console=ttyS0 panic=-1 loglevel=5"]);
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    let mut child = command.spawn().with_context(|| format!("starting {}", qemu.display()))?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if begun.elapsed() > limit || begun.elapsed() > start && !has_started(log) {
            child.kill()?;
            child.wait()?;
            break None;
        }
        thread::sleep(Duration::from_millis(100));
    };
    let console = String::from_utf8_lossy(&fs::read(log)?).replace('\r', "");
    match Report::parse(&console) {
        Ok(report) => Ok(report),
        Err(error) => {
            let how =
                status.map_or_else(|| format!("was ended after {} s", begun.elapsed().as_secs()), |s| format!("ended with {s}"));
            let lines: Vec<_> = console.lines().collect();
            let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
            bail!("{error}: the virtual machine {how}; the end of its console ({}):\n{tail}", log.display())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_come_back_from_a_noisy_console() {
        let check = |name: &str, failure: Option<&str>| Check {
            capture: "auto".into(),
            name: name.into(),
            failure: failure.map(str::to_owned),
        };
        let report = Report {
            release: "6.1".into(),
            auto: "hash".into(),
            cgroups: "v2".into(),
            checks: vec![check("a", None), check("b", Some("1 \"of\"\n2"))],
        };
        let console = format!("boot\n[ 1.0] noise{}\n[ 2.0] reboot: Power down\n", report.line());
        assert_eq!(Report::parse(&console).expect("it is there"), report);
        for cut in ["", "SURPRISAL-VM-REPORT {\"release\":", "SURPRISAL-VM-REPORT {}"] {
            assert!(Report::parse(cut).is_err(), "{cut:?}");
        }
    }
}
