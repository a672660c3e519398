//! One file per kind of tracepoint.

pub(crate) mod lifecycle;
pub(crate) mod network;
pub(crate) mod peek;
pub(crate) mod syscalls;
