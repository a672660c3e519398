//! Recordings, cut into windows by workload.
//!
//! In: lines of recordings, file after file. Out: a [`Workload`]'s windows with their times, and what was
//! left out, counted. Never: a window that the scorer would not have cut from the same runs.

use crate::detect::window::{Cut, Cutter, QUIET, Run, Window};
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use surprisal_proto::recording::{Calls, Header, Line, ReadError, Reader};

/// Windows kept of one workload; of more, every second, fourth, … is kept.
pub const MOST_KEPT: usize = 400_000;

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

/// One window of a workload.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Container, a small number within the workload.
    pub container: u32,
    /// The window.
    pub window: Window,
}

/// What was recorded of one workload.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// Its windows, in the order they were completed.
    pub pieces: Vec<Piece>,
    /// Calls recorded.
    pub calls: u64,
    /// Windows cut, kept or not.
    pub windows: u64,
    /// Windows that a gap cut.
    pub gapped: u64,
    /// Seconds recorded, summed over containers.
    pub container_seconds: f64,
    /// Containers.
    pub containers: u32,
    /// Image of the first container; empty: not known.
    pub image: String,
    /// Every how many windows one is kept, less 1.
    skip: u64,
}

impl Workload {
    fn add(&mut self, container: u32, cuts: &mut Vec<Cut>) {
        for cut in cuts.drain(..) {
            match cut {
                Cut::Gapped { .. } => self.gapped += 1,
                Cut::Window(window) => {
                    if self.windows & self.skip == 0 {
                        self.pieces.push(Piece { container, window });
                    }
                    self.windows += 1;
                    if self.pieces.len() > MOST_KEPT {
                        let mut n = 0u64;
                        self.pieces.retain(|_| {
                            n += 1;
                            n % 2 == 1
                        });
                        self.skip = self.skip * 2 + 1;
                    }
                }
            }
        }
    }

    /// Windows that one container makes a day, by the rate of the recordings.
    pub fn windows_per_container_day(&self) -> f64 {
        // A recording shorter than a second says nothing of a rate.
        self.windows as f64 / self.container_seconds.max(1.0) * 86_400.0
    }

    /// Adds another's windows, as if they were one workload.
    pub fn merge(&mut self, other: Self) {
        let from = self.containers;
        self.pieces.extend(other.pieces.into_iter().map(|p| Piece { container: p.container + from, ..p }));
        self.calls += other.calls;
        self.windows += other.windows;
        self.gapped += other.gapped;
        self.container_seconds += other.container_seconds;
        self.containers += other.containers;
        if self.image.is_empty() {
            self.image = other.image;
        }
    }
}

/// What recordings hold.
#[derive(Debug, Default)]
pub struct Corpus {
    /// By workload.
    pub workloads: BTreeMap<String, Workload>,
    /// Calls of containers that were never named.
    pub unnamed_calls: u64,
    /// Files that were cut short, with the reason; only where that is allowed.
    pub truncated: Vec<String>,
    containers: HashMap<String, Known>,
    /// Highest time of the present file so far, nanoseconds: when its runs arrived, as far as it tells.
    clock: u64,
    /// When quiet threads are looked for next.
    sweep: u64,
}

/// How often quiet threads are looked for, nanoseconds of the recording.
const SWEEP_NS: u64 = 200_000_000;

/// A thread, and when its last run came.
#[derive(Debug, Default)]
struct Thread {
    cutter: Cutter,
    heard: u64,
}

#[derive(Debug)]
struct Known {
    workload: String,
    number: u32,
    sandbox: bool,
    threads: HashMap<(u32, u32), Thread>,
    /// First and last call in the present file, nanoseconds.
    span: Option<(u64, u64)>,
}

impl Corpus {
    /// Reads one file.
    pub fn read(&mut self, path: &Path, any_label: bool, allow_truncated: bool) -> Result<(), CorpusError> {
        let read = |source| CorpusError::Read { path: path.to_owned(), source };
        let input = open(path).map_err(|source| CorpusError::Open { path: path.to_owned(), source })?;
        let reader = Reader::new(input).map_err(read)?;
        check_label(path, &reader.header, any_label)?;
        (self.clock, self.sweep) = (0, 0);
        self.take(reader, allow_truncated, path).map_err(read)
    }

    /// Every container named so far: id, workload and its number there.
    pub fn containers(&self) -> impl Iterator<Item = (&str, &str, u32)> {
        self.containers.iter().map(|(id, known)| (id.as_str(), known.workload.as_str(), known.number))
    }

    fn take<R: BufRead>(&mut self, reader: Reader<R>, allow_truncated: bool, path: &Path) -> Result<(), ReadError> {
        for line in reader {
            match line {
                Ok(line) => self.line(line),
                Err(error @ ReadError::Truncated { .. }) if allow_truncated => {
                    self.truncated.push(format!("{}: {error}", path.display()));
                }
                Err(error) => return Err(error),
            }
        }
        self.close_spans();
        Ok(())
    }

