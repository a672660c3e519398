//! The hot path: one program, for every system call of every process on the node.
//!
//! In: `sys_enter`. Out: a token in the thread's own buffer; a full buffer becomes a record. A process that
//! is not followed costs one lookup.

use crate::{
    containers,
    kernel::{self, ARG, Task},
    names,
    probes::context::Context,
    threads,
};
use surprisal_agent_ebpf::token::{self, NR_FOREIGN, NR_MAX, NR_UNKNOWN, Token};

#[cfg_attr(not(feature = "raw-tracepoints"), aya_ebpf::macros::btf_tracepoint(function = "sys_enter"))]
#[cfg_attr(feature = "raw-tracepoints", aya_ebpf::macros::raw_tracepoint(tracepoint = "sys_enter"))]
pub(crate) fn sys_enter(ctx: Context) -> i32 {
    let task = Task::current();
    if let Some(chunk) = threads::get(task) {
        let regs: *const u64 = ctx.arg(0);
        let nr: u64 = ctx.arg(1);
        let chunk = chunk.as_ptr();
        let (token, named) = token(task, regs, nr);
        // SAFETY: the thread's own buffer, and only this thread appends to it.
        unsafe {
            if (*chunk).late != 0 {
                names::late(chunk);
            }
            containers::append(chunk, token.0);
            if named && kernel::names() {
                names::at_call(chunk, nr as u16, token.0, regs);
            }
        }
    }
    0
}

/// The call's token, and whether it is about something with a name.
#[inline(always)]
fn token(task: Task, regs: *const u64, nr: u64) -> (Token, bool) {
    if task.in_compat_call() {
        return (Token::new(NR_FOREIGN, 0), false);
    }
    if nr >= NR_MAX {
        // Bit 30 marks the x32 numbering.
        return (Token::new(if nr & 0x4000_0000 != 0 { NR_FOREIGN } else { NR_UNKNOWN }, 0), false);
    }
    let rule = token::RULES[(nr & (NR_MAX - 1)) as usize];
    // SAFETY: `regs` is the tracepoint's pt_regs.
    let token = token::classify(nr as u16, rule, |i| unsafe { kernel::word(regs.add(ARG[i])) });
    (token, rule & token::RULE_NAMED != 0)
}

/// An empty program on the same hook, for `bench capture` only: what attaching itself costs.
#[cfg_attr(not(feature = "raw-tracepoints"), aya_ebpf::macros::btf_tracepoint(function = "sys_enter"))]
#[cfg_attr(feature = "raw-tracepoints", aya_ebpf::macros::raw_tracepoint(tracepoint = "sys_enter"))]
pub(crate) fn sys_enter_empty(_ctx: Context) -> i32 {
    0
}
