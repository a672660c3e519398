//! The real agent.
//!
//! In: its command line. Out: a [`Daemon`]. Never: a fake one.

use crate::{Daemon, Scratch, daemon};
use anyhow::Result;
use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

/// Where it is; `SURPRISAL_AGENT` overrides it.
pub fn binary() -> Result<PathBuf> {
    daemon::binary("surprisal-agent", "SURPRISAL_AGENT")
}

/// `surprisal-agent ARGS…`, to be started or run; the user's own configuration is kept away from it.
pub fn command(args: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(args);
    for name in ["SURPRISAL_SCORER", "NODE_NAME", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1");
    Ok(command)
}

/// Starts `surprisal-agent ARGS…`.
pub fn start(scratch: &Scratch, args: &[&str]) -> Result<Daemon> {
    Daemon::start(scratch, "agent", &mut command(args)?)
}

/// Runs `surprisal-agent ARGS…` to its end.
pub fn run(args: &[&str]) -> Result<Output> {
    Ok(command(args)?.stdin(Stdio::null()).output()?)
}

/// Where an agent's admin endpoint listens, by its log: the address that was really bound.
pub fn admin_address(log: &str) -> Option<String> {
    let line = log.lines().find(|l| l.contains("admin endpoint"))?;
    let start = line.find("127.0.0.1:")?;
    Some(line[start..].split(|c: char| c != '.' && c != ':' && !c.is_ascii_digit()).next()?.to_owned())
}
