//! An nginx server with one small file, and a page with its own counters.
//!
//! In: a containerd and a network namespace. Out: `/` and `/status` on 127.0.0.1:8080; one worker process; its access log
//! goes to /dev/null, which costs the calls and no disk. Never: reached from outside the namespace.

use crate::{Container, Containerd, Netns, Run, attacks::attacker, images, wait::try_wait_for};
use anyhow::{Context as _, Result};
use std::{fs, time::Duration};

const CONFIGURATION: &str = include_str!("../../fixtures/bench/nginx.conf");

/// A running server.
#[derive(Debug)]
pub struct StaticFiles {
    /// Its container.
    pub container: Container,
}

impl StaticFiles {
    /// Where it listens, inside the namespace.
    pub const PORT: u16 = 8080;

    /// Starts one as container `id`, and waits until it answers.
    pub fn start(containerd: &Containerd, network: &Netns, id: &str) -> Result<Self> {
        let image = images::debian("nginx-perl", &["nginx", "libnginx-mod-http-perl", "bash", "coreutils"])?;
        super::mariadb::import_once(containerd, &image)?;
        let directory = containerd.scratch().path().join(id);
        fs::create_dir_all(directory.join("www")).with_context(|| format!("creating {}", directory.display()))?;
        fs::write(directory.join("nginx.conf"), CONFIGURATION)?;
        fs::write(directory.join("www/index.html"), "<p>All sales are final.</p>\n".repeat(30))?;
        let run = Run::new(id, &image, &["nginx", "-c", "/srv/nginx.conf"]).netns(&network.path()).mount(&directory, "/srv");
        let container = containerd.run(&run)?;
        let answers = || attacker::http(network, Self::PORT, "GET", "/", "", "").ok().filter(|a| a.contains("final"));
        try_wait_for(Duration::from_secs(30), answers)
            .with_context(|| format!("nginx does not answer; it wrote:\n{}", container.log()))?;
        Ok(Self { container })
    }
}
