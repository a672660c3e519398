//! Followed threads, and the containers they belong to.
//!
//! In: tasks that enter or leave, tokens. Out: chunks and births and ends in the ring buffer, counters.
//! Never: decides whether a task enters (that is `probes::lifecycle`).

use crate::{
    kernel::{self, Task},
    maps::{self, CONTAINERS, EVENTS, IGNORED, NAMES, NAMESPACES, NETWORK, NO_NAMES, totals},
    names, threads,
};
use aya_ebpf::{
    bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{bpf_get_current_cgroup_id, bpf_ktime_get_ns},
    maps::ring_buf::RingBufEntry,
};
use core::ptr::{NonNull, read_volatile, write_volatile};
use surprisal_agent_ebpf::abi::{
    CHUNK_EXEC, CHUNK_HEADER, CHUNK_LAST, CHUNK_TOKENS, Chunk, ContainerState, KIND_BIRTH, KIND_CHUNK, KIND_END, Lifecycle,
    NetState,
};

/// Appends a call to a thread's buffer; submits the buffer when it is full.
///
/// # Safety
/// `chunk` is the current thread's buffer.
#[inline(always)]
pub(crate) unsafe fn append(chunk: *mut Chunk, token: u16) {
    // SAFETY: a live map value by the caller's promise; the index is below CHUNK_TOKENS.
    unsafe {
        let len = (*chunk).len & (CHUNK_TOKENS as u32 - 1);
        if len == 0 {
            (*chunk).start_ns = bpf_ktime_get_ns();
        }
        // A peek on another processor may read along: the token must be there before the length says so.
        write_volatile((&raw mut (*chunk).tokens).cast::<u16>().add(len as usize), token);
        if len as usize + 1 == CHUNK_TOKENS {
            write_volatile(&raw mut (*chunk).len, CHUNK_TOKENS as u32);
            submit(chunk, CHUNK_TOKENS as u32, 0);
        } else {
            write_volatile(&raw mut (*chunk).len, len + 1);
        }
    }
}

/// Submits a thread's buffer and empties it, or counts its calls as lost.
///
/// Not inlined: a BPF function of its own keeps the hot path small.
///
/// # Safety
/// `chunk` is the current thread's buffer and holds `len` tokens.
#[inline(always)]
unsafe fn submit(chunk: *mut Chunk, len: u32, flags: u16) {
    // SAFETY: a live map value by the caller's promise.
    unsafe {
        (*chunk).flags = flags | (*chunk).flags & CHUNK_EXEC;
        (*chunk).comm = kernel::comm();
        let len = u64::from(len).min(CHUNK_TOKENS as u64);
        let size = CHUNK_HEADER as u64 + 2 * len;
        let refused = output(chunk, size) != 0;
        let first = (*chunk).first_seq;
        if let Some(state) = CONTAINERS.get_ptr_mut((*chunk).container) {
            maps::add(&raw mut (*state).issued, len);
            if refused {
                // What a peek has reported is not lost; user space drops repetitions by their numbers.
                let reported = read_volatile(&raw const (*chunk).reported);
                let from = if reported > first { reported } else { first };
                maps::add(&raw mut (*state).lost_calls, first + len - from);
                maps::add(&raw mut (*state).lost_chunks, 1);
            }
        }
        // First the number, then the length: a peek that still sees the old number has read whole tokens.
        write_volatile(&raw mut (*chunk).first_seq, first + len);
        write_volatile(&raw mut (*chunk).len, 0);
        if flags & CHUNK_LAST == 0 && IGNORED.get_ptr((*chunk).container).is_some() {
            let container = (*chunk).container;
            threads::delete(Task::current());
            left(container);
        }
    }
}

/// 0: the record is in the ring buffer.
///
/// # Safety
/// `chunk` has `size` readable bytes.
#[inline(always)]
unsafe fn output(chunk: *mut Chunk, size: u64) -> i64 {
    // SAFETY: the verifier bounds `size` by the map's value.
    unsafe {
        aya_ebpf::helpers::generated::bpf_ringbuf_output((&raw const EVENTS).cast_mut().cast(), chunk.cast(), size, maps::wake())
    }
}

/// Begins to follow a thread, with [`CHUNK_EXEC`] in `flags` or not; `None`: no memory, counted.
#[inline(always)]
pub(crate) fn follow(task: Task, tgid: u32, container: u64, flags: u16) -> Option<NonNull<Chunk>> {
    let state = CONTAINERS.get_ptr_mut(container)?;
    let Some(chunk) = threads::create(task) else {
        // SAFETY: a live map value.
        unsafe { maps::add(&raw mut (*state).threads_untracked, 1) };
        return None;
    };
    let p = chunk.as_ptr();
    // SAFETY: a live map value; the thread does not run yet, or is the current one.
    unsafe {
        maps::add(&raw mut (*state).live_threads, 1);
        (*p).kind = KIND_CHUNK;
        (*p).flags = flags & CHUNK_EXEC;
        (*p).container = container;
        (*p).born_ns = bpf_ktime_get_ns();
        (*p).tgid = tgid;
        (*p).tid = task.tid();
        (*p).comm = task.comm();
    }
    Some(chunk)
}

