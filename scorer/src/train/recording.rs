//! A recording's file.
//!
//! In: a path. Out: its lines' bytes, unpacked, or why it cannot be used. Never: what is in a line.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use surprisal_proto::recording::ReadError;

/// A recording that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// It could not be opened.
    #[error("opening {}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is damaged, truncated or of another version.
    #[error("{}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ReadError,
    },
    /// It is labelled as something else than normal.
    #[error("{} is labelled {label:?}: a profile is trained on normal behaviour only (--any-label takes it all the same)", path.display())]
    Label {
        /// Which file.
        path: PathBuf,
        /// Its label.
        label: String,
    },
}

/// Opens a recording, packed with zstd (`.zst`) or not.
pub fn open(path: &Path) -> std::io::Result<Box<dyn BufRead>> {
    const BUFFER: usize = 1 << 20;
    let file = std::fs::File::open(path)?;
    if path.extension().is_some_and(|e| e == "zst") {
        return Ok(Box::new(BufReader::with_capacity(BUFFER, zstd::Decoder::new(file)?)));
    }
    Ok(Box::new(BufReader::with_capacity(BUFFER, file)))
}
