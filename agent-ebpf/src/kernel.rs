//! The kernel's own structures, by offsets that user space read from BTF.
//!
//! In: pointers to tasks and sockets. Out: numbers and names. Never: writes.

use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_kernel_buf, bpf_probe_read_kernel_str_bytes};
use core::ptr::{read_volatile, write_volatile};
use surprisal_agent_ebpf::abi::{CGROUP_NAME_LEN, COMM_LEN, MONITORS_MAX, Monitor, PID_NS_INIT};

macro_rules! globals {
    ($($(#[$doc:meta])* $name:ident: $ty:ty;)*) => { $(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        static $name: $ty = 0;
    )* };
}

globals! {
    PROCESS_ONLY: u32;
    NAMES_WANTED: u32;
    PID_NS: u32;
    PEEK_AFTER_NS: u64;
    WAKE_BYTES: u64;
    OFF_TASK_PID: u32;
    OFF_TASK_TGID: u32;
    OFF_TASK_THREAD_PID: u32;
    OFF_TASK_SIGNAL: u32;
    OFF_SIGNAL_PIDS: u32;
    OFF_PID_LEVEL: u32;
    OFF_PID_NUMBERS: u32;
    OFF_UPID_NR: u32;
    OFF_UPID_NS: u32;
    OFF_PID_NS_INUM: u32;
    OFF_TASK_COMM: u32;
    OFF_TASK_FLAGS: u32;
    OFF_TASK_TI_STATUS: u32;
    OFF_TASK_NSPROXY: u32;
    OFF_TASK_CGROUPS: u32;
    OFF_NSPROXY_MNT: u32;
    OFF_NSPROXY_NET: u32;
    OFF_MNT_NS_INUM: u32;
    OFF_NET_INUM: u32;
    OFF_CSS_SET_DFL: u32;
    OFF_CGROUP_KN: u32;
    OFF_KN_NAME: u32;
    OFF_TASK_MM: u32;
    OFF_MM_ARG_START: u32;
    OFF_BPRM_FILENAME: u32;
    OFF_SK_FAMILY: u32;
    OFF_SK_DADDR: u32;
    OFF_SK_V6_DADDR: u32;
    OFF_SK_NUM: u32;
    OFF_SK_NET: u32;
}

/// Names of monitors.
#[unsafe(no_mangle)]
static MONITORS: [Monitor; MONITORS_MAX] = [Monitor::NONE; MONITORS_MAX];

/// Reads a global that user space has set: the compiler must not take its 0 for granted.
macro_rules! global {
    ($name:ident) => {
        // SAFETY: a static of this program.
        unsafe { read_volatile(&raw const $name) }
    };
}

/// Where `struct pt_regs` of x86-64 keeps the arguments of a system call, in words: di, si, dx, r10, r8, r9.
pub(crate) const ARG: [usize; 6] = [14, 13, 12, 7, 9, 8];

/// An argument whose number is known only when the program runs: the verifier wants each place to be a constant. 0: there is none.
///
/// # Safety
/// `regs` is a system call's `pt_regs`.
#[inline(always)]
pub(crate) unsafe fn argument(regs: *const u64, number: u8) -> u64 {
    // SAFETY: the caller's promise.
    unsafe {
        match number {
            0 => word(regs.add(ARG[0])),
            1 => word(regs.add(ARG[1])),
            2 => word(regs.add(ARG[2])),
            3 => word(regs.add(ARG[3])),
            4 => word(regs.add(ARG[4])),
            5 => word(regs.add(ARG[5])),
            _ => 0,
        }
    }
}

/// Whether names are wanted.
#[inline(always)]
pub(crate) fn names() -> bool {
    global!(NAMES_WANTED) != 0
}

/// The path of a program that is about to run, in the kernel's memory: of its `struct linux_binprm`.
#[inline(always)]
pub(crate) fn program_path(bprm: *const u8) -> *const u8 {
    read(bprm, global!(OFF_BPRM_FILENAME)).unwrap_or(core::ptr::null())
}

/// A task, as the kernel points at it.
#[derive(Clone, Copy)]
pub(crate) struct Task(pub(crate) *const u8);

/// Which of `signal_struct.pids` is the process's: `PIDTYPE_TGID`, include/linux/pid_types.h.
const PIDTYPE_TGID: usize = 1;
/// `PF_EXITING`, include/linux/sched.h.
const PF_EXITING: u32 = 4;
/// `TS_COMPAT`, arch/x86/include/asm/thread_info.h: inside a 32-bit system call.
const TS_COMPAT: u32 = 2;

impl Task {
    /// The current task.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        // Task storage takes a pointer that the verifier knows to be a task; kernels before 5.11 have no such helper.
        #[cfg(not(feature = "hash-threads"))]
        // SAFETY: always callable in a tracing program.
        let task = unsafe { aya_ebpf::helpers::bpf_get_current_task_btf() };
        #[cfg(feature = "hash-threads")]
        // SAFETY: as above.
        let task = unsafe { aya_ebpf::helpers::bpf_get_current_task() } as *const u8;
        Self(task.cast())
    }

    /// Whether it is inside a 32-bit system call. Only for the current task: a direct load where it has a BTF pointer.
    #[inline(always)]
    pub(crate) fn in_compat_call(self) -> bool {
        let offset = global!(OFF_TASK_TI_STATUS);
        #[cfg(not(feature = "hash-threads"))]
        // SAFETY: the offset is that of a u32 in task_struct, and the verifier checks the load.
        let status = unsafe { *self.0.add(offset as usize).cast::<u32>() };
        #[cfg(feature = "hash-threads")]
        let status: u32 = self.read(offset).unwrap_or(0);
        status & TS_COMPAT != 0
    }

    #[inline(always)]
    fn read<T>(self, offset: u32) -> Option<T> {
        read(self.0, offset)
    }

    /// Thread id in the kernel's first pid namespace: the same for everybody, and never 0.
    #[inline(always)]
    pub(crate) fn global_tid(self) -> u32 {
        self.read(global!(OFF_TASK_PID)).unwrap_or(0)
    }

    /// Thread id in the agent's pid namespace; 0: the thread is not in it.
    #[inline(always)]
    pub(crate) fn tid(self) -> u32 {
        if global!(PID_NS) == PID_NS_INIT {
            return self.global_tid();
        }
        self.read::<*const u8>(global!(OFF_TASK_THREAD_PID)).map_or(0, number)
    }

    /// Process id in the agent's pid namespace; 0: the process is not in it.
    #[inline(always)]
    pub(crate) fn tgid(self) -> u32 {
        if global!(PID_NS) == PID_NS_INIT {
            return self.read(global!(OFF_TASK_TGID)).unwrap_or(0);
        }
        let Some(signal) = self.read::<*const u8>(global!(OFF_TASK_SIGNAL)) else { return 0 };
        let pid = read::<*const u8>(signal, global!(OFF_SIGNAL_PIDS) + (PIDTYPE_TGID * size_of::<u64>()) as u32);
        pid.map_or(0, number)
    }

    /// Where its program finds its own name for itself, in its memory; 0: it has none.
    #[inline(always)]
    pub(crate) fn arguments(self) -> u64 {
        let mm = self.read::<*const u8>(global!(OFF_TASK_MM));
        mm.and_then(|mm| read(mm, global!(OFF_MM_ARG_START))).unwrap_or(0)
    }

    /// Its name.
    #[inline(always)]
    pub(crate) fn comm(self) -> [u8; COMM_LEN] {
        self.read(global!(OFF_TASK_COMM)).unwrap_or([0; COMM_LEN])
    }

    /// Whether it is on its way out.
    #[inline(always)]
    pub(crate) fn exiting(self) -> bool {
        self.read(global!(OFF_TASK_FLAGS)).unwrap_or(0u32) & PF_EXITING != 0
    }

    /// Inode of its mount namespace; 0: it has none any more.
    #[inline(always)]
    pub(crate) fn mnt_ns(self) -> u32 {
        self.namespace(global!(OFF_NSPROXY_MNT), global!(OFF_MNT_NS_INUM))
    }

    /// Inode of its network namespace; 0: it has none any more.
    #[inline(always)]
    pub(crate) fn net_ns(self) -> u32 {
        self.namespace(global!(OFF_NSPROXY_NET), global!(OFF_NET_INUM))
    }

    #[inline(always)]
    fn namespace(self, which: u32, inum: u32) -> u32 {
        let Some(nsproxy) = self.read::<*const u8>(global!(OFF_TASK_NSPROXY)) else { return 0 };
        let Some(ns) = read::<*const u8>(nsproxy, which) else { return 0 };
        read(ns, inum).unwrap_or(0)
    }

    /// Writes the directory name of its unified cgroup, closed by a zero; the root's is empty.
    #[inline(always)]
    pub(crate) fn cgroup_name(self, out: &mut [u8; CGROUP_NAME_LEN]) {
        let Some(set) = self.read::<*const u8>(global!(OFF_TASK_CGROUPS)) else { return };
        let Some(cgroup) = read::<*const u8>(set, global!(OFF_CSS_SET_DFL)) else { return };
        let Some(node) = read::<*const u8>(cgroup, global!(OFF_CGROUP_KN)) else { return };
        let Some(name) = read::<*const u8>(node, global!(OFF_KN_NAME)) else { return };
        // SAFETY: the helper checks the address; a failure leaves zeros.
        let _ = unsafe { bpf_probe_read_kernel_str_bytes(name, out) };
    }
}

