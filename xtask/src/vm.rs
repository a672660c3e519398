//! `xtask vm`: the agent's promises on kernels that are not this machine's.
//!
//! In: series of Debian's kernels. Out: what held on each, as a table and with `--json`; the command fails when
//! anything did not. Never: installs a kernel, or needs KVM or rights: packages are unpacked into the cache and booted in
//! qemu by software emulation (see `surprisal_e2e::vm`).

use crate::{
    build_ebpf,
    setup::{self, Part},
    shell, workspace,
};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use surprisal_e2e::vm::{self, Report, initramfs};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A series of kernels; may be given several times [default: all]
    #[arg(long, value_name = "SERIES")]
    kernel: Vec<Series>,
    /// Write the outcome there too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Kernels that Debian still packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Series {
    /// Debian 11's: no task storage
    #[value(name = "5.10")]
    V5_10,
    /// Debian 12's
    #[value(name = "6.1")]
    V6_1,
    /// Debian 12's newer one
    #[value(name = "6.12")]
    V6_12,
}

impl Series {
    fn name(self) -> &'static str {
        match self {
            Self::V5_10 => "5.10",
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }

    /// Debian's release that has it, and how its packages are named.
    fn source(self) -> (&'static str, &'static str) {
        match self {
            Self::V5_10 => ("bullseye", "linux-image-5.10.0-*-cloud-amd64"),
            Self::V6_1 => ("bookworm", "linux-image-6.1.0-*-cloud-amd64"),
            Self::V6_12 => ("bookworm", "linux-image-6.12.*-cloud-amd64"),
        }
    }
}

/// A boot takes half a minute on a quiet machine; in this time it hangs.
const LIMIT: Duration = Duration::from_mins(5);

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(&[Part::Bpf, Part::Containers, Part::Vm])?;
    build_ebpf::build()?;
    // The same features as `xtask test` builds with, so that nothing is built twice.
    let mut cargo = shell::cargo();
    cargo.args(["build", "--workspace", "--locked"]);
    shell::run(cargo.args(["--bin", "surprisal-agent", "--bin", "vm-init"]))?;
    let all = <Series as clap::ValueEnum>::value_variants();
    let wanted = if args.kernel.is_empty() { all } else { &args.kernel[..] };
    check(wanted, args.json.as_deref())
}

/// The oldest kernel and Debian 12's, with programs that are built already: a step of `xtask test`.
pub(crate) fn check_some() -> Result<()> {
    setup::ensure(&[Part::Vm])?;
    check(&[Series::V5_10, Series::V6_1], None)
}

fn check(wanted: &[Series], json: Option<&Path>) -> Result<()> {
    let qemu = shell::find("qemu-system-x86_64").context("no qemu-system-x86_64; `cargo xtask setup vm` installs it")?;
    // Archive and consoles stay, for a look when something is wrong.
    let archive = workspace::target().join("vm-initramfs");
    let debug = workspace::target().join("debug");
    initramfs::write(&archive, &debug.join("vm-init"), &debug.join("surprisal-agent"))?;
    let (mut outcomes, mut failures) = (Vec::new(), Vec::new());
    for series in wanted {
        let started = Instant::now();
        let log = workspace::target().join(format!("vm-{}.log", series.name()));
        let outcome = kernel(*series).and_then(|kernel| vm::boot(&qemu, &kernel, &archive, &log, LIMIT));
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Ok(report) => {
                failures.extend(failed(&report));
                println!("{}", table(&report, seconds));
                outcomes.push(as_json(*series, &report, seconds));
            }
            Err(error) => {
                failures.push(format!("{}: {error:#}", series.name()));
                outcomes.push(serde_json::json!({ "series": series.name(), "error": format!("{error:#}") }));
            }
        }
    }
    if let Some(file) = json {
        let text = serde_json::to_string_pretty(&serde_json::json!({ "kernels": outcomes }))?;
        fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

fn failed(report: &Report) -> Vec<String> {
    let failed = |c: &vm::Check| {
        let why = c.failure.as_ref()?;
        Some(format!("kernel {}, --capture {}, {}: {why}", report.release, c.capture, c.name))
    };
    report.checks.iter().filter_map(failed).collect()
}

fn table(report: &Report, seconds: f64) -> String {
    let mut text = format!("kernel {} (cgroup {}, {seconds:.0} s): auto is {}", report.release, report.cgroups, report.auto);
    for check in &report.checks {
        let outcome = check.failure.as_deref().map_or("held".to_owned(), |why| format!("FAILED: {why}"));
        let _infallible = write!(text, "\n  --capture {:<5} {:<13} {outcome}", check.capture, check.name);
    }
    text
}

fn as_json(series: Series, report: &Report, seconds: f64) -> serde_json::Value {
    let check = |c: &vm::Check| serde_json::json!({ "capture": c.capture, "check": c.name, "held": c.failure.is_none(), "failure": c.failure });
    serde_json::json!({
        "series": series.name(),
        "release": report.release,
        "auto": report.auto,
        "cgroups": report.cgroups,
        "seconds": seconds,
        "checks": report.checks.iter().map(check).collect::<Vec<_>>(),
    })
}

/// The kernel's file: from the cache, else from Debian's archive, whose signatures apt checks.
fn kernel(series: Series) -> Result<PathBuf> {
    let cache = setup::cache()?.join("kernels").join(series.name());
    // A newer package is fetched when the directory is removed: a test wants the same kernel from run to run.
    if let Some(found) = cached(&cache)? {
        return Ok(found);
    }
    fs::create_dir_all(&cache)?;
    let work = tempfile::tempdir_in(&cache)?;
    let apt = Apt::new(work.path(), series.source().0)?;
    let (package, version) = apt.newest(series.source().1)?;
    println!("vm: {package} {version} from {} into {} (27 MB to download, 8 MB on disk)", apt.release, cache.display());
    let deb = apt.download(&package)?;
    let tree = work.path().join("tree");
    shell::run(Command::new("dpkg").arg("-x").arg(deb).arg(&tree))?;
    let release = package.trim_start_matches("linux-image-");
    let kept = cache.join(format!("vmlinuz-{release}_{version}"));
    fs::rename(tree.join("boot").join(format!("vmlinuz-{release}")), &kept)
        .with_context(|| format!("{package} {version} holds no kernel"))?;
    Ok(kept)
}

fn cached(dir: &Path) -> Result<Option<PathBuf>> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(None) };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("vmlinuz-") {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found.pop())
}

