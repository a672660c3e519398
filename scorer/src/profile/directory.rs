//! The store of profiles that is a directory.
//!
//! In: a directory that `train` and people change at any time. Out: what is there, what changed, and which threshold is in
//! force. Never: a model; who computes with a profile loads it.
//!
//! A profile that cannot be read is reported once for each state of its files, and the one that was in force
//! stays. At most [`PROFILES`] are kept.

use crate::cause::chain;
use crate::judge::threshold::{Source, Threshold, in_force};
use crate::profile::archive::{METADATA, Profile, WEIGHTS};
use crate::profile::error::ProfileError;
use crate::profile::file::{read_file, write_file};
use crate::profile::name::directory_name;
use crate::profile::store::{Change, Store};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Profiles kept at most.
pub const PROFILES: usize = 4096;
/// Overrides' file.
const THRESHOLDS: &str = "thresholds.json";
/// Looks at a directory whose files do not fit each other before it is called damaged: a writer replaces two files.
const PATIENCE: u32 = 2;

/// Thresholds that people set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Overrides {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    global: Option<Threshold>,
    #[serde(default)]
    workloads: BTreeMap<String, Threshold>,
}

/// The directory.
#[derive(Debug)]
pub struct Directory {
    dir: PathBuf,
    /// By directory name: what its files looked like when they were last looked at.
    seen: HashMap<String, Seen>,
    profiles: BTreeMap<String, Arc<Profile>>,
    overrides: Overrides,
    /// From the command line or the configuration; what people set later goes before it.
    configured: Option<Threshold>,
    full: bool,
}

#[derive(Debug)]
struct Seen {
    stamp: [Option<Stamp>; 2],
    workload: Option<String>,
    attempts: u32,
    settled: bool,
}

type Stamp = (SystemTime, u64, u64);

impl Directory {
    /// Opens a directory, creating it if need be, and reads the overrides; profiles come with [`Store::scan`].
    pub fn open(dir: &Path, configured: Option<Threshold>) -> Result<Self, ProfileError> {
        std::fs::create_dir_all(dir).map_err(|source| ProfileError::Io { doing: "creating", path: dir.to_owned(), source })?;
        let path = dir.join(THRESHOLDS);
        let overrides = if path.exists() {
            serde_json::from_slice(&read_file(&path, 4 << 20)?)
                .map_err(|e| ProfileError::Inconsistent(format!("{}: {e}", path.display())))?
        } else {
            Overrides::default()
        };
        Ok(Self { dir: dir.to_owned(), seen: HashMap::new(), profiles: BTreeMap::new(), overrides, configured, full: false })
    }

    fn look(&mut self, name: String, dir: &Path) -> Option<Change> {
        let stamp = [stamp(&dir.join(METADATA)), stamp(&dir.join(WEIGHTS))];
        let before = self.seen.remove(&name);
        let (attempts, workload) = match before {
            Some(seen) if seen.stamp == stamp && seen.settled => {
                self.seen.insert(name, seen);
                return None;
            }
            Some(seen) if seen.stamp == stamp => (seen.attempts + 1, seen.workload),
            Some(seen) => (1, seen.workload),
            None => (1, None),
        };
        let read = Profile::read(dir).and_then(|p| {
            if directory_name(&p.metadata.workload) == name {
                return Ok(p);
            }
            Err(ProfileError::Inconsistent(format!(
                "it is for {}, which belongs into {}",
                p.metadata.workload,
                directory_name(&p.metadata.workload)
            )))
        });
        let mut seen = Seen { stamp, workload, attempts, settled: true };
        let change = match read {
            Ok(profile) => {
                let profile = Arc::new(profile);
                let workload = profile.metadata.workload.clone();
                seen.workload = Some(workload.clone());
                self.profiles.insert(workload, Arc::clone(&profile));
                Some(Change::Loaded(profile))
            }
            Err(error) => {
                seen.settled = attempts >= PATIENCE;
                if seen.settled {
                    let kept = seen.workload.is_some();
                    tracing::error!(profile = %dir.display(), error = chain(&error), kept_older = kept, "profile refused");
                }
                None
            }
        };
        self.seen.insert(name, seen);
        change
    }
}

impl Store for Directory {
    fn scan(&mut self) -> Result<Vec<Change>, ProfileError> {
        let root = self.dir.clone();
        let fail = |source| ProfileError::Io { doing: "listing", path: root.clone(), source };
        let mut changes = Vec::new();
        let mut present = HashSet::new();
        for entry in std::fs::read_dir(&self.dir).map_err(fail)? {
            let Ok(name) = entry.map_err(fail)?.file_name().into_string() else { continue };
            let dir = self.dir.join(&name);
            if name.starts_with('.') || !dir.join(METADATA).is_file() {
                continue;
            }
            if !self.seen.contains_key(&name) && self.seen.len() >= PROFILES {
                if !std::mem::replace(&mut self.full, true) {
                    tracing::warn!(limit = PROFILES, "more profiles than are kept: the others are left alone");
                }
                continue;
            }
            present.insert(name.clone());
            changes.extend(self.look(name, &dir));
        }
        let gone: Vec<_> = self.seen.keys().filter(|name| !present.contains(*name)).cloned().collect();
        for name in gone {
            if let Some(workload) = self.seen.remove(&name).and_then(|s| s.workload) {
                self.profiles.remove(&workload);
                changes.push(Change::Gone(workload));
            }
        }
        Ok(changes)
    }

