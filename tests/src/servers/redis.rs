//! A redis server, and bursts of the usual commands on it.
//!
//! In: a containerd and a network namespace. Out: a server on 127.0.0.1:6379. Never: writes a log of changes; a snapshot
//! unless it was asked for; reached from outside the namespace.

use super::{Load, wait_for_log};
use crate::{Container, Containerd, Netns, Run, images};
use anyhow::Result;
use std::time::Duration;

/// A running server.
#[derive(Debug)]
pub struct Redis {
    /// Its container.
    pub container: Container,
}

impl Redis {
    /// Where it listens, inside the namespace.
    pub const PORT: u16 = 6379;

    /// Starts one as container `id` that keeps everything in memory, and waits until it takes connections.
    pub fn start(containerd: &Containerd, network: &Netns, id: &str) -> Result<Self> {
        Self::start_saving(containerd, network, id, "")
    }

    /// Starts one that writes a snapshot as its option `save` says: "60 100" for a minute with 100 changes or more.
    pub fn start_saving(containerd: &Containerd, network: &Netns, id: &str, save: &str) -> Result<Self> {
        let image = images::redis()?;
        super::mariadb::import_once(containerd, &image)?;
        let command = ["redis-server", "--bind", "127.0.0.1", "--dir", "/tmp", "--save", save, "--appendonly", "no"];
        let container = containerd.run(&Run::new(id, &image, &command).netns(&network.path()))?;
        wait_for_log(&container, "Ready to accept connections", Duration::from_secs(30))?;
        Ok(Self { container })
    }

    /// Starts bursts on it from container `id`, with half a second between.
    pub fn load(containerd: &Containerd, network: &Netns, id: &str) -> Result<Load> {
        let load = "while :; do
            redis-benchmark -q -n 200 -c 4 -r 1000 -t set,get,incr,lpush,rpop,sadd,hset,zadd >/dev/null; sleep 0.5
        done";
        let run = Run::new(id, &images::redis()?, &["bash", "-c", load]).netns(&network.path());
        Ok(Load::new(containerd.run(&run)?))
    }
}