    fn line(&mut self, line: Line) {
        match line {
            Line::Container(c) => {
                let workload = self.workloads.entry(c.workload.clone()).or_default();
                let known = self.containers.entry(c.id).or_insert_with(|| {
                    workload.containers += 1;
                    Known {
                        workload: c.workload,
                        number: workload.containers - 1,
                        sandbox: c.sandbox,
                        threads: HashMap::new(),
                        span: None,
                    }
                });
                known.sandbox = c.sandbox;
                if workload.image.is_empty() {
                    workload.image = c.image;
                }
            }
            Line::Calls(calls) => self.calls(&calls),
            Line::Death(death) => {
                if let Some(known) = self.containers.get_mut(&death.container) {
                    flush(known, &mut self.workloads);
                }
            }
            Line::Header(_) | Line::Account(_) | Line::End(_) => {}
        }
    }

    fn calls(&mut self, calls: &Calls) {
        let n = calls.calls.len() as u64;
        let at = u64::try_from(calls.at.as_nanosecond()).unwrap_or(0);
        self.clock = self.clock.max(at);
        if self.clock >= self.sweep {
            self.sweep = self.clock.saturating_add(SWEEP_NS);
            self.cut_quiet();
        }
        let Some(known) = self.containers.get_mut(&calls.container) else {
            self.unnamed_calls += n;
            return;
        };
        if known.sandbox {
            return;
        }
        let (from, to) = known.span.unwrap_or((at, at));
        known.span = Some((from.min(at), to.max(at)));
        let run = Run { first_sequence: calls.seq, gap: calls.gap, started_ns: at, calls: &calls.calls, last: calls.last };
        let mut cuts = Vec::new();
        let thread = known.threads.entry((calls.pid, calls.tid)).or_default();
        thread.heard = self.clock;
        thread.cutter.push(run, &mut cuts);
        if calls.last {
            known.threads.remove(&(calls.pid, calls.tid));
        }
        if let Some(workload) = self.workloads.get_mut(&known.workload) {
            workload.calls += n;
            workload.add(known.number, &mut cuts);
        }
    }

    /// Cuts the partial windows of threads that have gone quiet, as the scorer would have.
    fn cut_quiet(&mut self) {
        let quiet_since = self.clock.saturating_sub(QUIET.as_nanos() as u64);
        let mut cuts = Vec::new();
        for known in self.containers.values_mut() {
            let silent = known.threads.values_mut().filter(|t| t.heard <= quiet_since);
            let windows = silent.filter_map(|t| t.cutter.flush());
            cuts.extend(windows.map(|w| (known.workload.clone(), known.number, w)));
        }
        // The order of a map is no order: the same recording must give the same corpus.
        cuts.sort_by(|a, b| {
            (&a.0, a.1, a.2.started_ns, a.2.first_sequence, &a.2.calls).cmp(&(
                &b.0,
                b.1,
                b.2.started_ns,
                b.2.first_sequence,
                &b.2.calls,
            ))
        });
        for (workload, number, window) in cuts {
            if let Some(workload) = self.workloads.get_mut(&workload) {
                workload.add(number, &mut vec![Cut::Window(window)]);
            }
        }
    }

    fn close_spans(&mut self) {
        for known in self.containers.values_mut() {
            if let (Some((from, to)), Some(workload)) = (known.span.take(), self.workloads.get_mut(&known.workload)) {
                workload.container_seconds += (to - from) as f64 / 1e9;
            }
        }
    }

