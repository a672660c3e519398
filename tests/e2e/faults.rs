//! What must hold when something breaks.
//!
//! | fault | what must hold | test |
//! |---|---|---|
//! | `kill -9` of the agent | nothing of it stays in the kernel; the next one takes up the same containers, each once | [`killed`] |
//! | `kill -9` of the scorer | the agent keeps what it can hold, delivers it once, and counts the rest | `line` |
//! | `kill -9` of a container's shim | its threads are followed on, or their end is told; nobody else's notice | [`killed`] |
//! | a full disk under the JSON Lines file | capture and the scorer go on; what is missing from the file is counted, said once | [`disk`] |
//! | a full disk under the scorer's profiles | the change is refused with a reason; what was in force stays, also on the disk | [`disk`] |
//! | the clock jumps, by hours, both ways | every call still arrives once, scores go on, nothing dies | [`clock`] |
//! | a scorer that acknowledges late | capture goes on, the agent's memory stays, what it drops is counted: in = out + dropped + waiting | [`network`] |
//! | a half-open connection | the agent notices by its keep-alive and reconnects; the scorer lets go of the stream by its own | [`network`] |
//! | a hostile agent | the scorer's memory stays, its ids are refused beyond a bound, other nodes' containers are followed on | [`hostile`] |
//!
//! All faults are real but two: clocks jump by libfaketime, since the machine's own clock is everybody's; and the slow scorer is
//! a stand-in, since a real one is not slow by order.

mod clock;
mod disk;
mod hostile;
mod killed;
mod network;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Command,
    time::Duration,
};
use surprisal_e2e::{Container, Containerd, Daemon, Run, agent, images, images::Archive, scorer, wait_for};

const SOON: Duration = Duration::from_secs(30);

/// A containerd with busybox in it.
fn containerd() -> Result<(Containerd, Archive)> {
    let containerd = Containerd::start()?;
    let busybox = images::busybox()?;
    containerd.import(&busybox)?;
    Ok((containerd, busybox))
}

/// A container that makes a thousand calls a second.
fn steady(containerd: &Containerd, image: &Archive, id: &str) -> Result<Container> {
    containerd.run(&Run::new(id, image, &["workload", "steady", "100", "100"]))
}

/// `surprisal-agent run` for this containerd's containers, with its metrics on a free port.
fn agent_command(containerd: &Containerd, url: &str, flags: &[&str]) -> Result<Command> {
    let select = format!("namespace={}", containerd.namespace());
    let mut args = vec!["run", "--scorer", url, "--select", &select, "--admin", "127.0.0.1:0"];
    args.extend(flags);
    agent::command(&args)
}

fn start_agent(containerd: &Containerd, url: &str, flags: &[&str]) -> Result<Daemon> {
    let mut daemon = Daemon::start(containerd.scratch(), "agent", &mut agent_command(containerd, url, flags)?)?;
    daemon.wait_for_log("capturing", SOON)?;
    Ok(daemon)
}

/// Every container that the scorer lists, as `scores list -o json` prints them.
fn scores(url: &str) -> Vec<Value> {
    let out = scorer::run(&["scores", "list", "--scorer", url, "-o", "json"]);
    let Some(out) = out.ok().filter(|out| out.status.success()) else { return Vec::new() };
    match serde_json::from_slice(&out.stdout) {
        Ok(Value::Array(scores)) => scores,
        Ok(Value::Object(mut all)) => all.remove("scores").and_then(|s| s.as_array().cloned()).unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn score(url: &str, id: &str) -> Option<Value> {
    let out = scorer::run(&["scores", "get", "--id", id, "--scorer", url, "-o", "json"]).ok()?;
    out.status.success().then(|| serde_json::from_slice(&out.stdout).expect("JSON"))
}

fn calls(score: &Value) -> u64 {
    score["calls"].as_u64().expect("a number of calls")
}

/// Waits until the scorer has more than `than` calls of a container; how many it has.
#[track_caller]
fn more_calls(url: &str, id: &str, than: u64) -> u64 {
    let what = format!("more than {than} calls of {id}");
    wait_for(&what, SOON, || score(url, id).map(|s| calls(&s)).filter(|n| *n > than))
}

/// A page of a program's admin endpoint; where that listens, its log says.
fn page(daemon: &Daemon, path: &str) -> Result<String> {
    let log = daemon.log();
    let is_it = |l: &&str| ["admin endpoint", "serving metrics"].iter().any(|said| l.contains(said));
    let line = log.lines().find(is_it).context("no admin endpoint in the log")?;
    let at = line.find("127.0.0.1:").context("no address of the admin endpoint")?;
    let address: String = line[at..].chars().take_while(|c| *c == '.' || *c == ':' || c.is_ascii_digit()).collect();
    let mut stream = TcpStream::connect(&address).with_context(|| format!("connecting to {address}"))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// The sum of a metric over its labels.
fn metric(daemon: &Daemon, name: &str) -> Result<u64> {
    let text = page(daemon, "/metrics")?;
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let rest = if rest.starts_with('{') { rest.split_once('}')?.1 } else { rest };
        rest.starts_with(' ').then(|| rest.trim().parse::<f64>().ok()).flatten()
    });
    let values: Vec<_> = values.collect();
    ensure!(!values.is_empty(), "no metric {name} in:\n{text}");
    Ok(values.iter().sum::<f64>() as u64)
}

/// `command` in a mount namespace of its own, where a file system of `size` in memory lies at `dir`.
fn on_small_disk(command: &Command, dir: &Path, size: &str) -> Command {
    let mut unshare = Command::new("unshare");
    let script = format!("mount -t tmpfs -o size={size} none \"$0\" && exec \"$@\"");
    unshare.args(["--mount", "--propagation", "private", "sh", "-c", &script]).arg(dir);
    unshare.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => unshare.env(name, value),
            None => unshare.env_remove(name),
        };
    }
    unshare
}
