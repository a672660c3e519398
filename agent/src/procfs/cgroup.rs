//! Cgroup paths and the unified hierarchy.
//!
//! In: lines of `/proc/<pid>/cgroup` and a mounted cgroup2 tree. Out: container ids ([`container_in`], pure)
//! and cgroup ids ([`Unified`]). Never: looks at processes.
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
use procfs::process::MountInfo;
use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What a runtime puts before the id in a scope's name.
const SCOPE_PREFIXES: [&str; 6] = ["cri-containerd-", "docker-", "crio-", "libpod-", "nerdctl-", "containerd-"];
/// Longest path that is looked at; the kernel's own limit is `PATH_MAX`.
const PATH_MAX: usize = 4096;
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

/// The unified hierarchy as this process can see it.
#[derive(Debug)]
pub struct Unified {
    /// Where it is mounted, as this process reaches it.
    mount: PathBuf,
    /// How far the mount's root lies above the root of this process's cgroup namespace.
    ups: usize,
    /// Components below that, when only part of the tree is mounted.
    below: PathBuf,
    ids: HashMap<String, Option<u64>>,
}

/// Paths remembered before the memory is cleared: more than any node has cgroups.
const IDS_MAX: usize = 16_384;

impl Unified {
    /// The mount that shows most of the tree; `prefix` is put before mount points (another process's root).
    pub fn find<'a>(mounts: impl IntoIterator<Item = (&'a MountInfo, &'a Path)>) -> Option<Self> {
        let candidates = mounts.into_iter().filter(|(mount, _)| mount.fs_type == "cgroup2");
        let seen = candidates.filter_map(|(mount, prefix)| {
            let (ups, below) = split_ups(&mount.root);
            let point = mount.mount_point.strip_prefix("/").ok()?;
            let mount = prefix.join(point);
            mount.is_dir().then(|| Self { mount, ups, below: PathBuf::from(below), ids: HashMap::new() })
        });
        seen.min_by_key(|u| (std::cmp::Reverse(u.ups), u.below.components().count()))
    }

    /// Where it is mounted.
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// Is more mounted than this process's own cgroup namespace?
    pub fn sees_above(&self) -> bool {
        self.ups > 0
    }

    /// Id of the cgroup at `path`, as `/proc/<pid>/cgroup` spells it for this process; `None`: it cannot be seen or is gone.
    pub fn id(&mut self, path: &str) -> Option<u64> {
        if let Some(id) = self.ids.get(path) {
            return *id;
        }
        let id = self.look_up(path);
        if self.ids.len() >= IDS_MAX {
            self.ids.clear();
        }
        self.ids.insert(path.to_owned(), id);
        id
    }

    fn look_up(&self, path: &str) -> Option<u64> {
        if path.len() > PATH_MAX {
            return None;
        }
        let (ups, below) = split_ups(path);
        let inside =
            if self.below.as_os_str().is_empty() { Path::new(below) } else { Path::new(below).strip_prefix(&self.below).ok()? };
        // Between the mount's root and the common ancestor lie directories whose names the path does not say.
        let unnamed = self.ups.checked_sub(ups)?;
        let mut found = directories(&self.mount, unnamed).into_iter().filter_map(|dir| inode(&dir.join(inside)).ok());
        let id = found.next()?;
        // Two that fit: not known, rather than the wrong one.
        found.next().is_none().then_some(id)
    }

    /// Forgets what paths were looked up: cgroups come and go, and their names return.
    pub fn forget(&mut self) {
        self.ids.clear();
    }
}

/// `/../../a/b` as (2, "a/b").
fn split_ups(path: &str) -> (usize, &str) {
    let mut rest = path.trim_matches('/');
    let mut ups = 0;
    loop {
        if rest == ".." {
            return (ups + 1, "");
        }
        match rest.strip_prefix("../") {
            Some(next) => (rest, ups) = (next, ups + 1),
            None => return (ups, rest),
        }
    }
}

/// All directories `depth` levels below `top`.
fn directories(top: &Path, depth: usize) -> Vec<PathBuf> {
    let mut level = vec![top.to_path_buf()];
    for _ in 0..depth {
        let below = level.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
        level = below.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect();
    }
    level
}

