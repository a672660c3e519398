//! Recordings of the agent as a data set.
//!
//! In: recordings (JSON Lines, version 1; `.zst`: packed), and beside each of `attack` when its attacks went on. Out: a
//! [`DataSet`] of windows, cut by [`crate::train::corpus`] and so as the scorer would have. Never: windows of two workloads
//! together.
//!
//! Beside `attack/NAME.jsonl` or `attack/NAME.jsonl.zst` lies `attack/NAME.attacks.json`:
//!
//! ```json
//! {"attacks": [{"family": "sqlmap", "from": "2026-11-21T05:00:00Z", "to": "2026-11-21T05:00:30Z", "container": "4f1e…"}]}
//! ```
//!
//! `container`, an id or its beginning, may be missing: then all of the recording's are attacked. A window is an attack's if
//! it begins between `from` and `to`, a second of a container if the attack went on in some part of it; what lies outside is
//! normal, and is judged as such.

use crate::evaluate::data::{Attack, DataSet, File, Item, Kind, Place, Set};
use crate::evaluate::error::DataError;
use crate::train::corpus::Corpus;
use crate::train::recording::{CorpusError, open};
use crate::train::workload::{MOST_KEPT, Workload};
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file of attacks.
#[derive(Debug, Deserialize)]
struct Sidecar {
    attacks: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    family: String,
    from: Timestamp,
    to: Timestamp,
    #[serde(default)]
    container: Option<String>,
}

/// A recording, read.
struct Recording {
    set: Set,
    path: PathBuf,
    below: Arc<str>,
    workloads: BTreeMap<String, Workload>,
    /// Id, workload, number within it.
    containers: Vec<(String, String, u32)>,
}

/// Reads recordings: one list for each of [`Set::ALL`].
pub(super) fn read(dir: &Path, parts: [Vec<PathBuf>; 3], workload: Option<&str>) -> Result<DataSet, DataError> {
    let mut files = Vec::new();
    let mut recordings = Vec::new();
    for (set, paths) in Set::ALL.into_iter().zip(parts) {
        for path in paths {
            let below: Arc<str> = path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().into();
            files.push(File { set, path: below.clone(), digest: digest(&path)? });
            let mut corpus = Corpus::default();
            corpus.read(&path, set == Set::Attack, false)?;
            let corpus = corpus.finish();
            let containers = corpus.containers().map(|(id, w, n)| (id.to_owned(), w.to_owned(), n)).collect();
            recordings.push(Recording { set, path, below, workloads: corpus.workloads, containers });
        }
    }
    let workload = chosen(dir, &recordings, workload)?;
    let mut data = DataSet {
        kind: Kind::Recordings,
        train: Vec::new(),
        test: Vec::new(),
        files,
        attacks: Vec::new(),
        normal_container_seconds: 0.0,
        left_out: Vec::new(),
    };
    for (number, recording) in recordings.into_iter().enumerate() {
        add(&mut data, number as u32, recording, &workload)?;
    }
    for (set, items) in [(Set::NormalTrain, &data.train), (Set::NormalTest, &data.test)] {
        if !items.iter().any(|i| i.set == set) {
            let reason = format!("{} holds no window of workload {workload:?}", set.name());
            return Err(DataError::Workload { dir: dir.to_owned(), reason });
        }
    }
    data.normal_container_seconds = normal_seconds(&data.test, &data.attacks);
    Ok(data)
}

fn digest(path: &Path) -> Result<[u8; 32], DataError> {
    let failed = |source| DataError::Recording(CorpusError::Open { path: path.to_owned(), source });
    let mut input = open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match input.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hash.finalize().into()),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// The workload that is judged: the one asked for, or the only one in `normal-train`.
fn chosen(dir: &Path, recordings: &[Recording], asked: Option<&str>) -> Result<String, DataError> {
    let learned = recordings.iter().filter(|r| r.set == Set::NormalTrain);
    let names: BTreeSet<&str> = learned.flat_map(|r| r.workloads.keys().map(String::as_str)).collect();
    let named: Vec<&str> = names.iter().copied().filter(|n| !n.is_empty()).collect();
    let list = named.join(", ");
    let reason = match (asked, named.as_slice()) {
        (Some(asked), _) if names.contains(asked) => return Ok(asked.to_owned()),
        (None, [only]) => return Ok((*only).to_owned()),
        (None, []) if !names.is_empty() => return Ok(String::new()),
        (Some(asked), _) => format!("normal-train holds no window of workload {asked:?} (it holds: {list})"),
        (None, []) => "normal-train holds no window".to_owned(),
        (None, _) => format!("normal-train holds several workloads, --workload says which one is meant: {list}"),
    };
    Err(DataError::Workload { dir: dir.to_owned(), reason })
}

