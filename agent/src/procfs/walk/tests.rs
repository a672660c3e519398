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
        // A container has both of its own, or shares the host's (see `shares_pids`).
        symlink(format!("pid:[{}]", mnt + 1), dir.join("ns/pid")).expect("a link");
    }

    /// A process with the host's pid namespace.
    fn shares_pids(&self, tgid: u32) {
        let link = self.0.path().join(tgid.to_string()).join("ns/pid");
        fs::remove_file(&link).expect("it is there");
        symlink("pid:[101]", link).expect("a link");
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
    // What exec put there, and its child.
    let by_exec = |walk: &Walk| walk.members.iter().filter(|m| m.by_exec).map(|m| m.tgid).collect::<Vec<_>>();
    assert_eq!(by_exec(&walk), [43, 52]);
    assert_eq!(walker.walk().expect("a walk"), walk, "a second walk, from memory, says the same");

    let by_process = fake.walker(Membership::Process).walk().expect("a walk");
    assert!(by_process.members.iter().all(|m| m.key.mnt_ns() == Some(200)));
    assert_eq!(by_exec(&by_process), [43, 52]);
    // With the host's pid namespace the shim takes in orphans, too: nobody can tell them from what exec put there.
    fake.shares_pids(43);
    assert_eq!(by_exec(&walker.walk().expect("a walk")), [0; 0]);
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
