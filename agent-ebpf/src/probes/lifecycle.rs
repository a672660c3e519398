//! Membership: who belongs to which container, from fork, exec and exit alone.
//!
//! In: `sched_process_fork`, `_exec`, `_exit`. Out: followed threads, births, ends.
//!
//! A process that executes a container's monitor (`containerd-shim*`, `conmon`) on the host begins a lineage; its children
//! inherit it. A process of a lineage that executes a program in another mount namespace than the monitor's has become the
//! container's: what went before (runc) is the runtime's, what follows is the container's, and its children inherit that.
//! One that enters a container which lives already was started by exec, and so is all that descends from it.
//!
//! Lineages are kept by process ids of the agent's pid namespace, because the agent's walk adds to them. A process that is not in
//! that namespace has none there, and no lineage: nobody here could say whose it is.
//!
//! **Invariant:** a followed thread never starts a lineage: a container cannot pass for a monitor.

use crate::{
    containers,
    kernel::{self, Task},
    maps::{self, CONTAINERS, LINEAGE, NAMESPACES, totals},
    names,
    probes::context::Context,
    threads,
};
use aya_ebpf::helpers::bpf_get_current_cgroup_id;
use aya_log_ebpf::debug;
use surprisal_agent_ebpf::{
    abi::{CGROUP_ROOT, KEY_MNT_NS, Lineage},
    token::NR_EXECVE,
};

// (struct task_struct *parent, struct task_struct *child)
#[cfg_attr(not(feature = "raw-tracepoints"), aya_ebpf::macros::btf_tracepoint(function = "sched_process_fork"))]
#[cfg_attr(feature = "raw-tracepoints", aya_ebpf::macros::raw_tracepoint(tracepoint = "sched_process_fork"))]
pub(crate) fn sched_process_fork(ctx: Context) -> i32 {
    let child = Task(ctx.arg(1));
    let child_tgid = child.tgid();
    if let Some(parent) = threads::get(Task::current()) {
        // SAFETY: the current thread's buffer.
        let (container, flags) = unsafe { ((*parent.as_ptr()).container, (*parent.as_ptr()).flags) };
        containers::follow(child, child_tgid, container, flags);
        return 0;
    }
    let tgid = Task::current().tgid();
    if child_tgid != tgid
        && child_tgid != 0
        && let Some(lineage) = lineage(tgid)
    {
        inherit(child_tgid, lineage);
    }
    0
}

// (struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)
#[cfg_attr(not(feature = "raw-tracepoints"), aya_ebpf::macros::btf_tracepoint(function = "sched_process_exec"))]
#[cfg_attr(feature = "raw-tracepoints", aya_ebpf::macros::raw_tracepoint(tracepoint = "sched_process_exec"))]
pub(crate) fn sched_process_exec(ctx: Context) -> i32 {
    let task = Task::current();
    threads::renamed(task, ctx.arg(1));
    if let Some(chunk) = threads::get(task) {
        // SAFETY: the current thread's buffer. A thread that executes takes its leader's tid.
        unsafe {
            (*chunk.as_ptr()).comm = kernel::comm();
            (*chunk.as_ptr()).tid = task.tid();
            if kernel::names() {
                names::at_exec(chunk.as_ptr(), ctx.arg(2));
            }
        }
        return 0;
    }
    let tgid = task.tgid();
    let mnt_ns = task.mnt_ns();
    // SAFETY: always callable.
    let cgroup_id = unsafe { bpf_get_current_cgroup_id() };
    let lineage = lineage(tgid);
    let (key, shim_tgid) = match lineage {
        Some(lineage) if lineage.mnt_ns != mnt_ns => (entered(cgroup_id, mnt_ns, lineage), lineage.shim_tgid),
        // runc itself, or the monitor again.
        Some(_) if !kernel::is_monitor() => return 0,
        _ if kernel::is_monitor() => {
            if tgid == 0 {
                return 0;
            }
            debug!(&ctx, "monitor {} in mount namespace {}", tgid, mnt_ns);
            inherit(tgid, Lineage { cgroup_id, mnt_ns, shim_tgid: tgid });
            return 0;
        }
        // Nobody's child, but moved into a followed container's cgroup.
        _ if cgroup_id != CGROUP_ROOT && !kernel::process_only() && CONTAINERS.get_ptr(cgroup_id).is_some() => (cgroup_id, 0),
        _ => return 0,
    };
    if lineage.is_some() {
        let _ = LINEAGE.remove(tgid);
    }
    if let Some(chunk) = containers::enter(task, tgid, key, mnt_ns, shim_tgid) {
        debug!(&ctx, "process {} enters container {:x}", tgid, key);
        // SAFETY: the current thread's buffer.
        unsafe {
            // Entered before the thread was followed, and it is the container's first call.
            containers::append(chunk.as_ptr(), NR_EXECVE);
            if kernel::names() {
                names::at_exec(chunk.as_ptr(), ctx.arg(2));
            }
        }
    }
    0
}

// (struct task_struct *p)
#[cfg_attr(not(feature = "raw-tracepoints"), aya_ebpf::macros::btf_tracepoint(function = "sched_process_exit"))]
#[cfg_attr(feature = "raw-tracepoints", aya_ebpf::macros::raw_tracepoint(tracepoint = "sched_process_exit"))]
pub(crate) fn sched_process_exit(_ctx: Context) -> i32 {
    let task = Task::current();
    if let Some(chunk) = threads::get(task) {
        containers::unfollow_current(task, chunk);
        return 0;
    }
    let tgid = task.tgid();
    if tgid != 0 && task.tid() == tgid {
        let _ = LINEAGE.remove(tgid);
    }
    0
}

/// The container that a process of a lineage has entered.
#[inline(always)]
fn entered(cgroup_id: u64, mnt_ns: u32, lineage: Lineage) -> u64 {
    // A second process in the same mount namespace (kubectl exec) is the same container, wherever its cgroup is.
    if let Some(key) = NAMESPACES.get_ptr(mnt_ns) {
        // SAFETY: a live map value.
        return unsafe { *key };
    }
    if cgroup_id == CGROUP_ROOT || cgroup_id == lineage.cgroup_id || kernel::process_only() {
        u64::from(mnt_ns) | KEY_MNT_NS
    } else {
        cgroup_id
    }
}

#[inline(always)]
fn lineage(tgid: u32) -> Option<Lineage> {
    // SAFETY: a live map value.
    LINEAGE.get_ptr(tgid).map(|l| unsafe { *l })
}

#[inline(always)]
fn inherit(tgid: u32, lineage: Lineage) {
    if LINEAGE.insert(tgid, lineage, 0).is_err()
        && let Some(totals) = totals()
    {
        // SAFETY: a live map value.
        unsafe { maps::add(&raw mut (*totals).lineage_lost, 1) };
    }
}
