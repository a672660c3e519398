//! Records into files, in the format of [`surprisal_proto::recording`].
//!
//! In: [`Record`]s from the capture thread. Out: one recording ([`Recording`], for `record`), or files that
//! rotate by size ([`Rotating`], for `run --jsonl`). Never: writes network counters, which the format does not carry.
//!
//! Each file is whole by itself: header, the containers known so far, then what happens, then the `end` line. A full
//! disk ends `record`; `run` goes on without the file, counts the calls that are missing from it and begins a new
//! one as soon as it can.

use crate::{
    capture::{Sink, SinkError},
    config::JsonLines,
    record::Record,
};
use jiff::Timestamp;
use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use surprisal_proto::recording::{self, Header, Line, Writer};
use tracing::{error, info};

/// After a write that failed, a new file is tried for this often.
const RETRY: Duration = Duration::from_secs(5);

/// What could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct Error {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// One file, begun and not yet ended.
#[derive(Debug)]
struct Open {
    path: PathBuf,
    writer: Writer<BufWriter<File>>,
    dirty: bool,
}

impl Open {
    fn create(path: &Path, header: &Header) -> Result<Self, Error> {
        let failed = |source| Error { action: "create", path: path.to_owned(), source };
        let file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
        let writer = Writer::new(BufWriter::new(file), header).map_err(failed)?;
        Ok(Self { path: path.to_owned(), writer, dirty: true })
    }

