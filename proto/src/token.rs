//! The two-byte token, as the kernel side makes it: [`surprisal_agent_ebpf::token`] under this crate's name.

pub use surprisal_agent_ebpf::token::*;
