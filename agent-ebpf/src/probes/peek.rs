//! Looks at other threads: at the start to follow what already runs, and ever after so that a thread that
//! sleeps with half a buffer is heard.
//!
//! In: `iter/task`, run by user space. Out: followed threads; copies of half-filled buffers.
//!
//! A peek takes nothing away: it copies the buffer so far, with the calls' numbers, and user space drops what
//! it sees twice. So it needs no lock: the owner writes tokens before lengths and moves `first_seq` before it
//! writes over a token, and a copy during which `first_seq` moved is thrown away.

use crate::{
    containers,
    kernel::{self, Task},
    maps::{self, CONTAINERS, EVENTS, SEEDS, totals},
    threads,
};
use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    helpers::{bpf_ktime_get_ns, generated::bpf_probe_read_kernel},
    maps::ring_buf::RingBufEntry,
};
use core::ptr::{read_volatile, write_volatile};
use surprisal_agent_ebpf::abi::{CHUNK_EXEC, CHUNK_PEEK, CHUNK_TOKENS, Chunk};

/// `struct bpf_iter__task`.
#[repr(C)]
pub(crate) struct IterTask {
    meta: *const u8,
    task: *const u8,
}

/// Reports buffers that have waited for long enough.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub(crate) extern "C" fn peek(ctx: *const IterTask) -> i32 {
    // SAFETY: the context of this program type.
    let task = Task(unsafe { (*ctx).task });
    if task.0.is_null() {
        return 0;
    }
    let Some(chunk) = threads::get(task) else { return 0 };
    let chunk = chunk.as_ptr();
    // SAFETY: a live map value; each field is read once, in the order that the module's head explains.
    unsafe {
        let first = read_volatile(&raw const (*chunk).first_seq);
        let len = read_volatile(&raw const (*chunk).len);
        let start_ns = read_volatile(&raw const (*chunk).start_ns);
        let until = first + u64::from(len);
        if len == 0
            || len > CHUNK_TOKENS as u32
            || until <= (*chunk).reported
            || bpf_ktime_get_ns().wrapping_sub(start_ns) < kernel::peek_after_ns()
        {
            return 0;
        }
        let Some(mut entry): Option<RingBufEntry<Chunk>> = EVENTS.reserve(0) else {
            if let Some(totals) = totals() {
                maps::add(&raw mut (*totals).peeks_refused, 1);
            }
            return 0;
        };
        let copy = entry.as_mut_ptr();
        let failed = bpf_probe_read_kernel(copy.cast(), size_of::<Chunk>() as u32, chunk.cast()) != 0;
        (*copy).flags = CHUNK_PEEK | (*copy).flags & CHUNK_EXEC;
        (*copy).len = len;
        (*copy).comm = task.comm();
        (*copy).first_seq = first;
        if failed || read_volatile(&raw const (*chunk).first_seq) != first {
            entry.discard(u64::from(BPF_RB_NO_WAKEUP));
            return 0;
        }
        write_volatile(&raw mut (*chunk).reported, until);
        entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    }
    0
}

/// Follows every thread of the processes in SEEDS. User space runs it once with none before it attaches anything.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub(crate) extern "C" fn seed(ctx: *const IterTask) -> i32 {
    kernel::note_level();
    // SAFETY: the context of this program type.
    let task = Task(unsafe { (*ctx).task });
    if task.0.is_null() {
        return 0;
    }
    let tgid = task.tgid();
    let Some(seed) = SEEDS.get_ptr(tgid) else { return 0 };
    // SAFETY: a live map value.
    let (container, flags) = unsafe { ((*seed).container, (*seed).flags as u16) };
    if CONTAINERS.get_ptr(container).is_none() || task.exiting() || threads::get(task).is_some() {
        return 0;
    }
    let Some(_chunk) = containers::follow(task, tgid, container, flags) else { return 0 };
    // It may have begun to exit meanwhile: whoever deletes the buffer counts the thread out.
    if task.exiting() && threads::delete(task) {
        containers::left(container);
    }
    0
}
