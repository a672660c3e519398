//! What the kernel side calls a container, and how that is chosen.
//!
//! In: cgroup ids and namespace inodes. Out: [`ContainerKey`]. Pure.

use std::fmt;
use surprisal_agent_ebpf::abi::{CGROUP_ROOT, KEY_MNT_NS};

/// What the kernel side calls a container.
///
/// Its unified cgroup's id when that is neither the root's nor the shim's own; else its first
/// process's mount namespace inode with [`KEY_MNT_NS`] set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerKey(pub u64);

impl ContainerKey {
    /// The key of a process, by the rule above. `by_process`: never by cgroup.
    pub fn of(cgroup_id: Option<u64>, shim_cgroup_id: Option<u64>, mnt_ns: u32, by_process: bool) -> Self {
        match cgroup_id {
            Some(id) if !by_process && id != CGROUP_ROOT && Some(id) != shim_cgroup_id => Self(id),
            _ => Self(u64::from(mnt_ns) | KEY_MNT_NS),
        }
    }

    /// The mount namespace that it names, if it names one.
    pub fn mnt_ns(self) -> Option<u32> {
        (self.0 & KEY_MNT_NS != 0).then_some(self.0 as u32)
    }
}

impl fmt::Display for ContainerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnt_ns() {
            Some(inode) => write!(f, "mnt:{inode}"),
            None => write!(f, "cgroup:{}", self.0),
        }
    }
}

/// How a container's key is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Membership {
    /// By unified cgroup where a container has its own, else by process.
    #[default]
    Auto,
    /// By process alone: mount namespace and inheritance.
    Process,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        #[track_caller]
        fn check(cgroup: Option<u64>, shim: Option<u64>, by_process: bool, expect: &str) {
            assert_eq!(ContainerKey::of(cgroup, shim, 4_026_531_841, by_process).to_string(), expect);
        }
        check(Some(63), Some(1), false, "cgroup:63");
        check(Some(63), None, false, "cgroup:63");
        check(Some(63), Some(1), true, "mnt:4026531841");
        check(Some(1), Some(1), false, "mnt:4026531841");
        check(Some(1), Some(5), false, "mnt:4026531841");
        check(Some(5), Some(5), false, "mnt:4026531841");
        check(None, Some(5), false, "mnt:4026531841");
    }
}
