//! What is played.
//!
//! In: nothing. Out: a [`Plan`], and what all plans share. Never: an agent or a container of its own.

use std::time::Duration;

/// A container's stretch of calls begins once in this time.
pub const PERIOD: Duration = Duration::from_secs(4);
/// One container in so many is busy.
pub const BUSY_OF: usize = 30;
/// How many times the calls of another container a busy one makes.
pub const BUSY: usize = 10;
/// What is played.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Nodes.
    pub agents: usize,
    /// Containers on each.
    pub containers: usize,
    /// Calls a second of a container, on average, at 1x.
    pub rate: f64,
    /// Multiples of `rate`, one after the other.
    pub steps: Vec<u32>,
    /// How long a step is.
    pub step: Duration,
    /// How often an agent sends what there is.
    pub flush: Duration,
}
