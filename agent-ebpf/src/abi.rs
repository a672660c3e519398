//! Records in the ring buffer, values in the maps, their names and sizes.
//!
//! In: nothing. Out: `#[repr(C)]` types of fixed width. Never: behaviour, except how a name is compared with a [`Monitor`].
//!
//! **Invariant:** no `bool`, no `enum`, no implicit padding; every size is asserted here, and user space
//! decodes by exact length. A change of layout is a change on both sides of one build: the object is
//! embedded in the agent, so the two never differ.

use crate::token::named::NAME_MAX;

/// Tokens in one thread's buffer. At 2 bytes a call, a full chunk is 512 bytes and costs one record.
pub const CHUNK_TOKENS: usize = 256;
/// Bytes of a chunk before its tokens.
pub const CHUNK_HEADER: usize = size_of::<Chunk>() - 2 * CHUNK_TOKENS;
/// Bytes of a name's record before its text.
pub const NAME_HEADER: usize = size_of::<Name>() - NAME_MAX;
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
/// [`Name::kind`].
pub const KIND_NAME: u16 = 4;

/// [`Name::flags`]: the text is a `struct sockaddr`.
pub const NAME_ADDRESS: u16 = 1;
/// [`Name::flags`]: a program that has begun to run.
pub const NAME_EXEC: u16 = 2;
/// [`Name::flags`]: read at the thread's next call.
pub const NAME_LATE: u16 = 4;
/// [`Name::flags`]: it goes on.
pub const NAME_CUT: u16 = 8;
/// Bytes kept of a program's own name for itself.
pub const ARGV0_MAX: usize = 64;

/// Sets of a container's table of told names, and places in each.
pub const NAMES_SETS: usize = 64;
/// Places in a set.
pub const NAMES_WAYS: usize = 4;
/// A name is told again after so many seconds: a telling may have been lost.
pub const NAMES_AGAIN_S: u32 = 300;
/// Names that a container may tell at once, as a start does.
pub const NAMES_BURST: u32 = 1024;
/// Names a second that it may tell for long.
pub const NAMES_PER_S: u32 = 16;

/// [`Chunk::flags`]: the thread has ended; this is its last record, even when it holds no call.
pub const CHUNK_LAST: u16 = 1;
/// [`Chunk::flags`]: a look at a buffer that is still being filled; what follows may repeat these calls.
pub const CHUNK_PEEK: u16 = 2;
/// [`Chunk::flags`], for as long as the thread lives: it descends from a process that entered the container when its first one ran
/// already (`kubectl exec`, an exec probe).
pub const CHUNK_EXEC: u16 = 4;

/// Set in a container key that is a mount namespace's inode because the container has no cgroup of its own.
pub const KEY_MNT_NS: u64 = 1 << 63;
/// Id of the unified hierarchy's root cgroup.
pub const CGROUP_ROOT: u64 = 1;

/// Inode of the kernel's first pid namespace: `PROC_PID_INIT_INO` of `include/linux/proc_ns.h`.
pub const PID_NS_INIT: u32 = 0xEFFF_FFFC;
/// Names of monitors that the kernel side compares with.
pub const MONITORS_MAX: usize = 8;