/// How many pid namespaces lie above the agent's. Written by [`note_level`], once, before anything is attached: a loop over a
/// task's namespaces is too much for the verifier.
#[unsafe(no_mangle)]
static mut PID_LEVEL: u32 = 0;

/// Notes the depth of the current task's pid namespace as the agent's. Only for a program that the agent itself runs.
#[inline(always)]
pub(crate) fn note_level() {
    let pid = Task::current().read::<*const u8>(global!(OFF_TASK_THREAD_PID));
    let level = pid.and_then(|pid| read(pid, global!(OFF_PID_LEVEL))).unwrap_or(0);
    // SAFETY: a static of this program; nothing else runs yet.
    unsafe { write_volatile(&raw mut PID_LEVEL, level) }
}

/// The number that the agent's pid namespace gives to a `struct pid`, which has one in each namespace from the kernel's first
/// down to its own; 0: none.
#[inline(always)]
fn number(pid: *const u8) -> u32 {
    // SAFETY: a static of this program, written before any other program was attached.
    let at = unsafe { read_volatile(&raw const PID_LEVEL) };
    if at > read(pid, global!(OFF_PID_LEVEL)).unwrap_or(0) {
        return 0;
    }
    // `struct upid` ends with its pointer to the namespace.
    let size = global!(OFF_UPID_NS) + size_of::<u64>() as u32;
    let upid = pid.wrapping_add((global!(OFF_PID_NUMBERS) + at * size) as usize);
    let ns = read::<*const u8>(upid, global!(OFF_UPID_NS)).and_then(|ns| read(ns, global!(OFF_PID_NS_INUM)));
    // A namespace as deep, but another.
    if ns != Some(global!(PID_NS)) {
        return 0;
    }
    read(upid, global!(OFF_UPID_NR)).unwrap_or(0)
}