/// An apt that knows one release and leaves this machine's lists alone; proxies and keys are the machine's.
struct Apt {
    release: &'static str,
    dir: PathBuf,
}

impl Apt {
    fn new(dir: &Path, release: &'static str) -> Result<Self> {
        let keys = "[arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
        let sources = format!(
            "deb {keys} http://deb.debian.org/debian {release} main\n\
             deb {keys} http://deb.debian.org/debian-security {release}-security main\n"
        );
        fs::write(dir.join("sources.list"), sources)?;
        for name in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(dir.join(name))?;
        }
        let apt = Self { release, dir: dir.to_owned() };
        shell::run(apt.command("apt-get").args(["update", "-qq"]))
            .with_context(|| format!("reading Debian {release}'s packages"))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let dir = self.dir.display();
        for option in [
            format!("Dir::Etc::SourceList={dir}/sources.list"),
            "Dir::Etc::SourceParts=-".to_owned(),
            format!("Dir::State::Lists={dir}/lists"),
            format!("Dir::Cache={dir}"),
            // The directory is ours alone.
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command.env("LC_ALL", "C.UTF-8").current_dir(&self.dir);
        command
    }

    /// The newest package whose name is like `pattern`, where `*` is any text, and its version.
    fn newest(&self, pattern: &str) -> Result<(String, String)> {
        let names = shell::output(self.command("apt-cache").args(["pkgnames", "linux-image-"]))?;
        let mut best: Option<(String, String)> = None;
        for name in names.lines().filter(|name| is_like(name, pattern)) {
            let about = shell::output(self.command("apt-cache").args(["show", "--no-all-versions", name]))?;
            let Some(version) = about.lines().find_map(|l| l.strip_prefix("Version: ")).map(str::to_owned) else { continue };
            let newer = match &best {
                Some((_, than)) => {
                    shell::status(Command::new("dpkg").args(["--compare-versions", &version, "gt", than]))?.success()
                }
                None => true,
            };
            if newer {
                best = Some((name.to_owned(), version));
            }
        }
        best.with_context(|| format!("Debian {} has no package like {pattern}", self.release))
    }

    fn download(&self, package: &str) -> Result<PathBuf> {
        shell::run(self.command("apt-get").args(["download", "-qq", package]))?;
        let entries = fs::read_dir(&self.dir)?.collect::<Result<Vec<_>, _>>()?;
        let deb = entries.into_iter().map(|e| e.path()).find(|p| p.extension().is_some_and(|e| e == "deb"));
        match deb {
            Some(deb) => Ok(deb),
            None => bail!("apt-get download {package} has left no package"),
        }
    }
}

fn is_like(name: &str, pattern: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return name == pattern };
    name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_by_pattern() {
        let pattern = "linux-image-6.1.0-*-cloud-amd64";
        assert!(is_like("linux-image-6.1.0-56-cloud-amd64", pattern));
        for other in ["linux-image-6.1.0-56-cloud-amd64-dbg", "linux-image-6.1.0-56-amd64", "linux-image-6.12-cloud-amd64"] {
            assert!(!is_like(other, pattern), "{other}");
        }
    }

    #[test]
    fn what_did_not_hold_is_said_with_its_kernel() {
        let check = |failure: Option<&str>| vm::Check {
            capture: "raw".into(),
            name: "overload".into(),
            failure: failure.map(str::to_owned),
        };
        let checks = vec![check(None), check(Some("one call too many"))];
        let report = Report { release: "5.10.0-1".into(), auto: "hash".into(), cgroups: "v2".into(), checks };
        assert_eq!(failed(&report), ["kernel 5.10.0-1, --capture raw, overload: one call too many"]);
        assert_eq!(table(&report, 1.0).lines().count(), 3);
    }
}
