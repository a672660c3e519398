//! The names that a profile keeps, and what a new one counts for. *Pure.*
//!
//! In: names of training, with which of them came in its second half; a name of now. Out: whether it is new, and its surprisal
//! in nats. Never: more than [`NAMES_MAX`] names or [`BYTES_MAX`] bytes.
//!
//! A name that training heard counts for nothing. How strange a new one is follows from the newcomers: the names that training heard
//! first in its second half. Each newcomer has a place: the deepest directory on its path that the first half knew. A place with
//! two newcomers or more keeps bringing new names: one more there is not new. Elsewhere the probability that a window
//! brings one is estimated as Good and Turing do for what was never seen (I. J. Good, Biometrika 40, 1953): places with exactly one
//! newcomer over windows of the second half, (n₁ + ½) / (W + 1), for each kind. The surprisal is −ln of that.
//! A program that runs for the first time is judged by programs that did so before, wherever they lie.

use crate::detect::names::kind::{Kind, fold};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Names kept of a workload, at most, all kinds together.
pub const NAMES_MAX: usize = 8192;
/// Bytes of them, at most.
pub const BYTES_MAX: usize = 512 << 10;
/// A place with so many newcomers keeps bringing new names.
const KEEPS_COMING: u32 = 2;

/// What training saw, and for how long.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// The names.
    pub known: Known,
    /// Container-seconds recorded.
    pub container_seconds: f64,
}

type Names = BTreeMap<Kind, BTreeSet<String>>;

/// The names that training heard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Kept", into = "Kept")]
pub struct Known {
    kept: Kept,
    /// Newcomers of each place.
    places: HashMap<(Kind, String), u32>,
    /// Places with exactly one newcomer.
    once: BTreeMap<Kind, u32>,
}

/// As a profile spells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    /// Of the first half, by kind, folded.
    names: Names,
    /// Those that only the second half had.
    newcomers: Names,
    /// Windows of the second half; 0: it could not tell names.
    windows: u64,
    /// There were more than there is room for: then none is new.
    overflowed: bool,
}

impl From<Kept> for Known {
    fn from(kept: Kept) -> Self {
        let mut places: HashMap<(Kind, String), u32> = HashMap::new();
        for (kind, newcomers) in &kept.newcomers {
            for name in newcomers {
                *places.entry((*kind, kept.place(*kind, name))).or_default() += 1;
            }
        }
        let mut once = BTreeMap::new();
        for ((kind, _), _) in places.iter().filter(|(_, newcomers)| **newcomers == 1) {
            *once.entry(*kind).or_default() += 1;
        }
        Self { kept, places, once }
    }
}

impl From<Known> for Kept {
    fn from(known: Known) -> Self {
        known.kept
    }
}

impl Kept {
    /// Where a folded name lies: `/data/*` directly in the deepest directory that the first half knew on its path, `/data/**` deeper.
    fn place(&self, kind: Kind, name: &str) -> String {
        match kind {
            Kind::Run => return name.to_owned(),
            Kind::Talk | Kind::Listen if !name.contains('/') => {
                return name.rsplit_once(':').map_or_else(|| name.to_owned(), |(whom, _port)| format!("{whom}:*"));
            }
            _ => {}
        }
        let known = |directory: &str| {
            let directory = format!("{directory}/");
            let first = self.names.get(&kind).and_then(|names| names.range(directory.clone()..).next());
            first.is_some_and(|name| name.starts_with(&directory))
        };
        let (mut path, mut depth) = (name, "*");
        while let Some((directory, _)) = path.rsplit_once('/') {
            if known(directory) {
                return format!("{directory}/{depth}");
            }
            (path, depth) = (directory, "**");
        }
        "**".to_owned()
    }

    fn has(&self, kind: Kind, name: &str) -> bool {
        [&self.names, &self.newcomers].into_iter().any(|names| names.get(&kind).is_some_and(|names| names.contains(name)))
    }
}

impl Known {
    /// Names of the first half of training, those that only the second had, and its windows; `overflowed`: there were more.
    pub fn new(names: Names, newcomers: Names, windows: u64, overflowed: bool) -> Self {
        Kept { names, newcomers, windows, overflowed }.into()
    }

    /// What it says that a call does this to that, nats: −ln of the probability that a window does so to anything new in such a place.
    /// `None`: that is nothing new, or training could not tell.
    pub fn surprisal(&self, kind: Kind, text: &str, relative: bool) -> Option<f64> {
        if self.kept.windows == 0 || self.kept.overflowed {
            return None;
        }
        let name = fold(kind, text, relative);
        if self.kept.has(kind, &name) {
            return None;
        }
        let newcomers = self.places.get(&(kind, self.kept.place(kind, &name))).copied().unwrap_or(0);
        (newcomers < KEEPS_COMING).then(|| self.elsewhere(kind))
    }

    /// Nats of a new name where they do not keep coming.
    pub fn elsewhere(&self, kind: Kind) -> f64 {
        let once = self.once.get(&kind).copied().unwrap_or(0);
        -((f64::from(once) + 0.5) / (self.kept.windows as f64 + 1.0)).min(1.0).ln()
    }

    /// Names kept.
    pub fn len(&self) -> usize {
        [&self.kept.names, &self.kept.newcomers].into_iter().flat_map(BTreeMap::values).map(BTreeSet::len).sum()
    }

