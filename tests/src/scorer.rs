//! The real scorer.
//!
//! In: a directory of profiles. Out: a served address, or the end of a command. Never: a fake one.

use crate::{Daemon, Scratch, daemon};
use anyhow::{Context as _, Result};
use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

/// Where it is; `SURPRISAL_SCORER_BINARY` overrides it.
pub fn binary() -> Result<PathBuf> {
    daemon::binary("surprisal-scorer", "SURPRISAL_SCORER_BINARY")
}

/// `surprisal-scorer ARGS…`, to be started or run; the user's own configuration is kept away from it.
pub fn command(args: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(args);
    for name in ["SURPRISAL_SCORER", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1").env("OMP_WAIT_POLICY", "PASSIVE");
    Ok(command)
}

/// Runs `surprisal-scorer ARGS…` to its end.
pub fn run(args: &[&str]) -> Result<Output> {
    Ok(command(args)?.stdin(Stdio::null()).output()?)
}

/// A serving scorer.
#[derive(Debug)]
pub struct Scorer {
    /// Its process.
    pub daemon: Daemon,
    address: SocketAddr,
}

impl Scorer {
    /// Serves `profiles` on a free port of loopback, and waits until it takes connections.
    pub fn serve(scratch: &Scratch, profiles: &Path, args: &[&str]) -> Result<Self> {
        Self::serve_at(scratch, free_address()?, profiles, args)
    }

    /// Serves on `address`: where an earlier one has been.
    pub fn serve_at(scratch: &Scratch, address: SocketAddr, profiles: &Path, args: &[&str]) -> Result<Self> {
        let listen = address.to_string();
        let mut command = command(&["serve", "--listen", &listen, "--profiles"])?;
        let mut daemon = Daemon::start(scratch, "scorer", command.arg(profiles).args(args))?;
        let timeout = Duration::from_millis(200);
        daemon.wait_until("it takes connections", Duration::from_secs(30), |_| {
            TcpStream::connect_timeout(&address, timeout).is_ok()
        })?;
        Ok(Self { daemon, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as agents and commands take it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A port of loopback that is free now.
pub fn free_address() -> Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).context("no free port on loopback")
}
