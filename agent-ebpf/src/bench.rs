//! Empty programs, one for each kind of hook: what attaching itself costs. For `cargo xtask bench hooks` only.
//!
//! In: nothing. Out: nothing. Never: in the agent.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::{
        macros::{btf_tracepoint, raw_tracepoint, tracepoint},
        programs::{BtfTracePointContext, RawTracePointContext, TracePointContext},
    };

    #[btf_tracepoint(function = "sys_enter")]
    fn btf_enter(_ctx: BtfTracePointContext) -> i32 {
        0
    }

    #[btf_tracepoint(function = "sys_exit")]
    fn btf_exit(_ctx: BtfTracePointContext) -> i32 {
        0
    }

    #[raw_tracepoint(tracepoint = "sys_enter")]
    fn raw_enter(_ctx: RawTracePointContext) -> i32 {
        0
    }

    #[raw_tracepoint(tracepoint = "sys_exit")]
    fn raw_exit(_ctx: RawTracePointContext) -> i32 {
        0
    }

    #[tracepoint(category = "raw_syscalls", name = "sys_enter")]
    fn classic_enter(_ctx: TracePointContext) -> u32 {
        0
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // SAFETY: there is nothing here that could panic.
    unsafe { core::hint::unreachable_unchecked() }
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
