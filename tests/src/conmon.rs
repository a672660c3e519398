//! A container as CRI-O and podman hold one: conmon, runc, and a bundle in the place where they put it.
//!
//! In: a name and a command of busybox's. Out: it runs until this is dropped. Never: CRI-O or podman themselves; conmon and runc are
//! started by hand, with the arguments that podman gives them.

use crate::{Scratch, images::host_busybox, wait::try_wait_for};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// A running container; it ends with this.
#[derive(Debug)]
pub struct Conmon {
    id: String,
    pid: u32,
    state: PathBuf,
}

impl Conmon {
    /// Starts `command` in a container called `name`; a cgroup of that name is `scratch`'s.
    pub fn start(scratch: &Scratch, name: &str, command: &[&str]) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // As long as theirs.
        let id = format!("{:0>60}{:0>4}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let (bundle, state) = (scratch.path().join("overlay-containers").join(&id).join("userdata"), scratch.path().join("runc"));
        let group = format!("e2e-conmon-{}", std::process::id());
        scratch.owns_cgroup(&group)?;
        root(&bundle.join("rootfs"))?;
        run(Command::new("runc").args(["spec", "--bundle"]).arg(&bundle))?;
        let path = bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
        config["process"]["args"] = command.iter().copied().collect();
        config["process"]["terminal"] = false.into();
        config["linux"]["cgroupsPath"] = format!("/{group}/libpod-{id}").into();
        config["annotations"]["io.container.manager"] = "libpod".into();
        fs::write(&path, config.to_string())?;
        let pid_file = bundle.join("pidfile");
        let mut conmon = Command::new("conmon");
        conmon.args(["--api-version", "1", "-c", &id, "-u", &id, "-n", name, "-r"]).arg(runc()?);
        conmon.arg("--runtime-arg").arg(format!("--root={}", state.display())).arg("-b").arg(&bundle).arg("-p").arg(&pid_file);
        conmon
            .arg("-l")
            .arg(format!("k8s-file:{}", bundle.join("ctr.log").display()))
            .arg("--exit-dir")
            .arg(scratch.path())
            .arg("--socket-dir-path")
            .arg(scratch.path());
        // Both do so: a conmon lives in its container's bundle.
        run(conmon.current_dir(&bundle))?;
        let pid = try_wait_for(Duration::from_secs(20), || fs::read_to_string(&pid_file).ok()?.trim().parse().ok());
        let pid = pid.with_context(|| format!("conmon has written no {}", pid_file.display()))?;
        scratch.owns_process(pid)?;
        run(Command::new("runc").arg(format!("--root={}", state.display())).args(["start", &id]))?;
        Ok(Self { id, pid, state })
    }

    /// The container's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its first process.
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

impl Drop for Conmon {
    fn drop(&mut self) {
        let mut delete = Command::new("runc");
        let _ = delete.arg(format!("--root={}", self.state.display())).args(["delete", "--force", &self.id]).output();
    }
}

/// A root file system of busybox's.
fn root(dir: &Path) -> Result<()> {
    for name in ["bin", "dev", "proc", "sys", "tmp"] {
        fs::create_dir_all(dir.join(name)).with_context(|| format!("creating {}", dir.display()))?;
    }
    fs::copy(host_busybox()?, dir.join("bin/busybox"))?;
    for applet in ["sh", "sleep", "cat", "true"] {
        symlink("busybox", dir.join("bin").join(applet))?;
    }
    Ok(())
}

/// conmon asks for a path.
fn runc() -> Result<&'static str> {
    let found = ["/usr/sbin/runc", "/usr/bin/runc"].into_iter().find(|p| Path::new(p).is_file());
    found.context("no runc; `cargo xtask setup containers` installs it")
}

fn run(command: &mut Command) -> Result<()> {
    let out = command.output().with_context(|| format!("starting {}", command.get_program().display()))?;
    ensure!(out.status.success(), "{command:?} ended with {}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim());
    Ok(())
}
