//! Where the parts of a data set lie.
//!
//! In: a folder as [`crate::evaluate`] lays it out. Out: each part's files, in alphabetical order. Never: what a file holds.

use crate::evaluate::data::Set;
use crate::evaluate::error::DataError;
use std::path::{Path, PathBuf};

/// Where a part of a data set lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Files of text.
    Text(Vec<PathBuf>),
    /// Recordings.
    Recordings(Vec<PathBuf>),
}

/// Endings of recordings.
const RECORDINGS: [&str; 2] = [".jsonl", ".jsonl.zst"];

fn ends(path: &Path, endings: &[&str]) -> bool {
    path.file_name().is_some_and(|n| endings.iter().any(|e| n.to_string_lossy().ends_with(e)))
}

/// Finds a part's files, in alphabetical order of their paths.
pub(super) fn find(dir: &Path, set: Set) -> Result<Source, DataError> {
    let name = set.name();
    let candidates = ["", ".txt", ".jsonl", ".jsonl.zst"].map(|ending| dir.join(format!("{name}{ending}")));
    let mut there = candidates.into_iter().filter(|p| p.exists());
    let Some(path) = there.next() else { return Err(DataError::Missing { dir: dir.to_owned(), set: name }) };
    if let Some(second) = there.next() {
        return Err(DataError::Twice { first: path, second });
    }
    if !path.is_dir() {
        let recording = ends(&path, &RECORDINGS);
        return Ok(if recording { Source::Recordings(vec![path]) } else { Source::Text(vec![path]) });
    }
    let mut files = Vec::new();
    walk(&path, &mut files)?;
    let (recordings, text): (Vec<_>, Vec<_>) =
        files.into_iter().filter(|p| ends(p, &RECORDINGS) || ends(p, &[".txt"])).partition(|p| ends(p, &RECORDINGS));
    match (recordings.is_empty(), text.is_empty()) {
        (true, true) => Err(DataError::Empty { path, what: "*.txt, *.jsonl or *.jsonl.zst" }),
        (false, true) => Ok(Source::Recordings(recordings)),
        (true, false) => Ok(Source::Text(text)),
        (false, false) => Err(DataError::Mixed { dir: dir.to_owned(), set: name }),
    }
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), DataError> {
    let failed = |source| DataError::Read { path: dir.to_owned(), source };
    let mut entries = std::fs::read_dir(dir).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        // A link to a folder is not followed, so that none can lead in a circle.
        if entry.file_type().map_err(failed)?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