/// The current thread ends: its last record, and the container's end if it was the last.
#[inline(always)]
pub(crate) fn unfollow_current(task: Task, chunk: NonNull<Chunk>) {
    let p = chunk.as_ptr();
    // SAFETY: the current thread's buffer.
    let container = unsafe {
        if (*p).late != 0 {
            names::unread(p);
        }
        submit(p, (*p).len, CHUNK_LAST);
        (*p).container
    };
    threads::delete(task);
    left(container);
}

/// A thread of the container is gone.
#[inline(always)]
pub(crate) fn left(container: u64) {
    let Some(state) = CONTAINERS.get_ptr_mut(container) else { return };
    // SAFETY: a live map value. Adding −1 is the plain atomic add; two threads may both read 0 then, and the
    // one whose removal succeeds reports the end.
    let state = unsafe {
        maps::add(&raw mut (*state).live_threads, u64::MAX);
        if read_volatile(&raw const (*state).live_threads) != 0 {
            return;
        }
        *state
    };
    // Without room for the record the entry stays: user space finds it without threads, and its counters in it. Not so its mount
    // namespace's number, which the kernel gives to the next container.
    let Some(entry) = reserve() else {
        let _ = NAMESPACES.remove(state.mnt_ns);
        return;
    };
    if CONTAINERS.remove(container).is_err() {
        entry.discard(u64::from(BPF_RB_NO_WAKEUP));
        return;
    }
    let _ = NAMESPACES.remove(state.mnt_ns);
    let _ = IGNORED.remove(container);
    let _ = NAMES.remove(container);
    report(entry, KIND_END, container, state, 0);
}

/// A process executes its first program inside a container. True: its thread is followed from here on.
#[inline(always)]
pub(crate) fn enter(task: Task, tgid: u32, key: u64, mnt_ns: u32, shim_tgid: u32) -> Option<NonNull<Chunk>> {
    if IGNORED.get_ptr(key).is_some() {
        return None;
    }
    // SAFETY: always callable.
    let cgroup_id = unsafe { bpf_get_current_cgroup_id() };
    let fresh = ContainerState { cgroup_id, mnt_ns, tgid, ..ContainerState::default() };
    const NOEXIST: u64 = 1;
    let born = CONTAINERS.insert(key, fresh, NOEXIST).is_ok();
    if born {
        let _ = NAMESPACES.insert(mnt_ns, key, 0);
        let _ = NETWORK.insert(key, NetState::default(), 0);
        if let Some(none) = NO_NAMES.get_ptr(0) {
            // SAFETY: a live map value that nobody writes. Full: its names are counted as untold.
            let _ = unsafe { NAMES.insert(key, &*none, 0) };
        }
    } else if CONTAINERS.get_ptr(key).is_none() {
        if let Some(totals) = totals() {
            // SAFETY: a live map value.
            unsafe { maps::add(&raw mut (*totals).containers_untracked, 1) };
        }
        return None;
    }
    let chunk = follow(task, tgid, key, if born { 0 } else { CHUNK_EXEC });
    if born && let Some(entry) = reserve() {
        report(entry, KIND_BIRTH, key, ContainerState::default(), shim_tgid);
    }
    chunk
}

/// Room for a birth or an end; `None`: the ring is full, counted.
#[inline(always)]
fn reserve() -> Option<RingBufEntry<Lifecycle>> {
    let entry = EVENTS.reserve(0);
    if entry.is_none()
        && let Some(totals) = totals()
    {
        // SAFETY: a live map value.
        unsafe { maps::add(&raw mut (*totals).lifecycle_lost, 1) };
    }
    entry
}

/// A birth or an end, by the current task; wakes the reader: somebody has to look up names while they are there.
#[inline(always)]
fn report(mut entry: RingBufEntry<Lifecycle>, kind: u16, container: u64, state: ContainerState, shim_tgid: u32) {
    let task = Task::current();
    let record = entry.as_mut_ptr();
    // SAFETY: reserved for this record; every field is written.
    unsafe {
        (*record).kind = kind;
        (*record).reserved = [0; 3];
        (*record).container = container;
        (*record).at_ns = bpf_ktime_get_ns();
        (*record).cgroup_id = bpf_get_current_cgroup_id();
        (*record).mnt_ns = task.mnt_ns();
        (*record).net_ns = task.net_ns();
        (*record).tgid = task.tgid();
        (*record).shim_tgid = shim_tgid;
        (*record).comm = kernel::comm();
        (*record).cgroup_name = [0; _];
        (*record).state = state;
        task.cgroup_name(&mut (*record).cgroup_name);
    }
    entry.submit(u64::from(BPF_RB_FORCE_WAKEUP));
}
