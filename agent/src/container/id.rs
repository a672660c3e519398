//! How a container is told from others: the runtime's id, and what the kernel side calls it. *Pure.*
//!
//! In: text, inodes. Out: [`ContainerId`], [`ContainerKey`]. Never: a name for people.

use std::{fmt, str::FromStr};
use surprisal_agent_ebpf::abi::{CGROUP_ROOT, KEY_MNT_NS};

/// Longest id that is believed. containerd allows 76 bytes; Docker, CRI-O and Kubernetes use 64.
pub const ID_MAX: usize = 128;

/// A runtime's container id: 1 to [`ID_MAX`] of `A-Z a-z 0-9 . _ -`, first one a letter or digit.
///
/// **Invariant:** it holds no `/` and is neither `.` nor `..`, so it can be put into a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(Box<str>);

/// What is no container id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a container id")]
pub struct BadId(String);

impl FromStr for ContainerId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if first && rest && text.len() <= ID_MAX {
            return Ok(Self(text.into()));
        }
        Err(BadId(text.chars().take(ID_MAX).collect()))
    }
}

impl ContainerId {
    /// An id for a container of which only its key is known.
    pub fn unnamed(key: ContainerKey) -> Self {
        Self(format!("unnamed-{:x}", key.0).into())
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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
