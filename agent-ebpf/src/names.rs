//! What a call is about: read once, and told only when it is new for its container.
//!
//! In: a followed thread's call and its arguments; a program that begins to run. Out: [`Name`] records. Never: looks at a name for a call
//! that [`NAMED`] does not list; tells more names of a container than its budget.
//!
//! **Where the memory is there.** At `sys_enter` a name is nearly always in memory: the program has just written it. Where it is not (a
//! constant of a page that nobody has touched yet), the kernel brings the page in to make the call, and the name is read when the thread
//! makes its next call; that it may have been changed since is said ([`NAME_LATE`]). `sys_exit` would be sooner, and is not hooked: attaching to
//! it alone costs every call of the node what `sys_enter` does. What runs is read from the kernel's own memory.
//!
//! **What is new.** Each container has a table of hashes, digits folded: a name whose hash is there, and was told less than
//! [`NAMES_AGAIN_S`] ago, is not told. A container that makes up names pushes out only its own, and its
//! budget bounds how many it can tell; what is held back is counted.

use crate::{
    kernel::{self, Task},
    maps::{self, CONTAINERS, EVENTS, NAMES, SCRATCH},
};
use aya_ebpf::helpers::{
    bpf_ktime_get_ns,
    generated::{bpf_probe_read_kernel_str, bpf_probe_read_user, bpf_probe_read_user_str, bpf_ringbuf_output},
};
use core::ptr::read_volatile;
use surprisal_agent_ebpf::{
    abi::{
        ARGV0_MAX, CHUNK_TOKENS, Chunk, KIND_NAME, NAME_ADDRESS, NAME_CUT, NAME_EXEC, NAME_HEADER, NAME_LATE, NAMES_AGAIN_S,
        NAMES_BURST, NAMES_PER_S, NAMES_SETS, NAMES_WAYS, Name, NameTable,
    },
    token::named::{self, ADDRESS, NAME_MAX, NAMED},
};

/// `AF_UNIX`, `AF_INET`, `AF_INET6`.
const FAMILIES: [u16; 3] = [1, 2, 10];
/// Bits of a pointer into a process's memory.
const POINTER_BITS: u32 = 48;

/// A named call, whose token was just appended.
///
/// # Safety
/// `chunk` is the current thread's buffer, `regs` the tracepoint's `pt_regs`.
#[inline(always)]
pub(crate) unsafe fn at_call(chunk: *mut Chunk, nr: u16, token: u16, regs: *const u64) {
    let how = NAMED[usize::from(nr) & (NAMED.len() - 1)];
    // SAFETY: the caller's promise.
    let pointer = unsafe { kernel::argument(regs, how & 7) };
    if pointer == 0 {
        return;
    }
    if how & ADDRESS != 0 {
        // SAFETY: as above; the length of an address is the argument after it.
        unsafe {
            at_address(chunk, token, pointer, kernel::argument(regs, (how & 7) + 1));
        }
        return;
    }
    let Some(name) = SCRATCH.get_ptr_mut(0) else { return };
    // SAFETY: a live map value of this processor, which no other program of ours can get before this one has ended.
    unsafe {
        let text = (&raw mut (*name).text).cast();
        let read = bpf_probe_read_user_str(text, NAME_MAX as u32, pointer as *const _);
        if read > 0 {
            tell(chunk, name, token, read as u64 - 1, 0);
        } else if pointer >> POINTER_BITS == 0 {
            (*chunk).late = pointer | u64::from(token) << POINTER_BITS;
        } else {
            unread(chunk);
        }
    }
}

/// The thread makes its next call: the name of the last one must be in memory now.
///
/// # Safety
/// `chunk` is the current thread's buffer, its last call the one that [`at_call`] could not name.
#[inline(always)]
pub(crate) unsafe fn late(chunk: *mut Chunk) {
    let Some(name) = SCRATCH.get_ptr_mut(0) else { return };
    // SAFETY: as in `at_call`.
    unsafe {
        let late = (*chunk).late;
        (*chunk).late = 0;
        let pointer = late & ((1 << POINTER_BITS) - 1);
        let text = (&raw mut (*name).text).cast();
        let read = bpf_probe_read_user_str(text, NAME_MAX as u32, pointer as *const _);
        if read > 0 {
            tell(chunk, name, (late >> POINTER_BITS) as u16, read as u64 - 1, NAME_LATE);
        } else {
            unread(chunk);
        }
    }
}

