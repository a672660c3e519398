//! One file per kind of tracepoint.
//!
//! All attach to BTF tracepoints; the feature `raw-tracepoints` makes plain raw ones of the same functions, for
//! kernels that refuse the former. Arguments are the same, and what they point at is then read through helpers.

pub(crate) mod lifecycle;
pub(crate) mod network;
pub(crate) mod peek;
pub(crate) mod syscalls;

#[cfg(not(feature = "raw-tracepoints"))]
pub(crate) use aya_ebpf::programs::BtfTracePointContext as Context;
#[cfg(feature = "raw-tracepoints")]
pub(crate) use aya_ebpf::programs::RawTracePointContext as Context;
