//! A redis server that keeps everything in memory.
//!
//! In: a containerd and a network namespace. Out: a server on 127.0.0.1:6379. Never: writes a snapshot or a log of
//! changes, or is reached from outside the namespace.

use super::wait_for_log;
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

    /// Starts one as container `id`, and waits until it takes connections.
    pub fn start(containerd: &Containerd, network: &Netns, id: &str) -> Result<Self> {
        let image = images::redis()?;
        super::mariadb::import_once(containerd, &image)?;
        let command = ["redis-server", "--bind", "127.0.0.1", "--dir", "/tmp", "--save", "", "--appendonly", "no"];
        let container = containerd.run(&Run::new(id, &image, &command).netns(&network.path()))?;
        wait_for_log(&container, "Ready to accept connections", Duration::from_secs(30))?;
        Ok(Self { container })
    }
}