/// A thread begins to run a program; its last call was the one that ordered it.
///
/// # Safety
/// `chunk` is the current thread's buffer, `bprm` the kernel's description of the program.
#[inline(always)]
pub(crate) unsafe fn at_exec(chunk: *mut Chunk, bprm: *const u8) {
    let Some(name) = SCRATCH.get_ptr_mut(0) else { return };
    // SAFETY: as in `at_call`.
    unsafe {
        // The old program's memory is gone.
        (*chunk).late = 0;
        let text = (&raw mut (*name).text).cast();
        let read = bpf_probe_read_kernel_str(text, NAME_MAX as u32, kernel::program_path(bprm).cast());
        if read <= 0 {
            unread(chunk);
            return;
        }
        let argv0 = (&raw mut (*name).argv0).cast();
        // The kernel has just written it.
        let argv0_read = bpf_probe_read_user_str(argv0, ARGV0_MAX as u32, Task::current().arguments() as *const _);
        (*name).argv0_len = if argv0_read > 0 { argv0_read as u16 - 1 } else { 0 };
        // execve or execveat: the last call is still there, also when the buffer has just been handed on.
        let last = ((*chunk).len as usize + CHUNK_TOKENS - 1) & (CHUNK_TOKENS - 1);
        let token = read_volatile((&raw const (*chunk).tokens).cast::<u16>().add(last));
        tell(chunk, name, token, read as u64 - 1, NAME_EXEC);
    }
}

#[inline(always)]
unsafe fn at_address(chunk: *mut Chunk, token: u16, pointer: u64, len: u64) {
    let Some(name) = SCRATCH.get_ptr_mut(0) else { return };
    // SAFETY: as in `at_call`; each length is a constant within the text.
    unsafe {
        let text = &raw mut (*name).text;
        if len < 4 || bpf_probe_read_user(text.cast(), 4, pointer as *const _) != 0 {
            if len >= 4 {
                unread(chunk);
            }
            return;
        }
        let family = u16::from_ne_bytes([(*text)[0], (*text)[1]]);
        // `struct sockaddr_in` and `sockaddr_in6`; of `sockaddr_un` what is there.
        let size: u32 = if family == FAMILIES[1] {
            16
        } else if family == FAMILIES[2] {
            28
        } else if family == FAMILIES[0] {
            if len >= 110 { 110 } else { len as u32 & 127 }
        } else {
            return;
        };
        if u64::from(size) > len || bpf_probe_read_user(text.cast(), size & 127, pointer as *const _) != 0 {
            unread(chunk);
            return;
        }
        if family == FAMILIES[2] {
            // The flow label is no part of the address.
            text.cast::<u32>().add(1).write_unaligned(0);
        }
        tell(chunk, name, token, u64::from(size), NAME_ADDRESS);
    }
}

/// Tells a name of `len` bytes that lies in `name`, if it is new.
#[inline(always)]
unsafe fn tell(chunk: *mut Chunk, name: *mut Name, token: u16, len: u64, flags: u16) {
    // SAFETY: live map values by the caller's promise; indices are below the arrays' lengths.
    unsafe {
        let container = (*chunk).container;
        let Some(table) = NAMES.get_ptr_mut(container) else { return untold(chunk) };
        let len = if len > NAME_MAX as u64 { NAME_MAX as u64 } else { len };
        let hash = hash(name, token, len, flags & NAME_ADDRESS != 0);
        let now_ns = bpf_ktime_get_ns();
        // Never 0: that is an empty place.
        let now_s = (now_ns / 1_000_000_000) as u32 + 1;
        let Some(place) = place(table, hash, now_s) else { return };
        if !spend(table, now_s) {
            return untold(chunk);
        }
        (*table).places[place] = hash & TAG | u64::from(now_s);
        (*name).kind = KIND_NAME;
        (*name).flags = if len + 1 >= NAME_MAX as u64 { flags | NAME_CUT } else { flags };
        (*name).token = token;
        (*name).len = len as u16;
        (*name).container = container;
        // The call's own number: it was the last to be appended.
        (*name).seq = ((*chunk).first_seq + u64::from((*chunk).len)).wrapping_sub(1);
        (*name).born_ns = (*chunk).born_ns;
        (*name).at_ns = now_ns;
        (*name).tgid = (*chunk).tgid;
        (*name).tid = (*chunk).tid;
        if flags & NAME_EXEC == 0 {
            (*name).argv0_len = 0;
        }
        // Read again, so that the verifier need not know it from within the hash's loop: it would look at each length by itself.
        let len = u64::from(read_volatile(&raw const (*name).len)) & (2 * NAME_MAX as u64 - 1);
        let size = NAME_HEADER as u64 + if len > NAME_MAX as u64 { NAME_MAX as u64 } else { len };
        if maps::is_half_full() || bpf_ringbuf_output((&raw const EVENTS).cast_mut().cast(), name.cast(), size, maps::wake()) != 0
        {
            // It will be told the next time. Calls come first: no name takes the second half of the ring from them.
            (*table).places[place] = 0;
            untold(chunk);
        }
    }
}

