//! Records in the ring buffer, values in the maps, their names and sizes.
//!
//! In: nothing. Out: `#[repr(C)]` types of fixed width. Never: behaviour.
//!
//! **Invariant:** no `bool`, no `enum`, no implicit padding; every size is asserted here, and user space
//! decodes by exact length. A change of layout is a change on both sides of one build: the object is
//! embedded in the agent, so the two never differ.

/// Tokens in one thread's buffer. At 2 bytes a call, a full chunk is 512 bytes and costs one record.
pub const CHUNK_TOKENS: usize = 256;
/// Bytes of a chunk before its tokens.
pub const CHUNK_HEADER: usize = size_of::<Chunk>() - 2 * CHUNK_TOKENS;
/// Kernel's length of a task's name, with its closing zero.
pub const COMM_LEN: usize = 16;
/// Bytes kept of a cgroup's own directory name: `cri-containerd-<64 hex>.scope` needs 85.
pub const CGROUP_NAME_LEN: usize = 96;
/// Words of the bitmap that estimates distinct remote addresses (linear counting, Whang et al. 1990).
pub const REMOTE_WORDS: usize = 16;

/// [`Chunk::kind`] of a run of calls.
pub const KIND_CHUNK: u16 = 1;
/// [`Lifecycle::kind`]: the first process of a container was executed.
pub const KIND_BIRTH: u16 = 2;
/// [`Lifecycle::kind`]: the last thread of a container is gone.
pub const KIND_END: u16 = 3;

/// [`Chunk::flags`]: the thread has ended; this is its last record, even when it holds no call.
pub const CHUNK_LAST: u16 = 1;
/// [`Chunk::flags`]: a look at a buffer that is still being filled; what follows may repeat these calls.
pub const CHUNK_PEEK: u16 = 2;

/// [`ContainerState::flags`]: user space does not want this container; its threads are let go.
pub const CONTAINER_IGNORED: u32 = 1;

/// Set in a container key that is a mount namespace's inode because the container has no cgroup of its own.
pub const KEY_MNT_NS: u64 = 1 << 63;
/// Id of the unified hierarchy's root cgroup.
pub const CGROUP_ROOT: u64 = 1;

/// Names of maps, written once.
pub mod maps {
    /// Ring buffer of [`super::Chunk`] and [`super::Lifecycle`] records.
    pub const EVENTS: &str = "EVENTS";
    /// Task storage: thread → [`super::Chunk`].
    pub const THREADS: &str = "THREADS";
    /// Fallback for kernels without task storage: tid → [`super::Chunk`].
    pub const THREADS_BY_TID: &str = "THREADS_BY_TID";
    /// Container key → [`super::ContainerState`].
    pub const CONTAINERS: &str = "CONTAINERS";
    /// Container key → [`super::NetState`].
    pub const NETWORK: &str = "NETWORK";
    /// tgid → [`super::Lineage`]: shims and what descends from them before it enters a container.
    pub const LINEAGE: &str = "LINEAGE";
    /// tgid → [`super::Seed`]: what ran before the agent.
    pub const SEEDS: &str = "SEEDS";
    /// TCP socket → container key.
    pub const SOCKETS: &str = "SOCKETS";
    /// (network namespace, port) → container key.
    pub const LISTENERS: &str = "LISTENERS";
    /// One [`super::Totals`].
    pub const TOTALS: &str = "TOTALS";
}

/// One thread's buffer, and (its filled part) the record in which the calls travel.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// [`KIND_CHUNK`].
    pub kind: u16,
    /// [`CHUNK_LAST`], [`CHUNK_PEEK`].
    pub flags: u16,
    /// Tokens filled, 0 to [`CHUNK_TOKENS`].
    pub len: u32,
    /// Container key.
    pub container: u64,
    /// Number of `tokens[0]` in its thread, counted from 0.
    pub first_seq: u64,
    /// When `tokens[0]` was written, `CLOCK_MONOTONIC` nanoseconds.
    pub start_ns: u64,
    /// Calls of this thread that a peek has reported; written by the flusher only.
    pub reported: u64,
    /// Process id, initial pid namespace.
    pub tgid: u32,
    /// Thread id, initial pid namespace.
    pub tid: u32,
    /// Process name, padded with zeros.
    pub comm: [u8; COMM_LEN],
    /// The calls.
    pub tokens: [u16; CHUNK_TOKENS],
}

