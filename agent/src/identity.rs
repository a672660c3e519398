//! From what the kernel calls a container to who it is.
//!
//! In: a [`Sighting`]: key, cgroup name, process and shim. Out: a [`ContainerInfo`]. Never: holds up the stream:
//! [`Resolver::resolve`] may sleep, so threads of its own call it, and names are joined late.
//!
//! **Invariant:** memory is bounded: by the cache sizes, and [`Resolver::forget`] frees what ended.

use crate::{
    bundle::Bundles,
    container::{ContainerId, ContainerInfo, ContainerKey},
    procfs::{Cgroups, Namespace, Procfs, cgroup},
};
use jiff::Timestamp;
use lru::LruCache;
use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Containers remembered by name: several times what a node runs.
const HITS_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
/// Containers remembered as nameless.
const MISSES_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");
/// A nameless container is not looked for again so soon.
const MISS_FOR: Duration = Duration::from_secs(5);
/// Pauses between tries. A bundle is complete before the container's first process starts, so a second
/// try is rare: the runtime is replacing a file, or the node is starved.
const PAUSES_MS: [u64; 6] = [2, 5, 15, 40, 100, 250];
/// Shims asked for a container whose own shim is not known.
const SHIMS_MAX: usize = 64;

/// How a container was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its first process was seen to be executed.
    Birth,
    /// It ran before the agent, and the walk of `/proc` found it.
    Walk,
    /// Its birth was lost; its calls came.
    Inferred,
}

/// What is known of a container before it has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// What the kernel calls it.
    pub key: ContainerKey,
    /// Its cgroup directory's own name, as the kernel saw it at birth; empty: it was in the root, or is not known.
    pub cgroup_name: String,
    /// One of its processes; may be gone.
    pub tgid: u32,
    /// The shim it descends from; 0: not known. May be gone.
    pub shim_tgid: u32,
    /// When its first process was executed. `None`: it ran before the agent.
    pub started_at: Option<Timestamp>,
    /// How it was found.
    pub found: Found,
}

/// Names containers, and remembers.
#[derive(Debug)]
pub struct Resolver {
    node: Arc<str>,
    procfs: Procfs,
    bundles: Bundles,
    pauses: Vec<Duration>,
    memory: Mutex<Memory>,
}

#[derive(Debug)]
struct Memory {
    hits: LruCache<ContainerKey, Arc<ContainerInfo>>,
    misses: LruCache<ContainerKey, (Instant, Arc<ContainerInfo>)>,
}

impl Resolver {
    /// For containers of this node.
    pub fn new(node: &str, procfs: Procfs) -> Self {
        Self {
            node: node.into(),
            bundles: Bundles::new(procfs.clone()),
            procfs,
            pauses: PAUSES_MS.map(Duration::from_millis).to_vec(),
            memory: Mutex::new(Memory { hits: LruCache::new(HITS_MAX), misses: LruCache::new(MISSES_MAX) }),
        }
    }

    /// Who it is. Without a readable bundle, an unnamed [`ContainerInfo`] (see [`ContainerInfo::is_named`]) with
    /// whatever id could be told. Sleeps between tries, 0.4 s in all: call it where that holds up nobody.
    pub fn resolve(&self, sighting: &Sighting) -> Arc<ContainerInfo> {
        if let Some(known) = self.known(sighting.key) {
            return known;
        }
        let mut pauses = self.pauses.iter();
        let found = loop {
            let found = self.look(sighting);
            match pauses.next() {
                Some(pause) if !found.is_named() && self.may_still_come(sighting) => thread::sleep(*pause),
                _ => break Arc::new(found),
            }
        };
        let mut memory = self.memory();
        if found.is_named() {
            memory.misses.pop(&sighting.key);
            memory.hits.put(sighting.key, found.clone());
        } else {
            memory.misses.put(sighting.key, (Instant::now(), found.clone()));
        }
        found
    }

    /// What is remembered, without looking.
    pub fn known(&self, key: ContainerKey) -> Option<Arc<ContainerInfo>> {
        let mut memory = self.memory();
        if let Some(info) = memory.hits.get(&key) {
            return Some(info.clone());
        }
        let (tried, info) = memory.misses.get(&key)?;
        (tried.elapsed() < MISS_FOR).then(|| info.clone())
    }

    /// It has ended: frees all that is known of it.
    pub fn forget(&self, key: ContainerKey) {
        let mut memory = self.memory();
        memory.hits.pop(&key);
        memory.misses.pop(&key);
    }

