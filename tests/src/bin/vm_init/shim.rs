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
use rustix::process::{Pid, Signal, kill_process};
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
        // Its own program sleeps: it has done what it was to do, and stays to be joined.
        let sleeper = try_wait_for(Duration::from_mins(1), || sleeping(&cgroup, &command[0]));
        let namespace = format!("/proc/{}/ns/mnt", sleeper.context("the container's program does not come to rest")?);
        let status = join("exec nsenter \"--mount=$1\" \"$2\"").args([&namespace, also]).status()?;
        ensure!(status.success(), "{also} inside the container ended with {status}");
        for pid in processes(&cgroup).into_iter().filter_map(Pid::from_raw) {
            kill_process(pid, Signal::KILL)?;
        }
    }
    let status = first.wait()?;
    println!("ended {}", status.code().unwrap_or(-1));
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    // The last process of it may still be on its way out.
    try_wait_for(Duration::from_secs(10), || fs::remove_dir(&cgroup).ok());
    Ok(())
}

/// Processes in a cgroup, by the pid namespace that this one is in.
fn processes(cgroup: &str) -> Vec<i32> {
    let text = fs::read_to_string(format!("{cgroup}/cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// The process of that name, once it sleeps.
fn sleeping(cgroup: &str, name: &str) -> Option<i32> {
    let rests = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains(&format!("({name}) S "))
    };
    processes(cgroup).into_iter().find(rests)
}
