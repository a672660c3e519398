//! What an uplink is made of.
//!
//! In: the configuration. Out: [`Options`]. Never: a default.

use std::time::Duration;

/// What an uplink is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// The scorer: `http://host:port`.
    pub scorer: String,
    /// This node's name.
    pub node: String,
    /// Capacity of the queue, bytes of memory; when full the oldest batches go first.
    pub queue_bytes: usize,
    /// An open batch is closed at this age.
    pub flush_interval: Duration,
    /// Bytes a second on the wire above which whole containers are sent in turns; 0: no bound.
    pub byte_budget: u64,
    /// What calls are about is told.
    pub names: bool,
}
