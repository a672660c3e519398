//! Recordings, cut into windows by workload.
//!
//! In: lines of recordings, file after file. Out: a [`Workload`]'s windows with their times, and what was
//! left out, counted. Never: a window that the scorer would not have cut from the same runs.

use crate::detect::window::{Cut, Cutter, QUIET, Run};
use crate::train::recording::{CorpusError, open};
use crate::train::workload::Workload;
use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;
use std::path::Path;
use surprisal_proto::recording::{Calls, Header, Line, ReadError, Reader};

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
    /// Nothing is learned from it: a pod sandbox, or in a sandboxed runtime.
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
                let mut corrected = None;
                let workload = self.workloads.entry(c.names.workload.clone()).or_default();
                let known = self.containers.entry(c.id).or_insert_with(|| {
                    workload.containers += 1;
                    Known {
                        workload: c.names.workload.clone(),
                        number: workload.containers - 1,
                        sandbox: c.names.kind.is_sandbox() || c.names.own_kernel,
                        threads: HashMap::new(),
                        span: None,
                    }
                });
                if known.workload != c.names.workload {
                    // Names that came later corrected the first ones.
                    workload.containers += 1;
                    known.number = workload.containers - 1;
                    let guessed = std::mem::replace(&mut known.workload, c.names.workload.clone());
                    corrected = Some(guessed);
                }
                known.sandbox = c.names.kind.is_sandbox() || c.names.own_kernel;
                if workload.image.is_empty() {
                    workload.image = c.names.image;
                }
                // Of a first guess nothing need be left.
                if let Some(guessed) = corrected.filter(|w| self.workloads.get(w).is_some_and(|w| w.calls == 0)) {
                    self.workloads.remove(&guessed);
                }
            }
            Line::Name(name) => {
                if let Some(known) = self.containers.get(&name.container).filter(|known| !known.sandbox)
                    && let Some(workload) = self.workloads.get_mut(&known.workload)
                {
                    workload.names.add(name.call, &name.name, name.relative, workload.windows);
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
        // The end of a thread that made no calls since has no time of its own: agents write when the machine booted.
        if n > 0 {
            let (from, to) = known.span.unwrap_or((at, at));
            known.span = Some((from.min(at), to.max(at)));
        }
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
mod tests;
