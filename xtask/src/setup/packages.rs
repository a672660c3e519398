//! Distribution packages, through apt.
//!
//! In: [`Need`]s. Out: their files are there. Never: looks at the package database when the files are there
//! already, so that other distributions and hand-made installations are fine too.

use crate::shell::{self, Exit, NO_RIGHTS};
use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

/// Something that has to be on the machine.
pub(super) struct Need {
    /// A program in PATH (no slash), or a file.
    pub(super) file: &'static str,
    /// Debian's package.
    pub(super) package: &'static str,
}

impl Need {
    fn is_met(&self) -> bool {
        if self.file.contains('/') { Path::new(self.file).exists() } else { shell::find(self.file).is_some() }
    }
}

/// Load generators, and the peers that `bench overhead` measures beside the agent.
pub(super) const BENCH: [Need; 7] = [
    Need { file: "redis-benchmark", package: "redis-tools" },
    Need { file: "wrk", package: "wrk" },
    Need { file: "mariadb-slap", package: "mariadb-client" },
    Need { file: "strace", package: "strace" },
    Need { file: "bpftrace", package: "bpftrace" },
    Need { file: "perf", package: "linux-perf" },
    Need { file: "taskset", package: "util-linux" },
];

/// auditd and what it needs.
pub(super) const AUDITD: [&str; 3] = ["auditd", "libauparse0", "libwrap0"];

/// `apt-get update` ran in this process.
static UPDATED: AtomicBool = AtomicBool::new(false);

/// Installs the packages whose file is missing.
pub(super) fn ensure(needs: &[Need]) -> Result<()> {
    let mut packages: Vec<_> = needs.iter().filter(|n| !n.is_met()).map(|n| n.package).collect();
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    if shell::find("apt-get").is_none() {
        let files: Vec<_> = needs.iter().filter(|n| !n.is_met()).map(|n| n.file).collect();
        bail!("missing: {}; install what your distribution calls the Debian packages {}", files.join(", "), packages.join(" "));
    }
    install(&packages)?;
    if let Some(need) = needs.iter().find(|n| !n.is_met()) {
        bail!("package {} is installed and {} is still missing", need.package, need.file);
    }
    Ok(())
}

/// Installs `packages`, whether or not they are there.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    if !rustix::process::geteuid().is_root() {
        let message = format!("missing packages; as root: apt-get update && apt-get install -y --no-install-recommends {names}");
        return Err(Exit::new(NO_RIGHTS, message).into());
    }
    update()?;
    println!("setup: installing {names} ({})", size(packages));
    shell::run(apt().args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages).stdout(std::process::Stdio::null()))
}

/// Unpacks `packages` into the directory `to` without installing them: no maintainer script runs, so no daemon starts and no
/// configuration of the machine's own changes.
pub(super) fn unpack(packages: &[&str], to: &Path) -> Result<()> {
    let parent = to.parent().context("a directory of the cache has a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    let made = tempfile::tempdir_in(parent).with_context(|| format!("making a directory in {}", parent.display()))?;
    let (archives, root) = (made.path().join("archives"), made.path().join("root"));
    fs::create_dir(&archives)?;
    update()?;
    println!("setup: unpacking {} into {} (1 MB)", packages.join(" "), to.display());
    let mut download = apt();
    // As root: apt's own user may not write there, and says so at length.
    download.args(["-qq", "-o", "APT::Sandbox::User=root", "download"]).args(packages).current_dir(&archives);
    shell::run(&mut download)?;
    for archive in fs::read_dir(&archives)? {
        shell::run(Command::new("dpkg").arg("-x").arg(archive?.path()).arg(&root))?;
    }
    // At once: what is there is whole.
    fs::rename(&root, to).with_context(|| format!("moving what was unpacked to {}", to.display()))
}

fn update() -> Result<()> {
    if !UPDATED.swap(true, Ordering::Relaxed) {
        println!("setup: apt-get update");
        shell::run(apt().args(["update", "-qq"]))?;
    }
    Ok(())
}

fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    // Without debconf's questions; messages in the language that `size` reads.
    apt.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8");
    // Another apt may be at work.
    apt.args(["-o", "DPkg::Lock::Timeout=300"]);
    apt
}

/// What apt says of download and disk: `137 MB to download, 779 MB on disk`.
fn size(packages: &[&str]) -> String {
    // It answers its own question with no and ends with 1.
    let out = apt().args(["install", "--assume-no", "--no-install-recommends"]).args(packages).output();
    let text = out.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    parse_size(&text).unwrap_or_else(|| "size unknown".to_owned())
}

fn parse_size(text: &str) -> Option<String> {
    // `Need to get 12 MB of archives.` or `Need to get 1 MB/12 MB of archives.`
    let get = text.split("Need to get ").nth(1)?.split(" of archives").next()?;
    let disk = text.split("After this operation, ").nth(1)?.split(" of additional").next()?;
    Some(format!("{} to download, {disk} on disk", get.split('/').next()?))
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn reads_sizes_from_apt() {
        let apt = |get: &str| {
            format!("Need to get {get} of archives.\nAfter this operation, 779 MB of additional disk space will be used.\n")
        };
        assert_eq!(parse_size(&apt("137 MB")).as_deref(), Some("137 MB to download, 779 MB on disk"));
        assert_eq!(parse_size(&apt("0 B/137 MB")).as_deref(), Some("0 B to download, 779 MB on disk"));
        assert_eq!(parse_size("E: Unable to locate package"), None);
    }
}
