//! Files that rotate by size, for `run --jsonl`.
//!
//! In: [`Record`]s from the capture thread. Out: `FILE`, and before it `FILE.1` (newest) to `FILE.N`. Never: stops capture:
//! when a write fails it counts the calls that are missing and begins a new file as soon as it can.
//!
//! Own code: `file-rotate` has no place for a file's end line and header and drops writes silently when the next file
//! cannot be opened; `tracing-appender` rotates by time only.

use super::{
    figures::{Metrics, View, WRITE_FAILED},
    file::{Error, Open},
    lines::Known,
};
use crate::{
    capture::{Sink, SinkError},
    record::Record,
};
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use std::{
    fs, io, mem,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use surprisal_proto::recording::{Header, Line};
use tracing::{error, info};

/// After a write that failed, a new file is tried after this time.
const RETRY: Duration = Duration::from_secs(5);

/// Which file, and when it rotates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// A new one is begun at this size, bytes; `None`: never.
    pub max_bytes: Option<u64>,
    /// Older ones kept.
    pub keep_files: u32,
}

/// Files that rotate by size: `FILE`, and before it `FILE.1` (newest) to `FILE.N`.
#[derive(Debug)]
pub struct Rotating {
    options: Options,
    node: String,
    open: Option<Open>,
    known: Known,
    /// When a new file may be tried again, after a failure.
    retry_at: Option<Instant>,
    /// Calls in the file's buffer, not yet written.
    buffered: u64,
    metrics: Metrics,
}

impl Rotating {
    /// Begins a file; one of that name from an earlier run moves on to `FILE.1`. Fails when not even that
    /// is possible: then the path is wrong, not the disk full.
    pub fn create(options: Options, node: &str, registry: &mut Registry) -> Result<Self, Error> {
        let metrics = Metrics::register(registry);
        let mut this =
            Self { options, node: node.to_owned(), open: None, known: Known::default(), retry_at: None, buffered: 0, metrics };
        this.begin()?;
        Ok(this)
    }

    /// What `status` shows.
    pub fn view(&self) -> View {
        View(self.metrics.clone())
    }

    /// Moves the files on and begins a new one, with the containers known so far.
    fn begin(&mut self) -> Result<(), Error> {
        let path = &self.options.path;
        shift(path, self.options.keep_files).map_err(|source| Error { action: "rotate", path: path.clone(), source })?;
        let mut open = Open::create(path, &Header::new(&self.node, None, Timestamp::now()))?;
        self.known.named().try_for_each(|line| open.write(&line))?;
        if self.retry_at.is_some()
            && let Err(error) = open.flush()
        {
            // Still no room: without the file, the next try rotates nothing.
            drop(open);
            let _gone_already = fs::remove_file(path);
            return Err(error);
        }
        self.metrics.files.inc();
        self.open = Some(open);
        Ok(())
    }

    fn write(&mut self, lines: &[Line]) -> Result<(), Error> {
        let full = |open: &Open| self.options.max_bytes.is_some_and(|max| open.writer.bytes() >= max);
        if self.open.as_ref().is_some_and(full)
            && let Some(open) = self.open.take()
        {
            open.finish()?;
            self.wrote();
        }
        if self.open.is_none() {
            self.begin()?;
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        lines.iter().try_for_each(|line| open.write(line))
    }

    /// The buffer is in the file.
    fn wrote(&mut self) {
        self.metrics.written.inc_by(mem::take(&mut self.buffered));
        if self.retry_at.take().is_some() {
            info!(path = %self.options.path.display(), "writing again, into a new file");
        }
    }

    /// Said once an outage; the metrics tell the rest.
    fn failed(&mut self, error: &Error) {
        self.metrics.dropped.get_or_create(&WRITE_FAILED).inc_by(mem::take(&mut self.buffered));
        // What is there has no end line and may end within a line: readers see that it is cut short.
        self.open = None;
        if self.retry_at.is_none() {
            error!(
                path = %self.options.path.display(),
                cause = %error.source,
                "{error}; going on without this file, and trying again"
            );
        }
        self.retry_at = Some(Instant::now() + RETRY);
    }
}

impl Sink for Rotating {
    fn take(&mut self, record: &Record) -> Result<(), SinkError> {
        let calls = record.calls();
        self.metrics.taken.inc_by(calls);
        let lines = self.known.lines(record);
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            self.metrics.dropped.get_or_create(&WRITE_FAILED).inc_by(calls);
            return Ok(());
        }
        match self.write(&lines) {
            Ok(()) => self.buffered += calls,
            Err(error) => {
                self.failed(&error);
                self.metrics.dropped.get_or_create(&WRITE_FAILED).inc_by(calls);
            }
        }
        Ok(())
    }

    fn idle(&mut self) -> Result<(), SinkError> {
        match self.open.as_mut().map(Open::flush) {
            Some(Err(error)) => self.failed(&error),
            Some(Ok(())) => self.wrote(),
            None => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        match self.open.take().map(Open::finish) {
            Some(Err(error)) => self.failed(&error),
            Some(Ok(())) => self.wrote(),
            None => {}
        }
        Ok(())
    }
}

/// `FILE.N-1` → `FILE.N`, …, `FILE` → `FILE.1`; what was `FILE.N` goes. Without `FILE` there is nothing to make room for.
fn shift(path: &Path, keep: u32) -> io::Result<()> {
    if !path.try_exists()? {
        return Ok(());
    }
    let numbered = |n: u32| {
        let mut name = path.as_os_str().to_owned();
        if n > 0 {
            name.push(format!(".{n}"));
        }
        PathBuf::from(name)
    };
    let allowed = |result: io::Result<()>| match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    if keep == 0 {
        return allowed(fs::remove_file(path));
    }
    (0..keep).rev().try_for_each(|n| allowed(fs::rename(numbered(n), numbered(n + 1))))
}

#[cfg(test)]
mod tests;