fn inode(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const INNER: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

    /// `<id>` and `<inner>` in `path` stand for 64 digits; `own` is the path of the container's own cgroup.
    #[track_caller]
    fn check(path: &str, expect: Option<(&str, &str)>) {
        let fill = |text: &str| text.replace("<id>", ID).replace("<inner>", INNER);
        let path = fill(path);
        let found = container_in(&path);
        let found = found.as_ref().map(|f| (f.id.as_str(), &path[..f.end]));
        let expect = expect.map(|(id, own)| (fill(id), fill(own)));
        assert_eq!(found, expect.as_ref().map(|(id, own)| (id.as_str(), own.as_str())), "{path}");
    }

    #[test]
    fn shapes_of_runtimes() {
        for path in [
            "/docker/<id>",
            "/system.slice/docker-<id>.scope",
            "/kubepods/besteffort/pod7c3b/<id>",
            "/kubepods/burstable/pod7c3b/<id>",
            "/kubepods/pod7c3b/<id>",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod7c3b.slice/cri-containerd-<id>.scope",
            "/kubepods.slice/kubepods-pod7c3b.slice/crio-<id>.scope",
            "/system.slice/containerd.service/kubepods-burstable-pod7c3b.slice:cri-containerd:<id>",
            "/kubepods-burstable-pod7c3b.slice:cri-containerd:<id>",
            "/machine.slice/libpod-<id>.scope",
            "/k8s.io/<id>",
            // In a cgroup namespace.
            "/../<id>",
            "/../../pod7c3b/<id>",
            "/../../../besteffort/pod7c3b/<id>",
            "/../cri-containerd-<id>.scope",
        ] {
            check(path, Some(("<id>", path)));
        }
    }

    #[test]
    fn what_a_container_made_itself_is_not_its_cgroup() {
        check("/docker/<id>/init.scope", Some(("<id>", "/docker/<id>")));
        check("/default/c1/child/grandchild", Some(("c1", "/default/c1")));
        check("/kubepods/burstable/pod7c3b/<id>/system.slice/x.service", Some(("<id>", "/kubepods/burstable/pod7c3b/<id>")));
    }

    #[test]
    fn the_innermost_container_wins() {
        check(
            "/docker/<id>/kubepods/besteffort/pod1/<inner>",
            Some(("<inner>", "/docker/<id>/kubepods/besteffort/pod1/<inner>")),
        );
    }

    #[test]
    fn plain_containerd() {
        check("/default/c1", Some(("c1", "/default/c1")));
        check("/my-ns/redis_2.a", Some(("redis_2.a", "/my-ns/redis_2.a")));
        check("//default//c1/", Some(("c1", "//default//c1")));
        check("/../c1", Some(("c1", "/../c1")));
        check("/../../other/c1", Some(("c1", "/../../other/c1")));
        check("/system.slice/nerdctl-web.scope", Some(("web", "/system.slice/nerdctl-web.scope")));
        check("/system.slice/ctr.slice:default:web", Some(("web", "/system.slice/ctr.slice:default:web")));
    }

    #[test]
    fn what_is_no_container() {
        for path in [
            "",
            "/",
            "/..",
            "/../..",
            "/c1",
            "/system.slice/containerd.service",
            "/user.slice/user-1000.slice/session-1.scope",
            "/init.scope",
            "/kubepods/besteffort",
            "/kubepods/besteffort/pod7c3b",
            "/kubepods.slice/kubepods-burstable.slice",
            "/default/..",
            "/default/a b",
            "relative",
        ] {
            check(path, None);
        }
        check(&format!("/default/{}", "a".repeat(PATH_MAX)), None);
    }

    #[test]
    fn names_alone() {
        for (name, expect) in [
            (ID.to_owned(), Some(ID)),
            (format!("docker-{ID}.scope"), Some(ID)),
            (format!("a.slice:cri-containerd:{ID}"), Some(ID)),
            ("c1".to_owned(), None),
            ("docker-desktop".to_owned(), None),
            (format!("crio-conmon-{ID}.scope"), None),
            ("init.scope".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(id_by_shape(&name).as_ref().map(ContainerId::as_str), expect, "{name}");
        }
    }

    fn mount(root: &str, point: &Path) -> MountInfo {
        MountInfo::from_line(&format!("41 31 0:38 {root} {} rw,relatime - cgroup2 cgroup2 rw", point.display())).expect("a line")
    }

    #[test]
    fn ids_are_inodes_of_the_tree() {
        let dir = tempfile::tempdir().expect("a directory");
        for path in [
            "kubepods/besteffort/podA/one",
            "kubepods/burstable/podB/two",
            "default/c1",
            "kubepods/besteffort/podC/same",
            "kubepods/burstable/podC/same",
        ] {
            fs::create_dir_all(dir.path().join(path)).expect("a directory");
        }
        let ino = |path: &str| Some(inode(&dir.path().join(path)).expect("exists"));

        let whole = mount("/", dir.path());
        let mut unified = Unified::find([(&whole, Path::new("/"))]).expect("a mount");
        assert_eq!(unified.id("/default/c1"), ino("default/c1"));
        assert_eq!(unified.id("/"), ino(""));
        assert_eq!(unified.id("/default/gone"), None);
        assert_eq!(unified.id("/../outside"), None, "above what is mounted");

        // The agent's namespace is rooted in kubepods/besteffort/podA/one; the host's tree is mounted.
        let host = mount("/../../../..", dir.path());
        let own = mount("/", &dir.path().join("kubepods/besteffort/podA/one"));
        let mut unified = Unified::find([(&own, Path::new("/")), (&host, Path::new("/"))]).expect("a mount");
        assert_eq!(unified.mount(), dir.path(), "the mount that shows most");
        assert_eq!(unified.id("/../../../../default/c1"), ino("default/c1"));
        assert_eq!(unified.id("/../../../burstable/podB/two"), ino("kubepods/burstable/podB/two"));
        assert_eq!(unified.id("/../../podC/same"), None, "two fit: not guessed");
        assert_eq!(unified.id("/"), None, "the namespace's own root is named by nothing");

        // Part of the tree only.
        let part = mount("/kubepods", &dir.path().join("kubepods"));
        let mut unified = Unified::find([(&part, Path::new("/"))]).expect("a mount");
        assert_eq!(unified.id("/kubepods/burstable/podB/two"), ino("kubepods/burstable/podB/two"));
        assert_eq!(unified.id("/default/c1"), None);
    }

    proptest! {
        #[test]
        fn no_path_makes_it_panic(path in "\\PC{0,200}") {
            if let Some(found) = container_in(&path) {
                prop_assert!(path[..found.end].contains(found.id.as_str()));
            }
        }

        #[test]
        fn no_path_of_real_words_makes_it_panic(parts in prop::collection::vec(
            prop::sample::select(vec!["..", ".", "", "docker", "kubepods", "default", "c1", "a.slice:b:c", ":", ".scope", "docker-.scope", "x.slice", ID]), 0..8)) {
            let path = format!("/{}", parts.join("/"));
            if let Some(found) = container_in(&path) {
                prop_assert!(found.end <= path.len());
                prop_assert!(!found.id.as_str().contains('/'));
            }
        }
    }
}
