//! One file, begun and not yet ended.
//!
//! In: lines. Out: the file, on the disk once it is finished. Never: takes the place of a file that exists.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter},
    path::{Path, PathBuf},
};
use surprisal_proto::recording::{Header, Line, Writer};

/// What could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct Error {
    pub(super) action: &'static str,
    pub(super) path: PathBuf,
    #[source]
    pub(super) source: io::Error,
}

/// One file, begun and not yet ended.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) path: PathBuf,
    pub(super) writer: Writer<BufWriter<File>>,
    /// Something was written since the last flush.
    pub(super) dirty: bool,
}

impl Open {
    pub(super) fn create(path: &Path, header: &Header) -> Result<Self, Error> {
        let failed = |source| Error { action: "create", path: path.to_owned(), source };
        let file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
        let writer = Writer::new(BufWriter::new(file), header).map_err(failed)?;
        Ok(Self { path: path.to_owned(), writer, dirty: true })
    }

    pub(super) fn write(&mut self, line: &Line) -> Result<(), Error> {
        self.dirty = true;
        self.writer.write(line).map_err(|source| Error { action: "write", path: self.path.clone(), source })
    }

    pub(super) fn flush(&mut self) -> Result<(), Error> {
        if self.dirty {
            self.writer.flush().map_err(|source| Error { action: "write", path: self.path.clone(), source })?;
            self.dirty = false;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), Error> {
        let failed = |source| Error { action: "finish", path: self.path.clone(), source };
        let buffer = self.writer.finish().map_err(failed)?;
        let file = buffer.into_inner().map_err(|e| failed(e.into_error()))?;
        file.sync_all().map_err(failed)
    }
}
