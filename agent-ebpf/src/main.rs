//! The eBPF programs. Off BPF there is nothing to run.
//!
//! In: the kernel's tracepoints. Out: records in the ring buffer and counters in maps (see the library's
//! `abi`). Never: waits, loses a call without counting it.
//!
//! One program sits on the hot path ([`probes::syscalls`]); the others run at fork, exec, exit, at changes
//! of a TCP socket's state, and when user space asks for a look at sleeping threads.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(core_intrinsics))]
#![cfg_attr(target_arch = "bpf", allow(internal_features, reason = "atomic adds: see `maps::add`"))]

#[cfg(target_arch = "bpf")]
mod containers;
#[cfg(target_arch = "bpf")]
mod kernel;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod names;
#[cfg(target_arch = "bpf")]
mod probes;
#[cfg(target_arch = "bpf")]
mod threads;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // SAFETY: the verifier accepts no program in which a panic can be reached.
    unsafe { core::hint::unreachable_unchecked() }
}

// Kernel helpers that these programs call are for GPL-compatible programs only.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
