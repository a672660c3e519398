//! The start-up walk: which processes run in containers, and below which shim.
//!
//! In: procfs. Out: [`Walk`]: shims, what a runtime is still preparing, and members of containers. Never:
//! names a container, keeps a process alive.
//!
//! A process belongs to a container when one of its ancestors is a monitor (`containerd-shim*`, `conmon`; "shim" for short)
//! and its mount namespace is another than that shim's. What shares the shim's namespace is the runtime's (runc
//! on its way), and so is `runc init`, which waits in the new namespace for the order to start.

use super::{
    cgroup::Cgroups,
    processes::{Error, Namespace, Procfs},
    unified::Unified,
};
use crate::container::{
    id::ContainerId,
    key::{ContainerKey, Membership},
};
use std::collections::HashMap;

/// A living shim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shim {
    /// Process id.
    pub tgid: u32,
    /// Unified cgroup id; 0: there is none, or it cannot be seen from here.
    pub cgroup_id: u64,
    /// Mount namespace inode; 0: not ours to see (`CAP_SYS_PTRACE`).
    pub mnt_ns: u32,
}

/// A process between a shim and a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Process id.
    pub tgid: u32,
    /// The shim it descends from.
    pub shim_tgid: u32,
}

/// A process in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Process id.
    pub tgid: u32,
    /// Its container's key.
    pub key: ContainerKey,
    /// Its container's id, where its cgroup's path says so.
    pub container_id: Option<ContainerId>,
    /// The shim it descends from.
    pub shim_tgid: u32,
    /// Mount namespace inode; 0: not ours to see.
    pub mnt_ns: u32,
    /// Unified cgroup id of its container; 0: there is none, or it cannot be seen from here.
    pub cgroup_id: u64,
    /// When it was started, clock ticks after boot: with `tgid`, never the same for two processes.
    pub start_time: u64,
    /// It descends from a process that entered the container when its first one ran already (`kubectl exec`, an exec probe).
    pub by_exec: bool,
}

/// What a walk found. A process started while it ran may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Shims. One inside another container is also a member there.
    pub shims: Vec<Shim>,
    /// What a runtime is still preparing.
    pub runtime: Vec<Runtime>,
    /// What runs in containers.
    pub members: Vec<Member>,
}

/// Walks, and remembers what it learned about processes that live on.
#[derive(Debug)]
pub struct Walker {
    procfs: Procfs,
    unified: Option<Unified>,
    by_process: bool,
    /// Verdicts by process id and start time: a living process never changes sides.
    known: HashMap<(u32, u64), Option<u32>>,
}

/// One process, as the snapshot has it.
#[derive(Clone, Copy, Debug)]
struct Process {
    parent: u32,
    start_time: u64,
    shim: bool,
    gone: bool,
}

impl Walker {
    /// A walker with an empty memory.
    pub fn new(procfs: Procfs, membership: Membership) -> Self {
        let unified = procfs.unified();
        Self { procfs, unified, by_process: membership == Membership::Process, known: HashMap::new() }
    }

    /// Can cgroup ids be told from here? Where not, keys by cgroup would differ from the kernel's:
    /// use [`Membership::Process`].
    pub fn sees_cgroup_ids(&mut self) -> bool {
        let own = self.procfs.cgroups(std::process::id()).unified;
        match (&mut self.unified, own) {
            // In a cgroup namespace one's own path is "/", which names nothing: what matters is the tree above.
            (Some(unified), Some(path)) => unified.id(&path).is_some() || unified.sees_above(),
            _ => false,
        }
    }

    /// Looks at every process once.
    pub fn walk(&mut self) -> Result<Walk, Error> {
        if let Some(unified) = &mut self.unified {
            unified.forget();
        }
        let mut processes = HashMap::new();
        for tgid in self.procfs.processes()? {
            if let Some(process) = self.look(tgid) {
                processes.insert(tgid, process);
            }
        }
        let mut under = HashMap::with_capacity(processes.len());
        let tgids: Vec<u32> = processes.keys().copied().collect();
        for tgid in tgids {
            self.climb(tgid, &mut processes, &mut under);
        }
        self.known = under.iter().filter_map(|(tgid, shim)| Some(((*tgid, processes.get(tgid)?.start_time), *shim))).collect();
        Ok(self.sort(&processes, &under))
    }

    fn look(&self, tgid: u32) -> Option<Process> {
        let stat = self.procfs.stat(tgid)?;
        // A first thread that ended before the others looks like a zombie; the process lives.
        let gone = matches!(stat.state, 'Z' | 'X' | 'x') && stat.num_threads <= 1;
        Some(Process {
            parent: u32::try_from(stat.ppid).unwrap_or(0),
            start_time: stat.starttime,
            shim: !gone && self.procfs.monitors().is_name(&stat.comm),
            gone,
        })
    }