/// Names of maps, written once.
pub mod maps {
    /// Ring buffer of [`super::Chunk`] and [`super::Lifecycle`] records.
    pub const EVENTS: &str = "EVENTS";
    /// Thread → [`super::Chunk`]: task storage, or a hash map by tid on kernels without it.
    pub const THREADS: &str = "THREADS";
    /// Container key → [`super::ContainerState`].
    pub const CONTAINERS: &str = "CONTAINERS";
    /// Mount namespace inode → container key, while the container lives.
    pub const NAMESPACES: &str = "NAMESPACES";
    /// Container key → anything: containers that user space does not want; their threads are not followed any more.
    pub const IGNORED: &str = "IGNORED";
    /// Container key → [`super::NameTable`].
    pub const NAMES: &str = "NAMES";
    /// Container key → [`super::NetState`].
    pub const NETWORK: &str = "NETWORK";
    /// tgid → [`super::Lineage`]: monitors and what descends from them before it enters a container.
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

/// Names of the read-only globals that user space sets before it loads the programs. Rust has no CO-RE: the
/// offsets are read from the running kernel's BTF.
pub mod globals {
    /// 1: never key a container by its cgroup, as on a host whose containers all sit in the unified root.
    pub const PROCESS_ONLY: &str = "PROCESS_ONLY";
    /// 1: what calls are about is told.
    pub const NAMES_WANTED: &str = "NAMES_WANTED";
    /// Inode of the pid namespace whose ids user space sees, [`super::PID_NS_INIT`] where that is the kernel's first.
    pub const PID_NS: &str = "PID_NS";
    /// [`super::Monitor`]s, [`super::MONITORS_MAX`] of them.
    pub const MONITORS: &str = "MONITORS";
    /// Nanoseconds that a chunk may wait before a peek reports it.
    pub const PEEK_AFTER_NS: &str = "PEEK_AFTER_NS";
    /// Bytes of the ring buffer at which the reader is woken.
    pub const WAKE_BYTES: &str = "WAKE_BYTES";
    /// (global, struct, member path): each global is the offset in bytes of the member in the struct.
    pub const OFFSETS: &[(&str, &str, &[&str])] = &[
        ("OFF_TASK_PID", "task_struct", &["pid"]),
        ("OFF_TASK_TGID", "task_struct", &["tgid"]),
        ("OFF_TASK_THREAD_PID", "task_struct", &["thread_pid"]),
        ("OFF_TASK_SIGNAL", "task_struct", &["signal"]),
        ("OFF_SIGNAL_PIDS", "signal_struct", &["pids"]),
        ("OFF_PID_LEVEL", "pid", &["level"]),
        ("OFF_PID_NUMBERS", "pid", &["numbers"]),
        ("OFF_UPID_NR", "upid", &["nr"]),
        ("OFF_UPID_NS", "upid", &["ns"]),
        ("OFF_PID_NS_INUM", "pid_namespace", &["ns", "inum"]),
        ("OFF_TASK_COMM", "task_struct", &["comm"]),
        ("OFF_TASK_FLAGS", "task_struct", &["flags"]),
        ("OFF_TASK_TI_STATUS", "task_struct", &["thread_info", "status"]),
        ("OFF_TASK_NSPROXY", "task_struct", &["nsproxy"]),
        ("OFF_TASK_CGROUPS", "task_struct", &["cgroups"]),
        ("OFF_NSPROXY_MNT", "nsproxy", &["mnt_ns"]),
        ("OFF_NSPROXY_NET", "nsproxy", &["net_ns"]),
        ("OFF_MNT_NS_INUM", "mnt_namespace", &["ns", "inum"]),
        ("OFF_NET_INUM", "net", &["ns", "inum"]),
        ("OFF_CSS_SET_DFL", "css_set", &["dfl_cgrp"]),
        ("OFF_CGROUP_KN", "cgroup", &["kn"]),
        ("OFF_KN_NAME", "kernfs_node", &["name"]),
        ("OFF_TASK_MM", "task_struct", &["mm"]),
        ("OFF_MM_ARG_START", "mm_struct", &["arg_start"]),
        ("OFF_BPRM_FILENAME", "linux_binprm", &["filename"]),
        ("OFF_SK_FAMILY", "sock_common", &["skc_family"]),
        ("OFF_SK_DADDR", "sock_common", &["skc_daddr"]),
        ("OFF_SK_V6_DADDR", "sock_common", &["skc_v6_daddr"]),
        ("OFF_SK_NUM", "sock_common", &["skc_num"]),
        ("OFF_SK_NET", "sock_common", &["skc_net"]),
    ];
}

/// One thread's buffer, and (its filled part) the record in which the calls travel.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// [`KIND_CHUNK`].
    pub kind: u16,
    /// [`CHUNK_LAST`], [`CHUNK_PEEK`], [`CHUNK_EXEC`].
    pub flags: u16,
    /// Tokens filled, 0 to [`CHUNK_TOKENS`].
    pub len: u32,
    /// Container key.
    pub container: u64,
    /// Number of `tokens[0]` in its thread, counted from 0.
    pub first_seq: u64,
    /// When `tokens[0]` was written, `CLOCK_MONOTONIC` nanoseconds.
    pub start_ns: u64,
    /// Calls of this thread that a peek has reported; written by the peek only.
    pub reported: u64,
    /// When the thread was first followed, `CLOCK_MONOTONIC` nanoseconds: tells a reused tid from its predecessor.
    pub born_ns: u64,
    /// Where the last call's name is, if it was not in memory: a pointer, and the call's token in the upper 16 bits. 0: nothing is owed.
    pub late: u64,
    /// Process id, in the agent's pid namespace.
    pub tgid: u32,
    /// Thread id, in the agent's pid namespace.
    pub tid: u32,
    /// Process name, padded with zeros.
    pub comm: [u8; COMM_LEN],
    /// The calls.
    pub tokens: [u16; CHUNK_TOKENS],
}

