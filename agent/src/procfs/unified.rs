//! The unified cgroup hierarchy.
//!
//! In: a mounted cgroup2 tree. Out: ids of the cgroups that paths name. Never: looks at processes, writes.

use super::cgroup::PATH_MAX;
use procfs::process::MountInfo;
use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

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
}
