//! Membership of what ran before the agent.
//!
//! In: shims, runtime processes and members, as the procfs walk found them. Out: entries in the maps, and every
//! thread of a member followed. Never: looks at /proc itself.
//!
//! Processes are born while the walk walks. So the caller attaches the lifecycle programs first and walks again
//! until a walk finds nobody new: whoever was forked by a followed thread is followed already.

use super::{
    error::LoadError,
    loader::{Kernel, SeedMaps},
};
use aya::maps::MapError;
use std::collections::HashSet;
use surprisal_agent_ebpf::abi::{CHUNK_EXEC, ContainerState, Lineage, Seed, maps};

/// A process that belongs to a shim's lineage but to no container: the shim itself, runc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// Process id.
    pub tgid: u32,
    /// The shim's unified cgroup id.
    pub cgroup_id: u64,
    /// The shim's mount namespace inode.
    pub mnt_ns: u32,
    /// The shim's process id.
    pub shim_tgid: u32,
}

/// A process of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Process id.
    pub tgid: u32,
    /// Container key.
    pub key: u64,
    /// Its unified cgroup id, or the root's.
    pub cgroup_id: u64,
    /// Its mount namespace inode.
    pub mnt_ns: u32,
    /// It descends from a process that entered the container later.
    pub by_exec: bool,
}

/// Seeds the kernel's maps; keep it for as many walks as needed.
#[derive(Debug)]
pub struct Seeder {
    maps: SeedMaps,
    seen: HashSet<u32>,
}

impl Seeder {
    /// Takes the maps. Once per [`Kernel`].
    pub fn new(kernel: &mut Kernel) -> Result<Self, LoadError> {
        Ok(Self { maps: kernel.take_seed_maps()?, seen: HashSet::new() })
    }

    /// Takes a walk's findings. Returns the containers that are new with it, and whether any process was: if so, walk again.
    pub fn seed(
        &mut self,
        kernel: &mut Kernel,
        ancestors: &[Ancestor],
        members: &[Member],
    ) -> Result<(Vec<u64>, bool), LoadError> {
        let mut any = false;
        for a in ancestors {
            if self.seen.insert(a.tgid) {
                any = true;
                let value = Lineage { cgroup_id: a.cgroup_id, mnt_ns: a.mnt_ns, shim_tgid: a.shim_tgid };
                self.maps.lineage.insert(a.tgid, value, 0).map_err(map_error(maps::LINEAGE))?;
            }
        }
        let mut born = Vec::new();
        for m in members {
            if !self.seen.insert(m.tgid) {
                continue;
            }
            any = true;
            let state = ContainerState { cgroup_id: m.cgroup_id, mnt_ns: m.mnt_ns, tgid: m.tgid, ..ContainerState::default() };
            if kernel.add_container(m.key, state)? {
                born.push(m.key);
            }
            let flags = if m.by_exec { u64::from(CHUNK_EXEC) } else { 0 };
            self.maps.seeds.insert(m.tgid, Seed { container: m.key, flags }, 0).map_err(map_error(maps::SEEDS))?;
        }
        if any {
            kernel.run_seed()?;
        }
        Ok((born, any))
    }

    /// Frees the seeds, and forgets whom it has seen: ids of processes are used again.
    pub fn finish(&mut self) {
        for tgid in self.seen.drain() {
            // Ancestors were never among them.
            let _ = self.maps.seeds.remove(&tgid);
        }
    }
}

fn map_error(map: &'static str) -> impl Fn(MapError) -> LoadError {
    move |source| LoadError::Map { map, source: Box::new(source) }
}