/// What a call was about. As a record, as long as its text: [`NAME_HEADER`] and `len`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// [`KIND_NAME`].
    pub kind: u16,
    /// [`NAME_ADDRESS`], [`NAME_EXEC`], [`NAME_LATE`], [`NAME_CUT`].
    pub flags: u16,
    /// The call.
    pub token: u16,
    /// Bytes of `text` that count.
    pub len: u16,
    /// Container key.
    pub container: u64,
    /// Number of the call in its thread.
    pub seq: u64,
    /// When the thread was first followed.
    pub born_ns: u64,
    /// When it was read, `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: u64,
    /// Process id, in the agent's pid namespace.
    pub tgid: u32,
    /// Thread id, in the agent's pid namespace.
    pub tid: u32,
    /// Bytes of `argv0` that count.
    pub argv0_len: u16,
    /// 0.
    pub reserved: [u16; 3],
    /// What a program that runs calls itself.
    pub argv0: [u8; ARGV0_MAX],
    /// The name, or a `struct sockaddr`.
    pub text: [u8; NAME_MAX],
}

/// Which names a container has told.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NameTable {
    /// Names that it may still tell.
    pub budget: u32,
    /// When that was last filled up, seconds of `CLOCK_MONOTONIC`.
    pub filled_s: u32,
    /// Upper half: of the name's hash; lower half: when it was told, seconds. 0: empty.
    pub places: [u64; NAMES_SETS * NAMES_WAYS],
}

impl NameTable {
    /// Nothing told.
    pub const EMPTY: Self = Self { budget: 0, filled_s: 0, places: [0; NAMES_SETS * NAMES_WAYS] };
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
    /// Process id, in the agent's pid namespace.
    pub tgid: u32,
    /// Process id of the shim it descends from; 0: not known.
    pub shim_tgid: u32,
    /// Network namespace inode of the process.
    pub net_ns: u32,
    /// Process name, padded with zeros.
    pub comm: [u8; COMM_LEN],
    /// Directory name of the unified cgroup, closed by a zero; empty in the root.
    pub cgroup_name: [u8; CGROUP_NAME_LEN],
    /// Final counters at the end; zeros at birth.
    pub state: ContainerState,
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
    /// Names that were new and were not told: over the budget, or the ring buffer was full.
    pub names_untold: u64,
    /// Names whose memory was not there.
    pub names_unread: u64,
    /// Unified cgroup id, or the root's.
    pub cgroup_id: u64,
    /// Mount namespace inode.
    pub mnt_ns: u32,
    /// Process id of the first process.
    pub tgid: u32,
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
    /// [`CHUNK_EXEC`] or 0.
    pub flags: u64,
}

