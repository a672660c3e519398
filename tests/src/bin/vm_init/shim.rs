//! A stand-in for `containerd-shim`: there is no room for a container runtime in this machine.
//!
//! In: a container's id, a program that joins it later (or `-`), and the container's command. Out: on standard output,
//! `ended CODE` when the container's first process has ended; then it waits for the end of its standard input, as a shim stays
//! until its containerd lets go. Never: more than the agent looks at.
//!
//! It has what the agent tells a shim and a container by: its name, a working directory that is the OCI bundle, a child
//! outside of it all (runc's part) that joins a cgroup and executes the container's program in namespaces of its own, and a second
//! child that enters them (as `kubectl exec` does).

use anyhow::{Context as _, Result, ensure};
use std::{
    env, fs,
    io::{Read as _, Write as _},
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};
use surprisal_e2e::wait::try_wait_for;

/// Where containerd has its bundles; the last part is the runtime's namespace.
const BUNDLES: &str = "/run/containerd/io.containerd.runtime.v2.task/default";
/// Where containers have their cgroups.
const CGROUPS: &str = "/sys/fs/cgroup/default";

pub(crate) fn main(args: &[String]) -> ExitCode {
    match hold(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn hold(args: &[String]) -> Result<()> {
    let [id, also, command @ ..] = args else { anyhow::bail!("usage: ID PROGRAM|- COMMAND…") };
    let bundle = Path::new(BUNDLES).join(id);
    fs::create_dir_all(&bundle)?;
    let config = format!("{{\"ociVersion\":\"1.0.2\",\"linux\":{{\"cgroupsPath\":\"/default/{id}\"}}}}");
    fs::write(bundle.join("config.json"), config)?;
    env::set_current_dir(&bundle)?;
    let cgroup = format!("{CGROUPS}/{id}");
    fs::create_dir_all(&cgroup)?;
    let join = |script: &str| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("echo 0 >\"$0/cgroup.procs\" && {script}"), &cgroup]).stdin(Stdio::null());
        command
    };
    let mut first = join("exec unshare -m -p -f \"$@\"").args(command).spawn()?;
    if also != "-" {
        let namespace = format!("/proc/{}/ns/mnt", first.id());
        let ours = fs::read_link("/proc/self/ns/mnt")?;
        let entered = try_wait_for(Duration::from_secs(60), || fs::read_link(&namespace).ok().filter(|ns| *ns != ours));
        entered.context("the container has no mount namespace of its own")?;
        let status = join("exec nsenter \"--mount=$1\" \"$2\"").args([&namespace, also]).status()?;
        ensure!(status.success(), "{also} inside the container ended with {status}");
    }
    let status = first.wait()?;
    println!("ended {}", status.code().unwrap_or(-1));
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    // The last process of it may still be on its way out.
    try_wait_for(Duration::from_secs(10), || fs::remove_dir(&cgroup).ok());
    Ok(())
}