    /// Whether training heard none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Of each kind: names, and how many of them only the second half had. None where training could not tell.
    pub fn kinds(&self) -> impl Iterator<Item = (Kind, u32, u32)> {
        let can_tell = self.kept.windows > 0 && !self.kept.overflowed;
        let count = |names: &Names, kind| names.get(&kind).map_or(0, BTreeSet::len) as u32;
        Kind::ALL.into_iter().filter(move |_| can_tell).map(move |kind| {
            let newcomers = count(&self.kept.newcomers, kind);
            (kind, count(&self.kept.names, kind) + newcomers, newcomers)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1,000 windows in the second half.
    fn known(names: &[(Kind, &str)], newcomers: &[(Kind, &str)]) -> Known {
        let sets = |names: &[(Kind, &str)]| {
            let mut sets = Names::new();
            for (kind, name) in names {
                sets.entry(*kind).or_default().insert(fold(*kind, name, false));
            }
            sets
        };
        Known::new(sets(names), sets(newcomers), 1000, false)
    }

    fn is_new(known: &Known, kind: Kind, name: &str) -> bool {
        known.surprisal(kind, name, false).is_some()
    }

    #[test]
    fn what_training_heard_is_not_new() {
        let known = known(
            &[
                (Kind::Run, "/usr/bin/redis-server"),
                (Kind::Read, "/proc/17/stat"),
                (Kind::Read, "/etc/passwd"),
                (Kind::Change, "/data/temp-12.rdb"),
                (Kind::Talk, "10.0.0.3:6379"),
            ],
            &[(Kind::Talk, "unix:/run/x.sock")],
        );
        for (kind, name, new) in [
            (Kind::Run, "/usr/bin/redis-server", false),
            (Kind::Run, "/bin/sh", true),
            (Kind::Read, "/proc/99/stat", false),
            (Kind::Read, "/etc/shadow", true),
            // Read is not written.
            (Kind::Change, "/etc/passwd", true),
            (Kind::Change, "/data/temp-99.rdb", false),
            (Kind::Talk, "10.9.9.9:6379", false),
            (Kind::Talk, "10.0.0.3:4444", true),
            (Kind::Talk, "8.8.8.8:6379", true),
            (Kind::Talk, "unix:/run/x.sock", false),
            (Kind::Talk, "unix:/run/docker.sock", true),
            (Kind::Listen, "0.0.0.0:4444", true),
        ] {
            assert_eq!(is_new(&known, kind, name), new, "{kind:?} {name}");
        }
        assert!(known.surprisal(Kind::Read, "etc/passwd", true).is_some(), "a relative one is another");
        assert!(!is_new(&Known::default(), Kind::Run, "/bin/sh"), "training could not tell");
    }

    #[test]
    fn where_names_keep_coming_one_more_is_nothing_new() {
        let known = known(
            &[
                (Kind::Change, "/spool/mail-a"),
                (Kind::Change, "/sessions/a/data"),
                (Kind::Change, "/etc/x"),
                (Kind::Talk, "8.8.8.8:53"),
            ],
            &[
                (Kind::Change, "/spool/mail-b"),
                (Kind::Change, "/spool/mail-c"),
                (Kind::Change, "/sessions/b/data"),
                (Kind::Change, "/sessions/c/data"),
                (Kind::Change, "/etc/y"),
                (Kind::Run, "/hooks/a"),
                (Kind::Run, "/hooks/b"),
                (Kind::Talk, "8.8.8.8:1024"),
                (Kind::Talk, "8.8.8.8:1025"),
            ],
        );
        for (kind, name, new) in [
            (Kind::Change, "/spool/mail-d", false),
            (Kind::Change, "/spool/deeper/x", true),
            (Kind::Change, "/sessions/d/data", false),
            (Kind::Change, "/sessions/d/deeper/data", false),
            (Kind::Change, "/sessions/direct", true),
            // One newcomer is no habit.
            (Kind::Change, "/etc/z", true),
            (Kind::Run, "/hooks/c", true),
            (Kind::Read, "/spool/mail-b", true),
            (Kind::Talk, "1.2.3.4:1026", false),
            (Kind::Talk, "127.0.0.1:1026", true),
        ] {
            assert_eq!(is_new(&known, kind, name), new, "{kind:?} {name}");
        }
    }

    #[test]
    fn nats_follow_from_newcomers() {
        let quiet = known(&[(Kind::Run, "/bin/a")], &[]);
        let lively = known(&[(Kind::Run, "/bin/a")], &[(Kind::Run, "/bin/b"), (Kind::Run, "/bin/c"), (Kind::Read, "/x")]);
        let nats = |known: &Known| known.surprisal(Kind::Run, "/bin/sh", false).expect("it is new");
        assert!((nats(&quiet) - (1001.0f64 / 0.5).ln()).abs() < 1e-9);
        assert!((nats(&lively) - (1001.0f64 / 2.5).ln()).abs() < 1e-9, "newcomers of other kinds do not count");
        let short = Known::new(Names::new(), Names::new(), 1, false);
        assert!((nats(&short) - 4f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn kept_and_read_back() {
        let known = known(&[(Kind::Run, "/bin/a")], &[(Kind::Change, "/b/c"), (Kind::Change, "/b/d")]);
        let text = serde_json::to_string(&known).expect("JSON");
        assert_eq!(serde_json::from_str::<Known>(&text).expect("what was kept"), known);
        // Of before there were newcomers.
        let old: Known = serde_json::from_str(r#"{"names":{"run":["/bin/a"]},"overflowed":false,"heard":true}"#).expect("JSON");
        assert_eq!((old.len(), is_new(&old, Kind::Run, "/bin/sh")), (1, false));
    }
}
