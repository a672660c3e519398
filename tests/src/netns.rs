//! Network namespaces of a test's own.
//!
//! In: nothing. Out: a namespace, or two that are linked. Never: an address, a route, a rule or a name on the host:
//! a sleeping process holds the namespace, and its file in /proc is how others join it.

use crate::{Daemon, Scratch, wait::try_wait_for};
use anyhow::{Context as _, Result, bail};
use std::{fs, path::PathBuf, process::Command, time::Duration};

/// A network namespace; it goes with this value.
#[derive(Debug)]
pub struct Netns {
    holder: Daemon,
}

impl Netns {
    /// One with nothing but loopback.
    pub fn new(scratch: &Scratch) -> Result<Self> {
        let holder = Daemon::start(scratch, "netns", Command::new("unshare").args(["--net", "sleep", "infinity"]))?;
        let namespace = Self { holder };
        let own = fs::read_link("/proc/self/ns/net")?;
        try_wait_for(Duration::from_secs(10), || fs::read_link(namespace.path()).ok().filter(|link| *link != own))
            .with_context(|| format!("no network namespace: {}", namespace.holder.log()))?;
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Two, linked by a pair of interfaces `eth0`: the first is 10.77.0.1, the second 10.77.0.2.
    pub fn pair(scratch: &Scratch) -> Result<(Self, Self)> {
        let (a, b) = (Self::new(scratch)?, Self::new(scratch)?);
        let peer = b.holder.pid().to_string();
        a.ip(&["link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", &peer])?;
        for (namespace, address) in [(&a, "10.77.0.1/24"), (&b, "10.77.0.2/24")] {
            namespace.ip(&["address", "add", address, "dev", "eth0"])?;
            namespace.ip(&["link", "set", "eth0", "up"])?;
        }
        Ok((a, b))
    }

    /// Its file, for a container to join.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.holder.pid()).into()
    }

    /// `program` inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg(program);
        command
    }

    fn ip(&self, args: &[&str]) -> Result<()> {
        let out = self.command("ip").args(args).output().context("starting nsenter")?;
        if !out.status.success() {
            bail!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr).trim());
        }
        Ok(())
    }
}
