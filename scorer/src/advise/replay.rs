//! A recording, played into the registry that serving has.
//!
//! In: a recording's lines. Out: the windows that the scorer would have cut, when it would have cut them by the recording's own
//! clock: the highest time so far of any run in it, as [`crate::detect::window`] has it. Never: a score; nothing waits for the
//! model here, so nothing is shed for overload.

use crate::containers::job::Job;
use crate::containers::limits::Limits;
use crate::containers::registry::{Now, Registry};
use crate::detect::score::Score;
use crate::detect::window::QUIET;
use crate::ingest::wire;
use crate::judge::threshold::Judge;
use crate::metrics::Metrics;
use crate::train::recording::{CorpusError, open};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use surprisal_proto::recording::{Calls, Line, Name, ReadError, Reader};
use surprisal_proto::v1;

/// How often the registry is given the time, as in serving.
const TICK: Duration = Duration::from_millis(200);

/// What a recording holds of a workload, besides its windows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// Seconds from the first call to the last, summed over containers.
    pub container_seconds: f64,
    /// Windows that a gap cut.
    pub gapped: u64,
    /// The recording's label.
    pub label: Option<String>,
}

/// A recording that is being played.
pub struct Replay {
    reader: Reader<Box<dyn BufRead>>,
    path: PathBuf,
    allow_truncated: bool,
    registry: Registry,
    node: Arc<str>,
    /// Time of the first run, and the highest so far; nanoseconds since the Unix epoch.
    clock: Option<(i128, i128)>,
    /// The time that the registry was last given.
    given: Duration,
    /// What time has cut since the last step.
    cut: Vec<Job>,
    ended: bool,
    /// By container: its workload, its first and last call.
    spans: BTreeMap<String, (String, Option<(i128, i128)>)>,
}

impl Replay {
    /// Opens a recording. Windows of the workloads that are in `judges` will come out; their node is `node`, so that the
    /// recordings of one node can be told apart.
    pub fn open(path: &Path, node: &str, judges: HashMap<String, Judge>, allow_truncated: bool) -> Result<Self, CorpusError> {
        let input = open(path).map_err(|source| CorpusError::Open { path: path.to_owned(), source })?;
        let reader = Reader::new(input).map_err(|source| CorpusError::Read { path: path.to_owned(), source })?;
        let limits = Limits { waiting: usize::MAX, handed: usize::MAX, ..Limits::default() };
        let mut registry = Registry::new(limits, Metrics::default());
        registry.set_judges(judges);
        Ok(Self {
            reader,
            path: path.to_owned(),
            allow_truncated,
            registry,
            node: node.into(),
            clock: None,
            given: Duration::ZERO,
            cut: Vec::new(),
            ended: false,
            spans: BTreeMap::new(),
        })
    }

    /// Plays one line; adds the windows that it completes to `jobs`. False: that was all.
    pub fn step(&mut self, jobs: &mut Vec<Job>) -> Result<bool, CorpusError> {
        if self.ended {
            return Ok(false);
        }
        match self.reader.next() {
            Some(Ok(line)) => self.line(line),
            Some(Err(ReadError::Truncated { .. })) if self.allow_truncated => self.end(),
            Some(Err(source)) => return Err(CorpusError::Read { path: self.path.clone(), source }),
            None => self.end(),
        }
        jobs.append(&mut self.cut);
        jobs.extend(self.registry.hand_out(now(self.given)));
        Ok(true)
    }

    /// The registry as it is now, and its time.
    pub fn registry(&mut self) -> (&mut Registry, Now) {
        (&mut self.registry, now(self.given))
    }

    /// How strange what a window is about is; a name comes before its call's run.
    pub fn names_score(&self, job: &Job) -> Score {
        self.registry.names_score(job)
    }

    /// What was in it, by workload.
    pub fn finish(self) -> BTreeMap<String, About> {
        let mut about: BTreeMap<String, About> = BTreeMap::new();
        for (id, (workload, span)) in self.spans {
            let filter = v1::Filter { container_id: id.clone(), include_sandboxes: true, ..v1::Filter::default() };
            let known = self.registry.find(&filter, usize::MAX);
            let mine = known.iter().filter(|s| s.container.as_ref().is_some_and(|c| c.id == id));
            let about = about.entry(workload).or_default();
            about.gapped += mine.map(|s| s.windows_gapped).sum::<u64>();
            about.container_seconds += span.map_or(0.0, |(from, to)| (to - from) as f64 / 1e9);
            about.label.clone_from(&self.reader.header.label);
        }
        about
    }

    fn line(&mut self, line: Line) {
        let mut batch = v1::Batch::default();
        match line {
            Line::Container(c) => {
                // Its names may have come later, and corrected the first ones.
                self.spans.entry(c.id.clone()).or_insert_with(|| (String::new(), None)).0.clone_from(&c.names.workload);
                batch.births.push(v1::Birth { container: Some(c.into()) });
            }
            Line::Calls(calls) => {
                let at = calls.at.as_nanosecond();
                let (first, highest) = self.clock.unwrap_or((at, at));
                self.clock = Some((first, highest.max(at)));
                self.advance(Duration::from_nanos(u64::try_from(highest.max(at) - first).unwrap_or(0)));
                if let Some((_, span)) = self.spans.get_mut(&calls.container) {
                    let (from, to) = span.unwrap_or((at, at));
                    *span = Some((from.min(at), to.max(at)));
                }
                batch.calls.push(run(calls));
            }
            Line::Death(death) => {
                batch.deaths.push(v1::Death { container_id: death.container, ended_at: None });
            }
            Line::Name(name) => batch.names.push(told(name)),
            Line::Header(_) | Line::Account(_) | Line::End(_) => return,
        }
        self.registry.take(&self.node.clone(), wire::Batch::from(batch), now(self.given));
    }

    /// Gives the registry the time, tick by tick. In a longer silence nothing changes after [`QUIET`] and a tick: the rest is one
    /// step.
    fn advance(&mut self, to: Duration) {
        let quiet = self.given + QUIET + 2 * TICK;
        while self.given + TICK <= to {
            self.given = if self.given <= quiet { self.given + TICK } else { to };
            self.registry.tick(now(self.given));
            // At once: windows that wait grow late.
            self.cut.extend(self.registry.hand_out(now(self.given)));
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.advance(self.given + QUIET + 2 * TICK);
    }
}

fn now(mono: Duration) -> Now {
    Now { mono, wall: Timestamp::UNIX_EPOCH }
}

fn told(name: Name) -> v1::Name {
    v1::Name {
        container_id: name.container,
        tgid: name.pid,
        tid: name.tid,
        sequence: name.seq,
        token: name.call.0.into(),
        text: name.name,
        argv0: name.argv0,
        relative: name.relative,
        truncated: name.truncated,
        late: name.late,
    }
}

fn run(calls: Calls) -> v1::Calls {
    v1::Calls {
        container_id: calls.container,
        tgid: calls.pid,
        tid: calls.tid,
        process: calls.process,
        first_sequence: calls.seq,
        started_ns: u64::try_from(calls.at.as_nanosecond()).unwrap_or(0),
        tokens: calls.calls.iter().flat_map(|token| token.0.to_le_bytes()).collect(),
        gap: calls.gap,
        last: calls.last,
        by_exec: calls.by_exec,
    }
}

#[cfg(test)]
mod tests;