    fn write(&mut self, line: &Line) -> Result<(), Error> {
        self.dirty = true;
        self.writer.write(line).map_err(|source| Error { action: "write", path: self.path.clone(), source })
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.dirty {
            self.writer.flush().map_err(|source| Error { action: "write", path: self.path.clone(), source })?;
            self.dirty = false;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Error> {
        let failed = |source| Error { action: "finish", path: self.path.clone(), source };
        let buffer = self.writer.finish().map_err(failed)?;
        let file = buffer.into_inner().map_err(|e| failed(e.into_error()))?;
        file.sync_all().map_err(failed)
    }
}

/// Containers that a file must name before their calls.
#[derive(Debug, Default)]
struct Known(BTreeMap<String, recording::Container>);

impl Known {
    /// The lines that a record becomes.
    fn lines(&mut self, record: &Record) -> Vec<Line> {
        let container = record.container();
        let id = container.id.to_string();
        let mut lines = Vec::new();
        if !self.0.contains_key(&id) || matches!(record, Record::Birth(_)) {
            let named = container.to_recording();
            lines.push(Line::Container(named.clone()));
            self.0.insert(id.clone(), named);
        }
        match record {
            Record::Birth(_) | Record::Network { .. } => {}
            Record::Calls { run, .. } => lines.push(Line::Calls(run.to_recording(container))),
            Record::Account { issued, delivered, lost_ring, threads_untracked, .. } => {
                lines.push(Line::Account(recording::Account {
                    container: id,
                    issued: *issued,
                    delivered: *delivered,
                    lost: *lost_ring,
                    threads_untracked: *threads_untracked,
                }));
            }
            Record::Death { at, .. } => {
                self.0.remove(&id);
                lines.push(Line::Death(recording::Death { container: id, at: *at }));
            }
        }
        lines
    }
}

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

/// Files that rotate by size: `FILE`, and before it `FILE.1` (newest) to `FILE.N`.
#[derive(Debug)]
pub struct Rotating {
    options: JsonLines,
    node: String,
    open: Option<Open>,
    known: Known,
    /// When a new file may be tried for again, after a failure.
    retry_at: Option<Instant>,
    /// Calls in the file's buffer: whether they can be written is not known yet.
    buffered: u64,
    metrics: Metrics,
}

impl Rotating {
    /// Begins a file; one of that name from an earlier run moves on to `FILE.1`. Fails when not even that
    /// is possible: then the path is wrong, not the disk full.
    pub fn create(options: JsonLines, node: &str, registry: &mut Registry) -> Result<Self, Error> {
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
        for container in self.known.0.values() {
            open.write(&Line::Container(container.clone()))?;
        }
        if self.retry_at.is_some()
            && let Err(error) = open.flush()
        {
            // Still no room: nothing is moved on for it the next time.
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
        self.metrics.written.inc_by(std::mem::take(&mut self.buffered));
        if self.retry_at.take().is_some() {
            info!(path = %self.options.path.display(), "writing again, into a new file");
        }
    }

    /// Said once an outage; the metrics tell the rest.
    fn failed(&mut self, error: &Error) {
        self.metrics.dropped.get_or_create(&WRITE_FAILED).inc_by(std::mem::take(&mut self.buffered));
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

/// This stage's balance, for `status`; shared with the sink.
#[derive(Clone, Debug)]
pub struct View(Metrics);

impl View {
    /// Calls in, written, and dropped because a write failed.
    pub fn counts(&self) -> (u64, u64, u64) {
        // Out before in, so that what is held is never less than nothing.
        let (out, dropped) = (self.0.written.get(), self.0.dropped.get_or_create(&WRITE_FAILED).get());
        (self.0.taken.get(), out, dropped)
    }
}

type Reason = [(&'static str, &'static str); 1];
const WRITE_FAILED: Reason = [("reason", "write_failed")];

/// Figures of this stage: calls in = written + dropped + those in the buffer.
#[derive(Clone, Debug, Default)]
struct Metrics {
    taken: Counter,
    written: Counter,
    dropped: Family<Reason, Counter>,
    files: Counter,
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        drop(metrics.dropped.get_or_create(&WRITE_FAILED));
        let jsonl = registry.sub_registry_with_prefix("jsonl");
        jsonl.register("in_calls", "Calls to be written", metrics.taken.clone());
        jsonl.register("out_calls", "Calls written", metrics.written.clone());
        jsonl.register("dropped_calls", "Calls not written", metrics.dropped.clone());
        jsonl.register("files", "Files begun", metrics.files.clone());
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        container::{ContainerInfo, Kind, Names},
        procfs::ContainerKey,
        record::Run,
    };
    use std::{io::BufReader, sync::Arc};
    use surprisal_proto::recording::Reader;

    fn info(id: &str) -> Arc<ContainerInfo> {
        let names = Names { kind: Kind::Container, ..Names::default() };
        Arc::new(ContainerInfo::named(ContainerKey(1), "n".into(), id.parse().expect("an id"), names, None))
    }

    fn calls(id: &str, seq: u64, n: usize) -> Record {
        let started = Timestamp::UNIX_EPOCH;
        let run = Run { tgid: 1, tid: 1, process: "p".into(), first_seq: seq, started, gap: 0, tokens: vec![0; n], last: false };
        Record::Calls { container: info(id), run }
    }

    fn death(id: &str) -> Record {
        Record::Death { container: info(id), at: Timestamp::UNIX_EPOCH }
    }

    fn read(path: &Path) -> Vec<Line> {
        let file = BufReader::new(File::open(path).expect("a file"));
        Reader::new(file).and_then(Iterator::collect).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Lines as `c1` (a container), `c1+3` (calls), `c1=` (an account), `c1!` (a death).
    fn said(path: &Path) -> String {
        let say = |line: &Line| match line {
            Line::Container(c) => c.id.clone(),
            Line::Calls(c) => format!("{}+{}", c.container, c.calls.len()),
            Line::Account(a) => format!("{}=", a.container),
            Line::Death(d) => format!("{}!", d.container),
            Line::Header(_) | Line::End(_) => "?".into(),
        };
        read(path).iter().map(say).collect::<Vec<_>>().join(" ")
    }

    fn rotating(path: &Path, max_bytes: u64, keep_files: u32) -> Rotating {
        let options = JsonLines { path: path.to_owned(), max_bytes: Some(max_bytes), keep_files };
        Rotating::create(options, "n", &mut Registry::default()).expect("a file")
    }

    #[test]
    fn a_recording_is_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("r.jsonl");
        let mut recording = Recording::create(&path, "n", Some("normal")).expect("a file");
        let account = Record::Account { container: info("c1"), issued: 3, delivered: 3, lost_ring: 0, threads_untracked: 0 };
        for record in [Record::Birth(info("c1")), calls("c1", 0, 3), account, calls("c2", 0, 1), death("c1"), death("c2")] {
            recording.take(&record).expect("space");
        }
        recording.idle().expect("space");
        let unfinished = Reader::new(BufReader::new(File::open(&path).expect("a file"))).expect("a header");
        assert!(unfinished.collect::<Result<Vec<_>, _>>().is_err(), "without its end line it is cut short");
        recording.finish().expect("space");
        recording.finish().expect("a second time does nothing");
        assert_eq!(said(&path), "c1 c1+3 c1= c2 c2+1 c1! c2!");
        let error = Recording::create(&path, "n", None).expect_err("it is there already");
        assert_eq!(error.to_string(), format!("cannot create {}", path.display()));

        let unused = dir.path().join("u.jsonl");
        drop(Recording::create(&unused, "n", None).expect("a file"));
        assert!(!unused.exists(), "capture could not begin: nothing is left behind");
    }

    #[test]
    fn a_full_disk_ends_a_recording() {
        let file = OpenOptions::new().write(true).open("/dev/full").expect("a device");
        let header = Header::new("n", None, Timestamp::UNIX_EPOCH);
        let writer = Writer::new(BufWriter::new(file), &header).expect("still in the buffer");
        let open = Some(Open { path: "/dev/full".into(), writer, dirty: true });
        let mut recording = Recording { open, known: Known::default(), used: true };
        let error = recording.idle().expect_err("no space");
        assert_eq!(error.to_string(), "cannot write /dev/full");
    }

    #[test]
    fn files_rotate_and_each_is_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.jsonl");
        let mut sink = rotating(&path, 600, 2);
        sink.take(&Record::Birth(info("c1"))).expect("never");
        sink.take(&Record::Birth(info("c2"))).expect("never");
        for n in 0..40 {
            sink.take(&calls("c1", n, 1)).expect("never");
        }
        sink.take(&death("c2")).expect("never");
        for n in 40..45 {
            sink.take(&calls("c1", n, 1)).expect("never");
        }
        sink.finish().expect("never");
        let (newest, newer, old) = (path.clone(), dir.path().join("a.jsonl.1"), dir.path().join("a.jsonl.2"));
        assert!(!dir.path().join("a.jsonl.3").exists());
        assert!(said(&old).starts_with("c1 c2 c1+1"), "{}", said(&old));
        for path in [&newest, &newer, &old] {
            assert!(read(path).len() > 2);
        }
        let seqs =
            |path: &PathBuf| read(path).into_iter().filter_map(|l| if let Line::Calls(c) = l { Some(c.seq) } else { None });
        let all: Vec<u64> = [&old, &newer, &newest].into_iter().flat_map(seqs).collect();
        assert_eq!(all, (45 - all.len() as u64..45).collect::<Vec<_>>(), "nothing is missing between files");
        assert_eq!(sink.metrics.taken.get(), 45);
        assert_eq!(sink.metrics.written.get(), 45);
    }

    #[test]
    fn an_earlier_runs_file_is_kept_or_not_as_asked() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.jsonl");
        for (keep, kept) in [(1, true), (0, false)] {
            fs::write(&path, "old").expect("a file");
            let _old = fs::remove_file(dir.path().join("a.jsonl.1"));
            rotating(&path, 1 << 20, keep).finish().expect("never");
            assert_eq!(dir.path().join("a.jsonl.1").exists(), kept);
            assert_eq!(said(&path), "");
        }
    }

    #[test]
    fn without_the_file_the_agent_goes_on_and_counts() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("sub/a.jsonl");
        assert!(
            Rotating::create(JsonLines { path: path.clone(), max_bytes: None, keep_files: 1 }, "n", &mut Registry::default())
                .is_err()
        );
        fs::create_dir(dir.path().join("sub")).expect("a directory");
        let mut sink = rotating(&path, 300, 1);
        sink.take(&calls("c1", 0, 40)).expect("never");
        fs::remove_dir_all(dir.path().join("sub")).expect("there");
        // The file is full, and there is nowhere to put the next one.
        sink.take(&calls("c1", 40, 5)).expect("never");
        sink.take(&calls("c1", 45, 5)).expect("never");
        let counts = |sink: &Rotating| {
            let dropped = sink.metrics.dropped.get_or_create(&WRITE_FAILED).get();
            (sink.metrics.taken.get(), sink.metrics.written.get(), dropped)
        };
        assert_eq!(counts(&sink), (50, 40, 10));
        fs::create_dir(dir.path().join("sub")).expect("a directory");
        sink.retry_at = Some(Instant::now());
        sink.take(&calls("c1", 50, 5)).expect("never");
        sink.finish().expect("never");
        assert_eq!(counts(&sink), (55, 45, 10));
        assert_eq!(said(&path), "c1 c1+5", "named again");
    }
}