#[inline(always)]
fn read<T>(base: *const u8, offset: u32) -> Option<T> {
    if base.is_null() {
        return None;
    }
    // SAFETY: the helper checks the address and fails instead of faulting.
    unsafe { bpf_probe_read_kernel(base.wrapping_add(offset as usize).cast::<T>()) }.ok()
}

/// A word behind a tracepoint's own argument.
///
/// # Safety
/// `at` lies inside the structure that the argument points at.
#[inline(always)]
pub(crate) unsafe fn word(at: *const u64) -> u64 {
    #[cfg(not(feature = "raw-tracepoints"))]
    // SAFETY: the verifier checks the load against the argument's type.
    let word = unsafe { *at };
    #[cfg(feature = "raw-tracepoints")]
    // SAFETY: the helper checks the address and fails instead of faulting.
    let word = unsafe { bpf_probe_read_kernel(at) }.unwrap_or(0);
    word
}

/// A TCP socket (`struct sock`, whose first member is `sock_common`).
#[derive(Clone, Copy)]
pub(crate) struct Sock(pub(crate) *const u8);

impl Sock {
    /// Local port.
    #[inline(always)]
    pub(crate) fn port(self) -> u16 {
        read(self.0, global!(OFF_SK_NUM)).unwrap_or(0)
    }

    /// Inode of its network namespace.
    #[inline(always)]
    pub(crate) fn net_ns(self) -> u32 {
        let Some(net) = read::<*const u8>(self.0, global!(OFF_SK_NET)) else { return 0 };
        read(net, global!(OFF_NET_INUM)).unwrap_or(0)
    }

    /// A hash of its remote address: FNV-1a over the bytes, then one round of mixing.
    #[inline(always)]
    pub(crate) fn remote_hash(self) -> u64 {
        const AF_INET6: u16 = 10;
        let mut address = [0u8; 16];
        if read::<u16>(self.0, global!(OFF_SK_FAMILY)) == Some(AF_INET6) {
            let from = self.0.wrapping_add(global!(OFF_SK_V6_DADDR) as usize);
            // SAFETY: the helper checks the address; a failure leaves zeros.
            let _ = unsafe { bpf_probe_read_kernel_buf(from, &mut address) };
        } else {
            address[..4].copy_from_slice(&read::<[u8; 4]>(self.0, global!(OFF_SK_DADDR)).unwrap_or([0; 4]));
        }
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut i = 0;
        while i < 16 {
            hash = (hash ^ u64::from(address[i])).wrapping_mul(0x0000_0100_0000_01b3);
            i += 1;
        }
        hash ^= hash >> 29;
        hash.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32
    }
}

/// Whether containers are never keyed by their cgroup.
#[inline(always)]
pub(crate) fn process_only() -> bool {
    global!(PROCESS_ONLY) != 0
}

/// Whether the current task is called as a monitor is.
#[inline(always)]
pub(crate) fn is_monitor() -> bool {
    let comm = comm();
    let mut at = 0;
    while at < MONITORS_MAX {
        // SAFETY: a static of this program, which user space has set: the compiler must not take its value for granted.
        let monitor = unsafe { read_volatile((&raw const MONITORS).cast::<Monitor>().add(at)) };
        if monitor.is(comm) {
            return true;
        }
        at += 1;
    }
    false
}

/// How long a chunk may wait before a peek reports it, nanoseconds.
#[inline(always)]
pub(crate) fn peek_after_ns() -> u64 {
    global!(PEEK_AFTER_NS)
}

/// Unread bytes in the ring buffer from which on the reader is woken.
#[inline(always)]
pub(crate) fn wake_bytes() -> u64 {
    global!(WAKE_BYTES)
}

/// The current task's name.
#[inline(always)]
pub(crate) fn comm() -> [u8; COMM_LEN] {
    aya_ebpf::helpers::bpf_get_current_comm().unwrap_or([0; COMM_LEN])
}
