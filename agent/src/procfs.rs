//! The only door to `/proc`.
//!
//! In: a procfs mount, and what the unified cgroup tree shows. Out: who descends from which shim ([`walk`]), cgroups,
//! namespaces and network counters of processes. Never: names containers (that is [`crate::identity`]), opens a socket,
//! writes.
//!
//! Everything here races with processes that end: what is gone is `None` or left out, never an error.

pub mod cgroup;
pub mod monitor;
pub mod network;
pub mod processes;
pub mod unified;
pub mod walk;

pub use cgroup::{CgroupVersion, Cgroups};
pub use monitor::Monitors;
pub use network::NetTotals;
pub(crate) use processes::read_bounded;
pub use processes::{Error, Namespace, Procfs};
pub use walk::{Member, Runtime, Shim, Walk, Walker};
