//! `vm-init`: the first process of a virtual machine that shows whether the agent keeps its promises on its kernel.
//!
//! In: nothing but the machine. Out: one [`Report`] on the console, then the machine is off. Never: returns, since a
//! first process that ends is a panic of the kernel.
//!
//! Called as `containerd-shim-fake` it is the shim of one container: see [`shim`]. With `--check NAME CAPTURE` it looks at one promise.

mod checks;
mod shim;

use anyhow::{Context as _, Result, ensure};
use std::{
    env, fs,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};
use surprisal_e2e::vm::{Check, Report, STARTED};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().collect();
    if args.first().is_some_and(|name| name.ends_with("containerd-shim-fake")) {
        return shim::main(&args[1..]);
    }
    if let [_, flag, name, capture] = &args[..]
        && flag == "--check"
    {
        return match checks::one(name, capture) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                println!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    if std::process::id() != 1 {
        eprintln!("vm-init is the first process of a virtual machine: see `cargo xtask vm`");
        return ExitCode::from(2);
    }
    println!("\n{STARTED}");
    match start() {
        Ok(report) => println!("\n{}", report.line()),
        Err(error) => println!("\nvm-init: {error:#}"),
    }
    let _ = Command::new("/bin/poweroff").arg("-f").status();
    loop {
        std::thread::sleep(Duration::from_mins(1));
    }
}

fn start() -> Result<Report> {
    for (kind, at) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
        ("tmpfs", "/run"),
        ("cgroup2", "/sys/fs/cgroup"),
    ] {
        run(&["mount", "-t", kind, kind, at])?;
    }
    run(&["mount", "-t", "bpf", "bpf", "/sys/fs/bpf"])?;
    run(&["ip", "link", "set", "lo", "up"])?;
    // Where it is missing, some kernels' security modules refuse programs that are opened by descriptor.
    if !fs::exists("/dev/fd")? {
        std::os::unix::fs::symlink("/proc/self/fd", "/dev/fd")?;
    }
    let probe = Command::new("/bin/surprisal-agent").args(["probe", "--output", "json"]).stdin(Stdio::null()).output()?;
    let probe: serde_json::Value = serde_json::from_slice(&probe.stdout)
        .with_context(|| format!("the agent's probe: {}", String::from_utf8_lossy(&probe.stderr)))?;
    let word = |at: &str| probe.pointer(at).and_then(|v| v.as_str()).unwrap_or("unknown").to_owned();
    ensure!(probe["verdict"] == "ready", "the agent cannot capture here: {}", probe["obstacles"]);
    let auto = word("/would_use/capture");
    let mut checks = Vec::new();
    for capture in ["auto", "hash", "raw"] {
        // What auto comes to is not checked twice.
        if capture == auto {
            continue;
        }
        println!("vm-init: {} with --capture {capture}", word("/kernel/release"));
        for (name, check) in checks::ALL {
            let failure = check(capture).err().map(|error| format!("{error:#}"));
            println!("vm-init: {name}: {}", failure.as_deref().unwrap_or("held"));
            checks.push(Check { capture: capture.to_owned(), name: name.to_owned(), failure });
        }
    }
    Ok(Report { release: word("/kernel/release"), auto, cgroups: word("/cgroups/version"), checks })
}

fn run(command: &[&str]) -> Result<()> {
    // There is no /dev/null before the first of them.
    let out = Command::new(format!("/bin/{}", command[0])).args(&command[1..]).stdin(Stdio::inherit()).output();
    let out = out.with_context(|| command.join(" "))?;
    ensure!(out.status.success(), "{}: {}", command.join(" "), String::from_utf8_lossy(&out.stderr).trim());
    Ok(())
}