/// A name of processes that begin a lineage, as the kernel keeps names: both words of the name, after
/// `mask`, are `name`. Words are in the machine's byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// The name, padded with zeros.
    pub name: [u64; 2],
    /// All ones where bytes count.
    pub mask: [u64; 2],
}

impl Monitor {
    /// Is no process's name.
    pub const NONE: Self = Self { name: [1, 0], mask: [0, 0] };

    /// Processes called `name`, cut to the kernel's 15 bytes as it cuts it; with `prefix`, all whose name begins so. `None`: `name` is
    /// empty, so that it would be every process.
    #[must_use]
    pub fn new(name: &[u8], prefix: bool) -> Option<Self> {
        let name = name.get(..COMM_LEN - 1).unwrap_or(name);
        if name.is_empty() {
            return None;
        }
        let (mut bytes, mut mask) = ([0; COMM_LEN], if prefix { [0; COMM_LEN] } else { [0xff; COMM_LEN] });
        for (at, byte) in name.iter().enumerate() {
            (bytes[at], mask[at]) = (*byte, 0xff);
        }
        Some(Self { name: words(bytes), mask: words(mask) })
    }

    /// Whether a process that is called `comm` is one.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::inline_always, reason = "the kernel side must not become a BPF function call")]
    pub fn is(&self, comm: [u8; COMM_LEN]) -> bool {
        let comm = words(comm);
        comm[0] & self.mask[0] == self.name[0] && comm[1] & self.mask[1] == self.name[1]
    }
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "the kernel side must not become a BPF function call")]
fn words(bytes: [u8; COMM_LEN]) -> [u64; 2] {
    // SAFETY: both are sixteen plain bytes, and a copy needs no alignment.
    unsafe { core::mem::transmute(bytes) }
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
    /// Births and ends that the ring buffer refused.
    pub lifecycle_lost: u64,
}

const _: () = assert!(size_of::<Chunk>() == 80 + 2 * CHUNK_TOKENS);
const _: () = assert!(CHUNK_HEADER == 80);
const _: () = assert!(size_of::<Lifecycle>() == 48 + COMM_LEN + CGROUP_NAME_LEN + size_of::<ContainerState>());
const _: () = assert!(size_of::<ContainerState>() == 72);
const _: () = assert!(core::mem::offset_of!(Name, text) == NAME_HEADER);
const _: () = assert!(size_of::<Name>() == 56 + ARGV0_MAX + NAME_MAX);
const _: () = assert!(size_of::<NameTable>() == 8 + 8 * NAMES_SETS * NAMES_WAYS);
const _: () = assert!(size_of::<NetState>() == 32 + 8 * REMOTE_WORDS);
const _: () = assert!(size_of::<Lineage>() == 16);
const _: () = assert!(size_of::<Seed>() == 16);
const _: () = assert!(size_of::<Totals>() == 32);
const _: () = assert!(size_of::<Monitor>() == 32);

#[cfg(feature = "user")]
mod pod {
    // SAFETY: `#[repr(C)]`, integers only, no padding (sizes asserted above): any bytes are a value.
    unsafe impl aya::Pod for super::Chunk {}
    // SAFETY: as for `Chunk`.
    unsafe impl aya::Pod for super::ContainerState {}
    // SAFETY: as for `Chunk`.
    unsafe impl aya::Pod for super::NameTable {}
    // SAFETY: as for `Chunk`.
    unsafe impl aya::Pod for super::NetState {}
    // SAFETY: as for `Chunk`.
    unsafe impl aya::Pod for super::Lineage {}
    // SAFETY: as for `Chunk`.
    unsafe impl aya::Pod for super::Seed {}
    // SAFETY: as for `Chunk`.
    unsafe impl aya::Pod for super::Totals {}
    // SAFETY: as for `Chunk`.
    unsafe impl aya::Pod for super::Monitor {}
}
