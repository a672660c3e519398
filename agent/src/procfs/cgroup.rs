//! Cgroup paths, and the containers that they speak of.
//!
//! In: the text of `/proc/<pid>/cgroup`. Out: container ids ([`container_in`]) and a process's [`Cgroups`]. Pure.
//! Never: looks at processes or at the cgroup tree (that is `unified`).
//!
//! Shapes that are read (each in every hierarchy, and below `/..` when the agent sits in a cgroup namespace):
//!
//! | path | made by |
//! |---|---|
//! | `/default/c1` | containerd, cgroupfs: namespace and id |
//! | `/docker/<id>`, `/system.slice/docker-<id>.scope` | Docker |
//! | `/kubepods/burstable/pod<uid>/<id>` | containerd and CRI-O, cgroupfs |
//! | `/kubepods.slice/…-pod<uid>.slice/cri-containerd-<id>.scope`, `…/crio-<id>.scope` | the same, systemd |
//! | `/…slice:cri-containerd:<id>` | containerd, systemd paths under the cgroupfs driver |

use crate::container::id::ContainerId;
use procfs::{FromBufRead as _, ProcessCGroups};

/// What a runtime puts before the id in a scope's name.
const SCOPE_PREFIXES: [&str; 6] = ["cri-containerd-", "docker-", "crio-", "libpod-", "nerdctl-", "containerd-"];
/// Longest path that is looked at: the kernel's own limit.
pub(super) const PATH_MAX: usize = 4096;
/// First components under which a plain `<namespace>/<id>` never lies.
const NOT_NAMESPACES: [&str; 4] = ["kubepods", "docker", "system.slice", "user.slice"];

/// A container id found in a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InPath {
    /// The id.
    pub id: ContainerId,
    /// Bytes of the path up to the end of the id's component: the container's own cgroup. What
    /// follows, the container made itself.
    pub end: usize,
}

/// The container that a cgroup path belongs to: the innermost one.
///
/// Only for processes known to descend from a shim: that `/a/b` is namespace and id cannot be seen from the path.
pub fn container_in(path: &str) -> Option<InPath> {
    if path.len() > PATH_MAX {
        return None;
    }
    let parts = components(path);
    let ups = parts.iter().take_while(|(part, _)| *part == "..").count();
    let parts = &parts[ups..];
    if let Some(found) = parts.iter().rev().find_map(|(part, end)| Some(InPath { id: id_by_shape(part)?, end: *end })) {
        return Some(found);
    }
    // Of a plain path, a cgroup namespace may have cut the first component off.
    let (id, first) = match parts {
        [only] if ups > 0 => (only, only.0),
        [first, id, ..] => (id, first.0),
        _ => return None,
    };
    let unit = |part: &str| [".slice", ".scope", ".service"].iter().any(|suffix| part.ends_with(suffix));
    if NOT_NAMESPACES.contains(&first) || unit(first) || unit(id.0) {
        return None;
    }
    Some(InPath { id: id.0.parse().ok()?, end: id.1 })
}

/// The container that a cgroup directory's own name speaks of, where the name alone tells.
pub fn id_by_shape(name: &str) -> Option<ContainerId> {
    let bare = name.strip_suffix(".scope").unwrap_or(name);
    if bare.starts_with("crio-conmon-") {
        // The monitor's own scope: no container.
        return None;
    }
    let id = SCOPE_PREFIXES.iter().find_map(|p| bare.strip_prefix(p)).or_else(|| bare.rsplit(':').next()).unwrap_or(bare);
    let is_hex = |id: &str| id.len() == 64 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let scoped = id.len() < bare.len();
    // A scope's prefix or `slice:prefix:` vouches for any id, as `ctr --runc-systemd-cgroup` makes them.
    let vouched = scoped && (name.len() > bare.len() || bare.matches(':').count() == 2);
    if is_hex(id) || vouched {
        return id.parse().ok();
    }
    None
}

/// Components with the offset at which each ends.
fn components(path: &str) -> Vec<(&str, usize)> {
    let mut out = Vec::new();
    let mut end = 0;
    for part in path.split('/') {
        end += part.len();
        if !part.is_empty() && part != "." {
            out.push((part, end));
        }
        end += 1;
    }
    out
}

/// A process's cgroups, unified first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroups {
    /// Path in the unified hierarchy; `None`: there is none.
    pub unified: Option<String>,
    /// Paths in the other hierarchies that are not the root, each once.
    pub others: Vec<String>,
}

impl Cgroups {
    /// From the text of `/proc/<pid>/cgroup`; what cannot be read is left out.
    pub fn parse(text: &str) -> Self {
        let mut cgroups = Self::default();
        for line in text.lines() {
            let Ok(parsed) = ProcessCGroups::from_buf_read(line.as_bytes()) else { continue };
            for group in parsed {
                // A removed cgroup keeps its zombies.
                let path = group.pathname.strip_suffix(" (deleted)").unwrap_or(&group.pathname).to_owned();
                if group.hierarchy == 0 && group.controllers.is_empty() {
                    cgroups.unified = Some(path);
                } else if path != "/" && !cgroups.others.contains(&path) {
                    cgroups.others.push(path);
                }
            }
        }
        cgroups
    }

    /// The container that they speak of, and the path that says so. Only for what descends from a shim.
    pub fn container(&self) -> Option<(ContainerId, &str)> {
        self.unified.iter().chain(&self.others).find_map(|path| {
            let found = container_in(path)?;
            Some((found.id, &path[..found.end]))
        })
    }

    /// The unified cgroup of the container itself, without what the container made below it.
    pub fn unified_of_container(&self) -> Option<&str> {
        let path = self.unified.as_deref()?;
        Some(container_in(path).map_or(path, |found| &path[..found.end]))
    }
}

/// Which cgroup hierarchies a host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupVersion {
    /// None at all.
    None,
    /// Only v1: containers are told apart by process.
    V1,
    /// v1 and the unified one.
    Hybrid,
    /// Only the unified one.
    V2,
}

impl CgroupVersion {
    /// From the text of `/proc/self/cgroup`.
    pub fn parse(cgroup_file: &str) -> Self {
        let (unified, others): (Vec<_>, Vec<_>) = cgroup_file.lines().partition(|l| l.starts_with("0::"));
        match (unified.is_empty(), others.is_empty()) {
            (true, true) => Self::None,
            (true, false) => Self::V1,
            (false, false) => Self::Hybrid,
            (false, true) => Self::V2,
        }
    }
}

#[cfg(test)]
mod tests;
