use super::*;
use std::{fs, os::unix::fs::symlink};
use surprisal_agent_ebpf::abi::KEY_MNT_NS;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A node made of files: procfs and bundles.
struct Node(tempfile::TempDir);

impl Node {
    fn new() -> Self {
        let node = Self(tempfile::tempdir().expect("a directory"));
        fs::create_dir(node.0.path().join("proc")).expect("a directory");
        node
    }

    fn bundle(&self, id: &str, name: &str, init: Option<u32>, cgroups_path: &str) {
        let dir = self.0.path().join("task/ns").join(id);
        fs::create_dir_all(&dir).expect("a directory");
        let json = serde_json::json!({
            "annotations": {"io.kubernetes.cri.container-name": name, "io.kubernetes.cri.sandbox-name": "web-0", "io.kubernetes.cri.sandbox-namespace": "shop"},
            "linux": {"cgroupsPath": cgroups_path},
        });
        fs::write(dir.join("config.json"), json.to_string()).expect("a file");
        if let Some(init) = init {
            fs::write(dir.join("init.pid"), init.to_string()).expect("a file");
        }
    }

    fn process(&self, tgid: u32, parent: u32, comm: &str, mnt: u32, cgroup: &str) {
        let dir = self.0.path().join("proc").join(tgid.to_string());
        fs::create_dir_all(dir.join("ns")).expect("a directory");
        let rest = "0 ".repeat(48);
        fs::write(dir.join("stat"), format!("{tgid} ({comm}) S {parent} {}\n", rest.trim())).expect("a file");
        fs::write(dir.join("cgroup"), format!("0::{cgroup}\n")).expect("a file");
        symlink(format!("mnt:[{mnt}]"), dir.join("ns/mnt")).expect("a link");
    }

    fn shim(&self, tgid: u32, own: &str) {
        self.process(tgid, 1, "containerd-shim", 100, "/");
        symlink(self.0.path().join("task/ns").join(own), self.0.path().join("proc").join(tgid.to_string()).join("cwd"))
            .expect("a link");
    }

    fn resolver(&self) -> Resolver {
        Resolver { pauses: vec![Duration::ZERO; 3], ..Resolver::new("n", Procfs::at(self.0.path().join("proc"))) }
    }
}

fn sighting(key: u64, cgroup_name: &str, tgid: u32, shim_tgid: u32) -> Sighting {
    Sighting { key: ContainerKey(key), cgroup_name: cgroup_name.into(), tgid, shim_tgid, started_at: None, found: Found::Walk }
}

#[test]
fn by_the_cgroup_the_kernel_saw() {
    let node = Node::new();
    node.bundle("sandbox", "POD", Some(40), "");
    node.bundle(ID, "nginx", Some(41), "");
    node.shim(30, "sandbox");
    for (n, cgroup) in [ID.to_owned(), format!("cri-containerd-{ID}.scope")].iter().enumerate() {
        let info = node.resolver().resolve(&sighting(n as u64, cgroup, 9999, 30));
        assert_eq!(
            (info.id.as_str(), info.names.workload.as_str()),
            (ID, "shop/web/nginx"),
            "the process is gone, its shim is not"
        );
    }
    // A plain id is none by its shape: that a bundle of that name is there says so.
    node.bundle("c1", "plain", None, "");
    assert_eq!(node.resolver().resolve(&sighting(7, "c1", 9999, 30)).names.name, "plain");
}

#[test]
fn by_the_process() {
    let node = Node::new();
    node.bundle("sandbox", "POD", Some(40), "/a");
    node.bundle("one", "nginx", Some(41), "/b");
    node.bundle("two", "redis", Some(42), "/c");
    node.bundle("late", "late", None, "/foo/bar");
    node.shim(30, "sandbox");
    for (tgid, mnt) in [(40, 200), (41, 201), (42, 202)] {
        node.process(tgid, 30, "x", mnt, "/");
    }
    node.process(50, 42, "child", 202, "/");
    node.process(51, 30, "strange", 204, "/foo/bar");
    let name = |key, tgid, shim| node.resolver().resolve(&sighting(key, "", tgid, shim)).names.name.clone();
    assert_eq!(name(KEY_MNT_NS + 201, 41, 30), "nginx", "its first process");
    assert_eq!(name(KEY_MNT_NS + 202, 50, 30), "redis", "its mount namespace");
    assert_eq!(name(KEY_MNT_NS + 202, 50, 0), "redis", "the shim is found again");
    assert_eq!(name(5, 51, 30), "late", "the cgroup that its bundle asked for");
}

#[test]
fn without_a_bundle_the_id_is_better_than_nothing() {
    let node = Node::new();
    let resolver = node.resolver();
    let told = resolver.resolve(&sighting(63, &format!("docker-{ID}.scope"), 9999, 9998));
    assert_eq!((told.id.as_str(), told.is_named()), (ID, false));
    assert_eq!(resolver.resolve(&sighting(64, "c1", 9999, 9998)).id.as_str(), "c1");
    assert_eq!(resolver.resolve(&sighting(65, "init.scope", 9999, 9998)).id.as_str(), "unnamed-41");
    assert_eq!(resolver.len(), 3);
    for key in [63, 64, 65] {
        resolver.forget(ContainerKey(key));
    }
    assert!(resolver.is_empty());
}

#[test]
fn a_bundle_that_comes_late_is_waited_for() {
    let node = Node::new();
    node.bundle("sandbox", "POD", None, "");
    node.shim(30, "sandbox");
    let resolver = Resolver { pauses: vec![Duration::from_millis(1); 100_000], ..node.resolver() };
    let found = thread::scope(|scope| {
        let waiting = scope.spawn(|| resolver.resolve(&sighting(63, ID, 9999, 30)));
        node.bundle(ID, "nginx", None, "");
        waiting.join().expect("no panic")
    });
    assert_eq!(found.names.name, "nginx");
    assert!(Arc::ptr_eq(&found, &resolver.resolve(&sighting(63, ID, 9999, 30))), "remembered");
}

#[test]
fn hits_outlive_their_bundle_and_misses_do_not_hide_it_for_ever() {
    let node = Node::new();
    node.bundle("c1", "x", None, "");
    node.shim(30, "c1");
    let resolver = node.resolver();
    assert!(resolver.resolve(&sighting(63, "c1", 9999, 30)).is_named());
    fs::remove_dir_all(node.0.path().join("task")).expect("there");
    assert!(resolver.resolve(&sighting(63, "c1", 9999, 30)).is_named());

    assert!(!resolver.resolve(&sighting(64, "c2", 9999, 30)).is_named());
    for id in ["c1", "c2"] {
        node.bundle(id, "y", None, "");
    }
    assert!(!resolver.resolve(&sighting(64, "c2", 9999, 30)).is_named(), "not looked for again so soon");
    resolver.memory().misses.get_mut(&ContainerKey(64)).expect("a miss").0 -= MISS_FOR;
    assert!(resolver.resolve(&sighting(64, "c2", 9999, 30)).is_named());
}