/// The bits of a hash that a place keeps.
const TAG: u64 = 0xffff_ffff_0000_0000;

/// Where a name is kept; `None`: it is there, and was told a while ago.
#[inline(always)]
unsafe fn place(table: *const NameTable, hash: u64, now_s: u32) -> Option<usize> {
    let set = (hash as usize & (NAMES_SETS - 1)) * NAMES_WAYS;
    let (mut best, mut oldest) = (set, u32::MAX);
    let mut way = 0;
    while way < NAMES_WAYS {
        // SAFETY: a live map value; below its length.
        let place = unsafe { (*table).places[(set + way) & (NAMES_SETS * NAMES_WAYS - 1)] };
        let told_s = place as u32;
        if (place ^ hash) & TAG == 0 && told_s != 0 {
            if now_s.wrapping_sub(told_s) < NAMES_AGAIN_S {
                return None;
            }
            return Some((set + way) & (NAMES_SETS * NAMES_WAYS - 1));
        }
        if told_s < oldest {
            (best, oldest) = (set + way, told_s);
        }
        way += 1;
    }
    Some(best & (NAMES_SETS * NAMES_WAYS - 1))
}

/// Takes one from the container's budget. False: it is spent.
#[inline(always)]
unsafe fn spend(table: *mut NameTable, now_s: u32) -> bool {
    // SAFETY: a live map value. Two processors may take the same one: a few names more.
    unsafe {
        let waited = now_s.wrapping_sub((*table).filled_s);
        if waited != 0 {
            let more = if waited > NAMES_BURST { NAMES_BURST } else { waited * NAMES_PER_S };
            let sum = (*table).budget + more;
            (*table).budget = if sum > NAMES_BURST { NAMES_BURST } else { sum };
            (*table).filled_s = now_s;
        }
        if (*table).budget == 0 {
            return false;
        }
        (*table).budget -= 1;
    }
    true
}

#[inline(always)]
unsafe fn hash(name: *const Name, token: u16, len: u64, address: bool) -> u64 {
    let mut hash = named::empty(token);
    let mut digits = false;
    let mut at = 0;
    while at < NAME_MAX as u64 {
        if at >= len {
            break;
        }
        // SAFETY: a live map value; below its length.
        let byte = unsafe { (*name).text[at as usize & (NAME_MAX - 1)] };
        (hash, digits) = if address { (named::mix(hash, byte), false) } else { named::fold(hash, byte, digits) };
        at += 1;
    }
    // What decides about a place is at both ends of it.
    hash ^ hash >> 29
}

#[inline(always)]
unsafe fn untold(chunk: *const Chunk) {
    // SAFETY: live map values.
    unsafe {
        if let Some(state) = CONTAINERS.get_ptr_mut((*chunk).container) {
            maps::add(&raw mut (*state).names_untold, 1);
        }
    }
}

#[inline(always)]
pub(crate) unsafe fn unread(chunk: *const Chunk) {
    // SAFETY: live map values.
    unsafe {
        if let Some(state) = CONTAINERS.get_ptr_mut((*chunk).container) {
            maps::add(&raw mut (*state).names_unread, 1);
        }
    }
}
