//! Where records go.
//!
//! In: [`Record`]s, from the capture thread. Out: nothing, or why a sink cannot go on.

use crate::record::Record;

/// Where records go. Called from the capture thread only.
pub trait Sink: Send {
    /// Takes one record. An error ends the agent: a sink that can go on without it counts and returns `Ok`.
    fn take(&mut self, record: &Record) -> Result<(), SinkError>;
    /// Called when there is nothing more to take for now.
    fn idle(&mut self) -> Result<(), SinkError>;
    /// Called once, last.
    fn finish(&mut self) -> Result<(), SinkError>;
}

/// Why a sink cannot go on.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;