    fn get(&self, workload: &str) -> Option<&Arc<Profile>> {
        self.profiles.get(workload)
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.profiles.values()
    }

    fn threshold(&self, workload: &str) -> Option<(Threshold, Source)> {
        let calibrated = self.profiles.get(workload)?.metadata.calibration.threshold;
        let own = self.overrides.workloads.get(workload).copied();
        Some(in_force(own, self.overrides.global.or(self.configured), calibrated))
    }

    fn set_threshold(&mut self, workload: Option<&str>, threshold: Option<Threshold>) -> Result<(), ProfileError> {
        let mut next = self.overrides.clone();
        match (workload, threshold) {
            (None, t) => next.global = t,
            (Some(w), Some(t)) => drop(next.workloads.insert(w.to_owned(), t)),
            (Some(w), None) => drop(next.workloads.remove(w)),
        }
        let text = serde_json::to_vec_pretty(&next).map_err(ProfileError::Damaged)?;
        write_file(&self.dir.join(THRESHOLDS), &text)?;
        self.overrides = next;
        Ok(())
    }

    fn remove(&mut self, workload: &str) -> Result<bool, ProfileError> {
        if self.profiles.remove(workload).is_none() {
            return Ok(false);
        }
        let name = directory_name(workload);
        let path = self.dir.join(&name);
        std::fs::remove_dir_all(&path).map_err(|source| ProfileError::Io { doing: "removing", path, source })?;
        self.seen.remove(&name);
        if self.overrides.workloads.contains_key(workload) {
            self.set_threshold(Some(workload), None)?;
        }
        Ok(true)
    }

    fn import(&mut self, profile: &Profile) -> Result<(), ProfileError> {
        profile.write(&self.dir).map(drop)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata(path).ok()?;
    // A replaced file has another inode even where its time and length are the same.
    Some((meta.modified().ok()?, meta.len(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::archive::tests::profile;

    fn shown(changes: Vec<Change>) -> Vec<String> {
        changes
            .into_iter()
            .map(|c| match c {
                Change::Loaded(p) => format!("+{}", p.metadata.workload),
                Change::Gone(w) => format!("-{w}"),
            })
            .collect()
    }

    fn t(nats: f64) -> Option<Threshold> {
        Threshold::try_from(nats).ok()
    }

    #[test]
    fn finds_what_appears_changes_and_goes() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut store = Directory::open(dir.path(), None).expect("opens");
        let mut scan = || shown(store.scan().expect("lists"));
        assert_eq!(scan(), [""; 0]);
        let at = profile("a/b/c").write(dir.path()).expect("writes");
        assert_eq!(scan(), ["+a/b/c"]);
        assert_eq!(scan(), [""; 0]);
        profile("a/b/c").write(dir.path()).expect("writes");
        assert_eq!(scan(), ["+a/b/c"]);
        // Damaged: the older one stays.
        std::fs::write(at.join(WEIGHTS), b"x").expect("writes");
        for _ in 0..4 {
            assert_eq!(scan(), [""; 0]);
        }
        profile("a/b/c").write(dir.path()).expect("writes");
        assert_eq!(scan(), ["+a/b/c"]);
        // A copy under another name is not believed.
        std::fs::rename(&at, dir.path().join("other")).expect("renames");
        assert_eq!(scan(), ["-a/b/c"]);
        assert_eq!(scan(), [""; 0]);
    }

    #[test]
    fn thresholds_are_persisted_and_the_nearest_wins() {
        let dir = tempfile::tempdir().expect("a directory");
        profile("a/b/c").write(dir.path()).expect("writes");
        let open = |configured| {
            let mut store = Directory::open(dir.path(), configured).expect("opens");
            store.scan().expect("lists");
            store
        };
        let mut store = open(t(5.0));
        assert_eq!(store.threshold("a/b/c"), t(5.0).map(|t| (t, Source::Global)));
        assert_eq!(store.threshold("x"), None);
        store.set_threshold(None, t(4.0)).expect("writes");
        store.set_threshold(Some("a/b/c"), t(3.0)).expect("writes");
        let mut store = open(t(5.0));
        assert_eq!(store.threshold("a/b/c"), t(3.0).map(|t| (t, Source::Profile)));
        store.set_threshold(Some("a/b/c"), None).expect("writes");
        let mut store = open(t(5.0));
        assert_eq!(store.threshold("a/b/c"), t(4.0).map(|t| (t, Source::Global)));
        store.set_threshold(None, None).expect("writes");
        assert_eq!(open(None).threshold("a/b/c").map(|t| t.1), Some(Source::Quantiles));
        store.set_threshold(Some("a/b/c"), t(3.0)).expect("writes");
        assert!(store.remove("a/b/c").expect("removes") && !store.remove("a/b/c").expect("nothing to remove"));
        profile("a/b/c").write(dir.path()).expect("writes");
        assert_eq!(open(None).threshold("a/b/c").map(|t| t.1), Some(Source::Quantiles));
    }

    #[test]
    fn damaged_overrides_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        for text in ["{", r#"{"global":-1}"#, r#"{"globall":1}"#] {
            std::fs::write(dir.path().join(THRESHOLDS), text).expect("writes");
            assert!(Directory::open(dir.path(), None).is_err(), "{text}");
        }
    }
}
