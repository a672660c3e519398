//! One recording, for `record`.
//!
//! In: [`Record`]s from the capture thread. Out: a file that is whole once it is finished. Never: goes on after a failure.

use super::{
    file::{Error, Open},
    lines::Known,
};
use crate::{
    capture::{Sink, SinkError},
    record::Record,
};
use jiff::Timestamp;
use std::{fs, path::Path};
use surprisal_proto::recording::Header;

/// One recording. Any failure is an error: half a recording is none.
#[derive(Debug)]
pub struct Recording {
    open: Option<Open>,
    known: Known,
    used: bool,
}

impl Recording {
    /// Begins the file, which must not exist.
    pub fn create(path: &Path, node: &str, label: Option<&str>) -> Result<Self, Error> {
        let open = Open::create(path, &Header::new(node, label, Timestamp::now()))?;
        Ok(Self { open: Some(open), known: Known::default(), used: false })
    }
}

/// A recording that capture never reached leaves no file behind.
impl Drop for Recording {
    fn drop(&mut self) {
        if let Some(open) = self.open.take()
            && !self.used
        {
            let _gone_already = fs::remove_file(&open.path);
        }
    }
}

impl Sink for Recording {
    fn take(&mut self, record: &Record) -> Result<(), SinkError> {
        self.used = true;
        let Some(open) = &mut self.open else { return Ok(()) };
        for line in self.known.lines(record) {
            open.write(&line)?;
        }
        Ok(())
    }

    fn idle(&mut self) -> Result<(), SinkError> {
        self.used = true;
        Ok(self.open.as_mut().map_or(Ok(()), Open::flush)?)
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        Ok(self.open.take().map_or(Ok(()), Open::finish)?)
    }
}

#[cfg(test)]
mod tests;