    /// Ends reading: what is pending is cut, workloads without a window are left out.
    #[must_use]
    pub fn finish(mut self) -> Self {
        // In order, so that the same recordings give the same corpus.
        let mut ids: Vec<_> = self.containers.keys().cloned().collect();
        ids.sort();
        for id in ids {
            if let Some(known) = self.containers.get_mut(&id) {
                flush(known, &mut self.workloads);
            }
        }
        self.workloads.retain(|_, w| w.windows > 0);
        self
    }
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

fn check_label(path: &Path, header: &Header, any: bool) -> Result<(), CorpusError> {
    match header.label.as_deref() {
        None | Some("normal") => Ok(()),
        Some(_) if any => Ok(()),
        Some(label) => Err(CorpusError::Label { path: path.to_owned(), label: label.to_owned() }),
    }
}

fn flush(known: &mut Known, workloads: &mut BTreeMap<String, Workload>) {
    let mut threads: Vec<_> = known.threads.drain().collect();
    threads.sort_by_key(|(id, _)| *id);
    let mut cuts: Vec<_> = threads.into_iter().filter_map(|(_, mut thread)| thread.cutter.flush().map(Cut::Window)).collect();
    if let Some(workload) = workloads.get_mut(&known.workload) {
        workload.add(known.number, &mut cuts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use surprisal_proto::recording::{Container, Writer};
    use surprisal_proto::token::Token;

    fn recording(label: Option<&str>, lines: &[Line]) -> Vec<u8> {
        let mut w = Writer::new(Vec::new(), &Header::new("n", label, Timestamp::UNIX_EPOCH)).expect("memory");
        for line in lines {
            w.write(line).expect("memory");
        }
        w.finish().expect("memory")
    }

    fn container(id: &str, workload: &str, sandbox: bool) -> Line {
        Line::Container(Container {
            id: id.into(),
            workload: workload.into(),
            image: "i".into(),
            sandbox,
            ..Container::default()
        })
    }

    fn calls(container: &str, tid: u32, ms: i64, seq: u64, n: usize, last: bool) -> Line {
        Line::Calls(Calls {
            at: Timestamp::from_millisecond(ms).expect("in range"),
            node: "n".into(),
            container: container.into(),
            pod: String::new(),
            pid: 1,
            tid,
            process: "p".into(),
            seq,
            gap: 0,
            calls: vec![Token(3); n],
            last,
        })
    }

    fn read(files: &[&[u8]]) -> Corpus {
        let dir = tempfile::tempdir().expect("a directory");
        let mut corpus = Corpus::default();
        for file in files {
            let path = dir.path().join("r.jsonl");
            std::fs::write(&path, file).expect("writes");
            corpus.read(&path, false, true).expect("reads");
        }
        corpus.finish()
    }

    #[test]
    fn cuts_threads_by_workload_and_over_files() {
        let first = recording(
            Some("normal"),
            &[
                container("a", "ns/w/c", false),
                container("b", "ns/w/c", false),
                container("s", "ns/w/pause", true),
                calls("a", 1, 0, 0, 100, false),
                calls("a", 2, 0, 0, 10, true),
                calls("b", 1, 5000, 0, 10, false),
                calls("b", 1, 6000, 10, 10, false),
                calls("s", 1, 0, 0, 100, false),
                calls("nobody", 1, 0, 0, 7, false),
            ],
        );
        let second = recording(
            None,
            &[container("a", "ns/w/c", false), calls("a", 1, 500, 100, 28, false), calls("a", 1, 2500, 130, 40, false)],
        );
        let corpus = read(&[&first, &second]);
        assert_eq!(corpus.workloads.keys().collect::<Vec<_>>(), ["ns/w/c"]);
        assert_eq!(corpus.unnamed_calls, 7);
        let w = &corpus.workloads["ns/w/c"];
        let lengths: Vec<_> = w.pieces.iter().map(|p| (p.container, p.window.calls.len())).collect();
        // Thread 1 of a is quiet from 0 to 5 s, and again from 0.5 to 2.5 s; b makes a call a second.
        assert_eq!(lengths, [(0, 64), (0, 10), (0, 36), (1, 10), (0, 28), (0, 24), (1, 10)]);
        assert_eq!((w.calls, w.windows, w.gapped, w.containers), (198, 7, 1, 2));
        // b: 1 s in the first file; a: 2 s in the second.
        assert!((w.container_seconds - 3.0).abs() < 1e-9);
        assert!((w.windows_per_container_day() - 7.0 / 3.0 * 86_400.0).abs() < 1e-6);
    }

    #[test]
    fn what_is_cut_short_is_refused_unless_allowed() {
        let whole = recording(None, &[container("a", "ns/w/c", false), calls("a", 1, 0, 0, 100, false)]);
        let cut = &whole[..whole.len() - 5];
        let corpus = read(&[cut]);
        assert_eq!(corpus.truncated.len(), 1);
        assert_eq!(corpus.workloads["ns/w/c"].windows, 2);
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("r.jsonl");
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("writes");
            crate::cause::chain(&Corpus::default().read(&path, false, false).expect_err("refused"))
                .replace(&*dir.path().to_string_lossy(), "")
        };
        assert_eq!(refused(cut), "/r.jsonl: truncated after line 3: the last line is cut");
        assert_eq!(refused(b"x"), "/r.jsonl: not a recording: the first line is no header");
        assert!(refused(&recording(Some("attack"), &[])).starts_with("/r.jsonl is labelled \"attack\""));
    }

    #[test]
    fn a_long_recording_is_thinned_evenly_and_counted() {
        let mut w = Workload::default();
        for n in 0..MOST_KEPT as u64 + 10 {
            let window = Window { first_sequence: n, started_ns: n, from_start: true, context: vec![], calls: vec![Token(1)] };
            w.add(0, &mut vec![Cut::Window(window)]);
        }
        assert_eq!(w.windows, MOST_KEPT as u64 + 10);
        assert!(w.pieces.windows(2).all(|p| p[1].window.first_sequence - p[0].window.first_sequence == 2), "every second");
        assert_eq!(w.pieces.len(), MOST_KEPT / 2 + 5);
    }
}
