//! The context that a tracepoint's program is given.
//!
//! In: nothing. Out: one name for both kinds of tracepoint, whose arguments are the same.

#[cfg(not(feature = "raw-tracepoints"))]
pub(crate) use aya_ebpf::programs::BtfTracePointContext as Context;
#[cfg(feature = "raw-tracepoints")]
pub(crate) use aya_ebpf::programs::RawTracePointContext as Context;
