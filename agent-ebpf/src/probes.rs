//! One file per kind of tracepoint.
//!
//! All attach to BTF tracepoints. The feature `raw-tracepoints` attaches them to plain raw tracepoints of the same names
//! instead, for kernels that refuse the former: arguments are the same, and what they point at is read through helpers.

mod context;
pub(crate) mod lifecycle;
pub(crate) mod network;
pub(crate) mod peek;
pub(crate) mod syscalls;
