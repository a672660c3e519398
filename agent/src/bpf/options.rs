//! What to load.
//!
//! In: nothing. Out: [`Options`], with defaults, by which no container begins. Pure.

use surprisal_agent_ebpf::abi::{MONITORS_MAX, Monitor, PID_NS_INIT};

/// Where a thread's buffer lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Capture {
    /// The first of the others that the kernel takes.
    #[default]
    Auto,
    /// Task storage (5.12) or nothing.
    TaskStorage,
    /// A hash map by tid.
    Hash,
    /// A hash map by tid, and plain raw tracepoints instead of BTF ones.
    Raw,
}

/// What to load.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size of the ring buffer, bytes; rounded up to a power of two of at least one page.
    pub ring_bytes: u32,
    /// Where threads' buffers live.
    pub capture: Capture,
    /// Never key a container by its cgroup.
    pub process_only: bool,
    /// Inode of the pid namespace whose ids are reported.
    pub pid_ns: u32,
    /// Names of containers' monitors.
    pub monitors: [Monitor; MONITORS_MAX],
    /// How long calls may wait in a thread's buffer before a peek reports them, nanoseconds.
    pub peek_after_ns: u64,
    /// Tell what calls are about.
    pub names: bool,
    /// Have the kernel count and time runs of eBPF programs, all of the host's, for as long as this lives.
    pub stats: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ring_bytes: 8 << 20,
            capture: Capture::Auto,
            process_only: false,
            pid_ns: PID_NS_INIT,
            monitors: [Monitor::NONE; MONITORS_MAX],
            peek_after_ns: 200_000_000,
            names: true,
            stats: false,
        }
    }
}
