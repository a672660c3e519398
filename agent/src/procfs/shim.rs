//! What a shim looks like.
//!
//! In: a process's `stat`. Out: whether a container's lineage begins with it. Pure.

use procfs::process::Stat;

/// A shim's comm: `containerd-shim-runc-v2`, cut to 15 characters by the kernel.
pub const SHIM_COMM: &str = "containerd-shim";

/// Whether it is a living shim, not one that waits to be reaped.
pub fn is_shim(stat: &Stat) -> bool {
    stat.comm == SHIM_COMM && stat.state != 'Z'
}
