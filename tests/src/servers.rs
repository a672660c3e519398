//! Servers in containers, with the load that is normal for them.
//!
//! In: a containerd and a network namespace. Out: a server that answers, loads on it that are started and stopped, and
//! what it said. Never: traffic outside that namespace; a load inside the server's own container, where it would be recorded.

pub mod mariadb;
pub mod nginx;
pub mod postgres;
pub mod redis;
pub mod shop;
pub mod static_files;
pub mod webapp;

pub use mariadb::{Mariadb, Slap};
pub use nginx::Nginx;
pub use postgres::Postgres;
pub use redis::Redis;
pub use shop::Shop;
pub use static_files::StaticFiles;
pub use webapp::WebApp;

use crate::{Container, wait::try_wait_for};
use anyhow::{Result, ensure};
use std::time::Duration;

/// Load that goes on in a container of its own until it is stopped.
#[derive(Debug)]
pub struct Load {
    container: Container,
}

impl Load {
    /// Takes a container whose first process finishes what it does on SIGTERM and ends.
    fn new(container: Container) -> Self {
        Self { container }
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        self.container.log()
    }

    /// How often it has written `text` so far.
    pub fn count(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// Waits until it has written `text` `times` more often than now; an error when it ends before.
    pub fn wait_for(&self, text: &str, times: usize, timeout: Duration) -> Result<()> {
        let goal = self.count(text) + times;
        wait_until(&self.container, &format!("{text:?} {times} times"), timeout, |log| log.matches(text).count() >= goal)
    }

    /// Freezes it: its connections stay, and nothing comes on them.
    pub fn pause(&self) -> Result<()> {
        self.container.pause()
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<()> {
        self.container.resume()
    }

    /// Ends it in the middle of what it does, and removes it. It is not frozen.
    pub fn kill(self) -> Result<()> {
        self.container.signal("KILL")?;
        self.container.wait(Duration::from_mins(1));
        self.container.remove()
    }

    /// Lets it finish what it does, removes it, and returns what it wrote; an error when it had ended by itself.
    pub fn stop(self) -> Result<String> {
        ensure!(self.container.is_running(), "{} ended by itself; it wrote:\n{}", self.container.id(), self.log());
        self.container.signal("TERM")?;
        self.container.wait(Duration::from_mins(2));
        let log = self.log();
        self.container.remove()?;
        Ok(log)
    }
}

/// Waits until `container` has written `text`; an error, with what it wrote, when it ends first or `timeout` is over.
fn wait_for_log(container: &Container, text: &str, timeout: Duration) -> Result<()> {
    wait_until(container, &format!("{text:?}"), timeout, |log| log.contains(text))
}

fn wait_until(container: &Container, what: &str, timeout: Duration, condition: impl Fn(&str) -> bool) -> Result<()> {
    let met = try_wait_for(timeout, || {
        // Asked before the look at the log: what it wrote before its end counts.
        let running = container.is_running();
        if condition(&container.log()) { Some(true) } else { (!running).then_some(false) }
    });
    let why = if met.is_some() { "it ended" } else { "the time was over" };
    ensure!(met == Some(true), "waited for {} to write {what}; {why}; it wrote:\n{}", container.id(), container.log());
    Ok(())
}