fn add(data: &mut DataSet, number: u32, mut recording: Recording, workload: &str) -> Result<(), DataError> {
    let attacks = if recording.set == Set::Attack { attacks(&recording, number, workload)? } else { Vec::new() };
    let below = &recording.below;
    let Some(mut found) = recording.workloads.remove(workload) else {
        data.left_out.push(format!("{below}: no window of workload {workload:?}"));
        data.attacks.extend(attacks);
        return Ok(());
    };
    if found.windows > found.pieces.len() as u64 {
        data.left_out.push(format!(
            "{below}: {} of {} windows (at most {MOST_KEPT} are kept)",
            found.windows - found.pieces.len() as u64,
            found.windows
        ));
    }
    if found.gapped > 0 {
        data.left_out.push(format!("{below}: {} windows that a gap cut", found.gapped));
    }
    found.pieces.sort_by_key(|p| p.window.started_ns);
    let into = if recording.set == Set::NormalTrain { &mut data.train } else { &mut data.test };
    let before = into.len();
    for (n, piece) in found.pieces.into_iter().enumerate() {
        let place = Place { recording: number, container: piece.container, started_ns: piece.window.started_ns };
        let context = piece.window.context.len();
        let mut calls = piece.window.context;
        calls.extend(piece.window.calls);
        into.push(Item {
            set: recording.set,
            file: below.clone(),
            number: n as u64,
            family: attacks.iter().find(|a| a.holds(place)).map(|a| a.family.clone()),
            calls,
            context,
            from_start: piece.window.from_start,
            place: Some(place),
        });
    }
    for attack in &attacks {
        let within = |p: Place| attack.in_second(p.recording, p.container, p.started_ns / 1_000_000_000);
        if !into[before..].iter().filter_map(|i| i.place).any(within) {
            data.left_out.push(format!("{below}: no window while {} went on", attack.family));
        }
    }
    data.attacks.extend(attacks);
    Ok(())
}

/// The recording's attacks on the workload.
fn attacks(recording: &Recording, number: u32, workload: &str) -> Result<Vec<Attack>, DataError> {
    let path = sidecar(&recording.path);
    let bad = |reason: String| DataError::Attacks { path: path.clone(), reason };
    let text = std::fs::read(&path)
        .map_err(|e| bad(format!("when the attacks of {} went on must be said here: {e}", recording.below)))?;
    let sidecar: Sidecar = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
    let nanoseconds = |t: Timestamp| u64::try_from(t.as_nanosecond()).unwrap_or(0);
    let mut attacks = Vec::new();
    for entry in sidecar.attacks {
        if entry.from > entry.to {
            return Err(bad(format!("attack {:?} ends before it begins", entry.family)));
        }
        let container = match &entry.container {
            None => None,
            Some(id) => {
                let mut known = recording.containers.iter().filter(|(known, ..)| known.starts_with(id.as_str()));
                let (_, of, n) = known.next().ok_or_else(|| bad(format!("the recording names no container {id:?}")))?;
                if known.next().is_some() {
                    return Err(bad(format!("the recording names several containers {id:?}")));
                }
                // An attack on another workload's container is none on this one.
                if of != workload {
                    continue;
                }
                Some(*n)
            }
        };
        let span = (nanoseconds(entry.from), nanoseconds(entry.to));
        attacks.push(Attack { family: entry.family.into(), recording: number, container, span });
    }
    Ok(attacks)
}

/// `NAME.attacks.json` of `NAME.jsonl` or `NAME.jsonl.zst`.
fn sidecar(recording: &Path) -> PathBuf {
    let name = recording.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.strip_suffix(".zst").unwrap_or(&name);
    recording.with_file_name(format!("{}.attacks.json", name.strip_suffix(".jsonl").unwrap_or(name)))
}

/// Seconds from each container's first window to its last one, without those in which it was attacked, summed.
fn normal_seconds(items: &[Item], attacks: &[Attack]) -> f64 {
    let mut spans: BTreeMap<(u32, u32), (u64, u64)> = BTreeMap::new();
    for place in items.iter().filter_map(|i| i.place) {
        let span = spans.entry((place.recording, place.container)).or_insert((place.started_ns, place.started_ns));
        *span = (span.0.min(place.started_ns), span.1.max(place.started_ns));
    }
    let mut normal = 0;
    for ((recording, container), (first, last)) in spans {
        let on = |a: &&Attack| a.recording == recording && a.container.is_none_or(|c| c == container);
        let mut attacked: Vec<_> = attacks.iter().filter(on).map(|a| a.span).collect();
        attacked.sort_unstable();
        normal += last - first;
        // What was taken off already ends here.
        let mut done = first;
        for (from, to) in attacked {
            let (from, to) = (from.max(done), to.min(last));
            normal -= to.saturating_sub(from);
            done = done.max(to);
        }
    }
    normal as f64 / 1e9
}

#[cfg(test)]
mod tests;