/// A container's birth or end.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Lifecycle {
    /// [`KIND_BIRTH`] or [`KIND_END`].
    pub kind: u16,
    /// 0.
    pub reserved: [u16; 3],
    /// Container key.
    pub container: u64,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: u64,
    /// Unified cgroup id of the process; the root's id where it has none of its own.
    pub cgroup_id: u64,
    /// Mount namespace inode of the process.
    pub mnt_ns: u32,
    /// Process id, initial pid namespace.
    pub tgid: u32,
    /// Process id of the shim it descends from; 0: not known.
    pub shim_tgid: u32,
    /// Network namespace inode of the process.
    pub net_ns: u32,
    /// Process name, padded with zeros.
    pub comm: [u8; COMM_LEN],
    /// Directory name of the unified cgroup, closed by a zero; empty in the root.
    pub cgroup_name: [u8; CGROUP_NAME_LEN],
}

/// What the kernel keeps of a container. All counters are cumulative.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerState {
    /// Threads alive and followed.
    pub live_threads: u64,
    /// Calls of chunks that were submitted or refused, each counted once.
    pub issued: u64,
    /// Calls of chunks that the ring buffer refused.
    pub lost_calls: u64,
    /// Chunks that the ring buffer refused.
    pub lost_chunks: u64,
    /// Threads for which no buffer could be had.
    pub threads_untracked: u64,
    /// Births and ends that the ring buffer refused.
    pub lost_lifecycle: u64,
    /// Unified cgroup id, or the root's.
    pub cgroup_id: u64,
    /// Mount namespace inode.
    pub mnt_ns: u32,
    /// [`CONTAINER_IGNORED`].
    pub flags: u32,
}

/// What the kernel keeps of a container's TCP connections. Cumulative.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetState {
    /// Connections attempted.
    pub attempted: u64,
    /// Attempts that were established.
    pub established: u64,
    /// Attempts that ended before they were established.
    pub failed: u64,
    /// Connections accepted on a listening socket.
    pub accepted: u64,
    /// Linear-counting bitmap over hashed remote addresses.
    pub remotes: [u64; REMOTE_WORDS],
}

/// A shim, or a process that descends from one and has not yet entered a container.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// The shim's unified cgroup.
    pub cgroup_id: u64,
    /// The shim's mount namespace inode: an exec in another one is the container's.
    pub mnt_ns: u32,
    /// The shim's process id.
    pub shim_tgid: u32,
}

/// A process that ran before the agent, found by its procfs walk.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seed {
    /// Container key.
    pub container: u64,
}

/// Counters that belong to no container.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Containers for which no entry could be made (table full).
    pub containers_untracked: u64,
    /// Shims or their children for which no entry could be made (table full).
    pub lineage_lost: u64,
    /// Peeks that were given up because the ring buffer was full.
    pub peeks_refused: u64,
}

const _: () = assert!(size_of::<Chunk>() == 64 + 2 * CHUNK_TOKENS);
const _: () = assert!(CHUNK_HEADER == 64);
const _: () = assert!(size_of::<Lifecycle>() == 48 + COMM_LEN + CGROUP_NAME_LEN);
const _: () = assert!(size_of::<ContainerState>() == 64);
const _: () = assert!(size_of::<NetState>() == 32 + 8 * REMOTE_WORDS);
const _: () = assert!(size_of::<Lineage>() == 16);
const _: () = assert!(size_of::<Seed>() == 8);
const _: () = assert!(size_of::<Totals>() == 24);

#[cfg(feature = "user")]
mod pod {
    // SAFETY: `#[repr(C)]`, integers only, no padding (sizes asserted above): any bytes are a value.
    unsafe impl aya::Pod for super::Chunk {}
    // SAFETY: as for `Chunk`.
    unsafe impl aya::Pod for super::ContainerState {}
    // SAFETY: as for `Chunk`.
    unsafe impl aya::Pod for super::NetState {}
    // SAFETY: as for `Chunk`.
    unsafe impl aya::Pod for super::Lineage {}
    // SAFETY: as for `Chunk`.
    unsafe impl aya::Pod for super::Seed {}
    // SAFETY: as for `Chunk`.
    unsafe impl aya::Pod for super::Totals {}
}