    /// Containers remembered, named or not.
    pub fn len(&self) -> usize {
        let memory = self.memory();
        memory.hits.len() + memory.misses.len()
    }

    /// Is nothing remembered?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Every change is one call on one cache: a panic elsewhere leaves it whole.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Once neither the process nor its shim is there, no second try can tell more.
    fn may_still_come(&self, s: &Sighting) -> bool {
        [s.tgid, s.shim_tgid].into_iter().any(|pid| pid != 0 && self.procfs.stat(pid).is_some_and(|stat| stat.state != 'Z'))
    }

    fn look(&self, s: &Sighting) -> ContainerInfo {
        let cgroups = self.procfs.cgroups(s.tgid);
        let shims = self.shims(s);
        let told = told_ids(&s.cgroup_name, &cgroups);
        for id in &told {
            if let Some(info) = shims.iter().find_map(|shim| self.read(*shim, id, s)) {
                return info;
            }
        }
        // The cgroup does not say: everything sits in the root, or the runtime was told another path.
        if let Some(info) = shims.first().and_then(|shim| self.by_process(*shim, s, &cgroups)) {
            return info;
        }
        ContainerInfo::unnamed(s.key, self.node.clone(), told.into_iter().next(), s.started_at)
    }

    fn read(&self, shim: u32, id: &ContainerId, s: &Sighting) -> Option<ContainerInfo> {
        let bundle = self.bundles.read(shim, id).ok()?;
        Some(ContainerInfo::named(s.key, self.node.clone(), id.clone(), bundle.names, s.started_at))
    }

    /// Among the bundles around a shim, the one whose first process is this one, shares its mount
    /// namespace, or was given its cgroup.
    fn by_process(&self, shim: u32, s: &Sighting, cgroups: &Cgroups) -> Option<ContainerInfo> {
        let mnt_ns = s.key.mnt_ns().or_else(|| self.procfs.namespace(s.tgid, Namespace::Mount));
        if let Some(own) = self.bundles.own(shim).filter(|own| own.alone) {
            return self.read(shim, &own.id, s);
        }
        let around = self.bundles.around(shim);
        let is_it = |id: &&ContainerId| {
            let init = self.bundles.init_pid(shim, id);
            if init == Some(s.tgid) {
                return true;
            }
            if let (Some(init), Some(mnt_ns)) = (init, mnt_ns) {
                return self.procfs.namespace(init, Namespace::Mount) == Some(mnt_ns);
            }
            let given = self.bundles.read(shim, id).ok().and_then(|b| b.cgroups_path);
            given.is_some_and(|given| given != "/" && cgroups.unified.iter().chain(&cgroups.others).any(|c| *c == given))
        };
        around.iter().find(is_it).and_then(|id| self.read(shim, id, s))
    }

    /// The shim it descends from; where that is gone or not known, any: bundles of one runtime
    /// namespace all lie side by side.
    fn shims(&self, s: &Sighting) -> Vec<u32> {
        if s.shim_tgid != 0 && self.procfs.is_monitor(s.shim_tgid) {
            return vec![s.shim_tgid];
        }
        let mut at = s.tgid;
        // As deep as a process tree gets.
        for _ in 0..64 {
            let Some(stat) = self.procfs.stat(at) else { break };
            let Ok(parent) = u32::try_from(stat.ppid) else { break };
            if parent == 0 {
                break;
            }
            if self.procfs.is_monitor(parent) {
                return vec![parent];
            }
            at = parent;
        }
        let all = self.procfs.processes().unwrap_or_default();
        all.into_iter().filter(|tgid| self.procfs.is_monitor(*tgid)).take(SHIMS_MAX).collect()
    }
}

/// Ids that the cgroup speaks of, surest first.
fn told_ids(cgroup_name: &str, cgroups: &Cgroups) -> Vec<ContainerId> {
    let plain = |name: &str| {
        let unit = [".slice", ".scope", ".service"].iter().any(|suffix| name.ends_with(suffix));
        if unit { None } else { name.parse().ok() }
    };
    let mut ids: Vec<ContainerId> = Vec::new();
    let told = [cgroup::id_by_shape(cgroup_name), cgroups.container().map(|(id, _)| id), plain(cgroup_name)];
    for id in told.into_iter().flatten() {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

#[cfg(test)]
mod tests;
