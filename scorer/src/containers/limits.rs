//! How much is kept of containers, at most. *Pure.*
//!
//! In: nothing. Out: [`Limits`]. Never: what is done with one that finds no place: that is the registry's.

/// Bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Containers in all.
    pub containers: usize,
    /// Containers of one node.
    pub containers_per_node: usize,
    /// Threads in all.
    pub threads: usize,
    /// Threads of one container.
    pub threads_per_container: usize,
    /// Windows that may wait for the model.
    pub waiting: usize,
    /// Windows that the model may have at once: what it has is judged in the order that it came in.
    pub handed: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            containers: 49_152,
            containers_per_node: 4_096,
            threads: 262_144,
            threads_per_container: 8_192,
            waiting: 32_768,
            handed: 1_024,
        }
    }
}
