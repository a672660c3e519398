//! The start-up walk: which processes run in containers, and below which shim.
//!
//! In: procfs. Out: [`Walk`]: shims, what a runtime is still preparing, and members of containers. Never:
//! names a container, keeps a process alive.
//!
//! A process belongs to a container when one of its ancestors is a `containerd-shim*` and its mount
//! namespace is another than that shim's. What shares the shim's namespace is the runtime's (runc
//! on its way), and so is `runc init`, which waits in the new namespace for the order to start.

use super::{Cgroups, Error, Membership, Namespace, Procfs, SHIM_COMM, cgroup::Unified};
use crate::container::id::{ContainerId, ContainerKey};
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
            shim: !gone && stat.comm == SHIM_COMM,
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
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    /// A procfs made of files.
    struct Fake(tempfile::TempDir);

    impl Fake {
        fn new() -> Self {
            let fake = Self(tempfile::tempdir().expect("a directory"));
            fs::create_dir(fake.0.path().join("sys")).expect("a directory");
            fake
        }

        #[allow(clippy::too_many_arguments, reason = "one argument for each thing the walk looks at")]
        fn process(&self, tgid: u32, parent: u32, comm: &str, state: char, threads: u32, mnt: u32, cgroup: &str) {
            let dir = self.0.path().join(tgid.to_string());
            let _gone = fs::remove_dir_all(&dir);
            fs::create_dir_all(dir.join("ns")).expect("a directory");
            let stat = format!(
                "{tgid} ({comm}) {state} {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 {} 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
                tgid * 10
            );
            fs::write(dir.join("stat"), stat).expect("a file");
            fs::write(dir.join("cgroup"), format!("4:memory:{cgroup}\n0::{cgroup}\n")).expect("a file");
            symlink(format!("mnt:[{mnt}]"), dir.join("ns/mnt")).expect("a link");
        }

        fn program(&self, tgid: u32, exe: &str) {
            symlink(exe, self.0.path().join(tgid.to_string()).join("exe")).expect("a link");
        }

        fn unified(&self, groups: &[&str]) -> Vec<u64> {
            use std::os::unix::fs::MetadataExt;
            let tree = self.0.path().join("tree");
            fs::create_dir_all(self.0.path().join("self")).expect("a directory");
            let line = format!("41 31 0:38 / {} rw - cgroup2 cgroup2 rw\n", tree.display());
            fs::write(self.0.path().join("self/mountinfo"), line).expect("a file");
            let make = |group: &&str| {
                fs::create_dir_all(tree.join(group)).expect("a directory");
                fs::metadata(tree.join(group)).expect("exists").ino()
            };
            groups.iter().map(make).collect()
        }

        fn walker(&self, membership: Membership) -> Walker {
            Walker::new(Procfs::at(self.0.path()), membership)
        }
    }

    /// Shims, then runtime processes and members with their shim.
    type Tgids = (Vec<u32>, Vec<(u32, u32)>, Vec<(u32, u32)>);

    fn tgids(walk: &Walk) -> Tgids {
        (
            walk.shims.iter().map(|s| s.tgid).collect(),
            walk.runtime.iter().map(|r| (r.tgid, r.shim_tgid)).collect(),
            walk.members.iter().map(|m| (m.tgid, m.shim_tgid)).collect(),
        )
    }

    #[test]
    fn a_node_with_everything_on_it() {
        let fake = Fake::new();
        let ids = fake.unified(&["default/c1", "default/c2"]);
        fake.process(1, 0, "init", 'S', 1, 100, "/");
        fake.process(20, 1, "containerd", 'S', 9, 100, "/");
        fake.process(30, 1, "containerd-shim", 'S', 9, 100, "/");
        // Late to be reaped, and children of it that PID 1 has inherited.
        fake.process(31, 1, "containerd-shim", 'Z', 1, 100, "/");
        // The container's first process, a child, an orphan and what `exec` put beside them.
        fake.process(40, 30, "redis-server", 'S', 4, 200, "/default/c1");
        fake.process(41, 40, "sh", 'S', 1, 200, "/default/c1");
        fake.process(42, 41, "sle ep) S 1", 'S', 1, 200, "/default/c1/own");
        fake.process(43, 30, "sh", 'S', 1, 200, "/default/c1");
        // Its first thread has ended, the others have not.
        fake.process(44, 40, "go", 'Z', 3, 200, "/default/c1");
        fake.process(45, 40, "dead", 'Z', 1, 200, "/default/c1");
        // runc on its way: before and after the new namespace.
        fake.process(50, 30, "runc", 'S', 5, 100, "/");
        fake.process(51, 50, "runc:[2:INIT]", 'S', 5, 300, "/default/c2");
        fake.program(51, "/usr/sbin/runc");
        // One who only says so.
        fake.process(52, 43, "runc:[2:INIT]", 'S', 1, 200, "/default/c1");
        fake.program(52, "/bin/busybox");
        // The host's own.
        fake.process(60, 1, "sshd", 'S', 1, 100, "/");
        fake.process(61, 60, "bash", 'S', 1, 100, "/");

        let mut walker = fake.walker(Membership::Auto);
        let walk = walker.walk().expect("a walk");
        let members = vec![(40, 30), (41, 30), (42, 30), (43, 30), (44, 30), (52, 30)];
        assert_eq!(tgids(&walk), (vec![30], vec![(50, 30), (51, 30)], members));
        for member in &walk.members {
            assert_eq!(member.key, ContainerKey(ids[0]), "{member:?}");
            assert_eq!(member.container_id.as_ref().map(ContainerId::as_str), Some("c1"));
            assert_eq!((member.mnt_ns, member.start_time), (200, u64::from(member.tgid) * 10));
        }
        assert_eq!(walker.walk().expect("a walk"), walk, "a second walk, from memory, says the same");

        let by_process = fake.walker(Membership::Process).walk().expect("a walk");
        assert!(by_process.members.iter().all(|m| m.key.mnt_ns() == Some(200)));
    }

    #[test]
    fn without_a_cgroup_of_its_own_the_namespace_is_the_key() {
        let fake = Fake::new();
        fake.unified(&["system.slice/containerd.service"]);
        fake.process(1, 0, "init", 'S', 1, 100, "/");
        fake.process(30, 1, "containerd-shim", 'S', 9, 100, "/system.slice/containerd.service");
        fake.process(40, 30, "sh", 'S', 1, 200, "/system.slice/containerd.service");
        let walk = fake.walker(Membership::Auto).walk().expect("a walk");
        assert_ne!(walk.shims[0].cgroup_id, 0);
        assert_eq!(walk.members[0].key.mnt_ns(), Some(200));
        assert_eq!(walk.members[0].container_id, None);
    }

    #[test]
    fn memory_ends_with_the_process() {
        let fake = Fake::new();
        fake.process(1, 0, "init", 'S', 1, 100, "/");
        fake.process(30, 1, "containerd-shim", 'S', 9, 100, "/");
        fake.process(40, 30, "sh", 'S', 1, 200, "/default/c1");
        let mut walker = fake.walker(Membership::Auto);
        assert_eq!(walker.walk().expect("a walk").members.len(), 1);
        // The shim is gone; its id now belongs to a shell of the host, and the container's process to PID 1.
        fake.process(30, 1, "bash", 'S', 1, 100, "/");
        fake.process(40, 1, "sh", 'S', 1, 200, "/default/c1");
        assert_eq!(walker.walk().expect("a walk"), Walk::default());
        fs::remove_dir_all(fake.0.path().join("40")).expect("there");
        walker.walk().expect("a walk");
        assert_eq!(walker.known.len(), 2, "what is gone is forgotten");
    }

    #[test]
    fn a_circle_of_recycled_ids_ends() {
        let fake = Fake::new();
        fake.process(5, 6, "a", 'S', 1, 100, "/");
        fake.process(6, 5, "b", 'S', 1, 100, "/");
        fake.process(7, 4242, "orphan", 'S', 1, 100, "/");
        assert_eq!(fake.walker(Membership::Auto).walk().expect("a walk"), Walk::default());
    }

    #[test]
    fn nested_runtimes_belong_to_the_inner_shim() {
        let fake = Fake::new();
        fake.process(1, 0, "init", 'S', 1, 100, "/");
        fake.process(30, 1, "containerd-shim", 'S', 9, 100, "/");
        fake.process(40, 30, "dockerd", 'S', 1, 200, "/default/outer");
        fake.process(41, 40, "containerd-shim", 'S', 1, 200, "/default/outer");
        fake.process(42, 41, "sh", 'S', 1, 300, "/default/outer/docker/inner");
        let walk = fake.walker(Membership::Auto).walk().expect("a walk");
        assert_eq!(tgids(&walk), (vec![30, 41], vec![], vec![(40, 30), (41, 30), (42, 41)]));
    }

    #[test]
    fn no_procfs_is_one_clear_line() {
        let error = Walker::new(Procfs::at("/nonexistent"), Membership::Auto).walk().expect_err("no such directory");
        assert_eq!(error.to_string(), "cannot list processes in /nonexistent: is procfs mounted there?");
    }
}