    /// Finds the nearest shim above `tgid` and notes it for all that lie between.
    fn climb(&self, tgid: u32, processes: &mut HashMap<u32, Process>, under: &mut HashMap<u32, Option<u32>>) {
        let mut path = Vec::new();
        let mut at = tgid;
        let shim = loop {
            if let Some(known) = under.get(&at) {
                break *known;
            }
            let Some(process) = processes.get(&at).copied() else { break None };
            let remembered = self.known.get(&(at, process.start_time)).copied().flatten();
            if let Some(shim) = remembered.filter(|shim| processes.get(shim).is_some_and(|p| p.shim)) {
                path.push(at);
                break Some(shim);
            }
            // A snapshot that took a while may hold a circle of recycled ids.
            if path.contains(&at) {
                break None;
            }
            path.push(at);
            let mut parent = process.parent;
            if parent != 0 && !processes.contains_key(&parent) {
                // The parent ended after we read this: by now there is another.
                let Some(fresh) = self.look(at).filter(|p| p.start_time == process.start_time) else { break None };
                parent = fresh.parent;
                if let (false, Some(unseen)) = (processes.contains_key(&parent), self.look(parent)) {
                    processes.insert(parent, unseen);
                }
            }
            if processes.get(&parent).is_some_and(|p| p.shim) {
                break Some(parent);
            }
            at = parent;
        };
        under.extend(path.into_iter().map(|tgid| (tgid, shim)));
    }

    fn sort(&mut self, processes: &HashMap<u32, Process>, under: &HashMap<u32, Option<u32>>) -> Walk {
        let mut walk = Walk::default();
        let mut shims = HashMap::new();
        for (tgid, _) in processes.iter().filter(|(_, p)| p.shim) {
            let cgroups = self.procfs.cgroups(*tgid);
            let shim = Shim {
                tgid: *tgid,
                cgroup_id: cgroups.unified.as_deref().and_then(|path| self.cgroup_id(path)).unwrap_or(0),
                mnt_ns: self.procfs.namespace(*tgid, Namespace::Mount).unwrap_or(0),
            };
            shims.insert(*tgid, shim.clone());
            walk.shims.push(shim);
        }
        for (tgid, process) in processes.iter().filter(|(_, p)| !p.gone) {
            let Some(shim) = under.get(tgid).copied().flatten().and_then(|shim| shims.get(&shim)) else { continue };
            let cgroups = self.procfs.cgroups(*tgid);
            match self.procfs.namespace(*tgid, Namespace::Mount) {
                Some(mnt_ns) if mnt_ns == shim.mnt_ns || self.is_runc_init(*tgid) => {
                    walk.runtime.push(Runtime { tgid: *tgid, shim_tgid: shim.tgid });
                }
                Some(mnt_ns) => walk.members.push(self.member(*tgid, process, shim, mnt_ns, &cgroups)),
                // Gone, or without rights: then the cgroup still tells.
                None if cgroups.container().is_some() => walk.members.push(self.member(*tgid, process, shim, 0, &cgroups)),
                None => {}
            }
        }
        self.mark_execs(&mut walk.members, processes);
        walk.shims.sort_by_key(|s| s.tgid);
        walk.runtime.sort_by_key(|r| r.tgid);
        walk.members.sort_by_key(|m| (m.start_time, m.tgid));
        walk
    }

    fn member(&mut self, tgid: u32, process: &Process, shim: &Shim, mnt_ns: u32, cgroups: &Cgroups) -> Member {
        let cgroup_id = cgroups.unified_of_container().and_then(|path| self.cgroup_id(path));
        let shim_cgroup_id = (shim.cgroup_id != 0).then_some(shim.cgroup_id);
        Member {
            tgid,
            key: ContainerKey::of(cgroup_id, shim_cgroup_id, mnt_ns, self.by_process),
            container_id: cgroups.container().map(|(id, _)| id),
            shim_tgid: shim.tgid,
            mnt_ns,
            cgroup_id: cgroup_id.unwrap_or(0),
            start_time: process.start_time,
            by_exec: false,
        }
    }

    /// A container's first process is the oldest child of its shim, and whoever else is the shim's child was started by exec: so
    /// are both's descendants. Where the container shares the shim's pid namespace, the shim also takes in orphans, and nobody
    /// can tell: then nobody is marked.
    fn mark_execs(&self, members: &mut [Member], processes: &HashMap<u32, Process>) {
        let root = |member: &Member| {
            let mut at = member.tgid;
            // As deep as a process tree gets.
            for _ in 0..64 {
                match processes.get(&at)?.parent {
                    parent if parent == member.shim_tgid => return Some(at),
                    parent => at = parent,
                }
            }
            None
        };
        let roots: Vec<Option<u32>> = members.iter().map(root).collect();
        let mut first: HashMap<ContainerKey, (u64, u32)> = HashMap::new();
        for (member, root) in members.iter().zip(&roots) {
            if *root == Some(member.tgid) {
                let age = (member.start_time, member.tgid);
                let oldest = first.entry(member.key).or_insert(age);
                *oldest = age.min(*oldest);
            }
        }
        for (member, root) in members.iter_mut().zip(roots) {
            let Some(root) = root.filter(|root| first.get(&member.key).is_some_and(|(_, first)| first != root)) else { continue };
            let pids = |tgid: u32| self.procfs.namespace(tgid, Namespace::Pid);
            member.by_exec = pids(root).is_some_and(|own| Some(own) != pids(member.shim_tgid));
        }
    }

    fn cgroup_id(&mut self, path: &str) -> Option<u64> {
        self.unified.as_mut()?.id(path)
    }

    /// `runc init` calls itself `runc:[2:INIT]`. So may anyone, but not with runc's own program behind it.
    fn is_runc_init(&self, tgid: u32) -> bool {
        self.procfs.stat(tgid).is_some_and(|s| s.comm.starts_with("runc:["))
            && self.procfs.program(tgid).is_some_and(|program| program.contains("runc"))
    }
}

#[cfg(test)]
mod tests;
