//! Files that are whole or not there.
//!
//! In: a path, bytes. Out: a file's content, within a limit; a file replaced at once. Never: a part of a file.

use crate::profile::error::ProfileError;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Reads a file of at most `max` bytes.
pub(super) fn read_file(path: &Path, max: u64) -> Result<Vec<u8>, ProfileError> {
    use std::io::Read as _;
    let fail = |source| ProfileError::Io { doing: "reading", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|f| f.take(max + 1).read_to_end(&mut bytes)).map_err(fail)?;
    if bytes.len() as u64 > max {
        return Err(ProfileError::TooLarge { path: path.to_owned(), max });
    }
    Ok(bytes)
}

/// Writes a file so that a reader finds the old or the new one, never a part.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ProfileError> {
    stage(path, bytes)?.place()
}

/// A file's new content, on the disk beside it; dropped, it is gone.
pub(super) struct Staged {
    path: PathBuf,
    file: tempfile::NamedTempFile,
}

/// Writes a file's new content to the disk beside it.
pub(super) fn stage(path: &Path, bytes: &[u8]) -> Result<Staged, ProfileError> {
    let fail = |source| ProfileError::Io { doing: "writing", path: path.to_owned(), source };
    let dir = path.parent().ok_or_else(|| fail(io::ErrorKind::InvalidInput.into()))?;
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir).map_err(fail)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(fail)?;
    Ok(Staged { path: path.to_owned(), file })
}

impl Staged {
    /// It takes the file's place.
    pub(super) fn place(self) -> Result<(), ProfileError> {
        let Self { path, file } = self;
        file.persist(&path).map_err(|e| ProfileError::Io { doing: "writing", path, source: e.error })?;
        Ok(())
    }
}
