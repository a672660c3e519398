//! What goes from the containers to the model: a window, and whose it is.
//!
//! In: a container's key, a thread's window. Out: [`Job`]s. Never: what is said of one.

use crate::containers::thread::ThreadId;
use crate::detect::window::Window;
use crate::ingest::wire::ContainerId;
use std::sync::Arc;
use std::time::Duration;

/// Which container. Ids are the runtime's: two nodes may have the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Node.
    pub node: Arc<str>,
    /// Container id.
    pub id: ContainerId,
}

/// A window to score.
#[derive(Clone, Debug)]
pub struct Job {
    /// Whose.
    pub key: Key,
    /// Which thread's.
    pub thread: ThreadId,
    /// Process name.
    pub process: Arc<str>,
    /// The thread was started by exec.
    pub by_exec: bool,
    /// Whose profile.
    pub workload: Arc<str>,
    /// The window.
    pub window: Window,
    /// When the batch that completed it was received, or when it was cut because its thread was quiet.
    pub cut_at: Duration,
}
