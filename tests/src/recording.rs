//! What the agent wrote, as tests ask for it.
//!
//! In: a recording, whole or still being written. Out: each container's calls by thread, and its balance. Never:
//! mends: a hole in a thread's numbers that no `gap` explains is an error.

use anyhow::{Context as _, Result, bail};
use std::{collections::BTreeMap, fs::File, io::BufReader, path::Path};
use surprisal_proto::recording::{Account, Calls, Container, Line, Name, Reader};

/// A recording.
#[derive(Debug, Default)]
pub struct Recording {
    /// Containers by id.
    pub containers: BTreeMap<String, Container>,
    /// Names of calls, in the file's order.
    pub names: Vec<Name>,
    /// All runs of calls, in the file's order.
    pub calls: Vec<Calls>,
    /// Latest balance of each container.
    pub accounts: BTreeMap<String, Account>,
    /// Ids of containers that ended.
    pub deaths: Vec<String>,
}

/// A thread's calls.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// Process name, of its last run.
    pub process: String,
    /// Numbers of the calls, in order.
    pub calls: Vec<u16>,
    /// Calls known lost between them.
    pub lost: u64,
    /// Its end was seen.
    pub ended: bool,
}

impl Recording {
    /// Reads a whole recording.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_lines(path, false)
    }

    /// Reads what is there of a recording that is still being written.
    pub fn read_so_far(path: &Path) -> Result<Self> {
        Self::read_lines(path, true)
    }

    fn read_lines(path: &Path, unfinished: bool) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let reader = Reader::new(BufReader::new(file)).with_context(|| format!("reading {}", path.display()))?;
        let mut recording = Self::default();
        for line in reader {
            match line {
                Ok(line) => recording.add(line),
                // The last line of such a file may be half a line.
                Err(_) if unfinished => break,
                Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
            }
        }
        Ok(recording)
    }

    fn add(&mut self, line: Line) {
        match line {
            Line::Container(container) => drop(self.containers.insert(container.id.clone(), container)),
            Line::Name(name) => self.names.push(name),
            Line::Calls(calls) => self.calls.push(calls),
            Line::Account(account) => drop(self.accounts.insert(account.container.clone(), account)),
            Line::Death(death) => self.deaths.push(death.container),
            Line::Header(_) | Line::End(_) => {}
        }
    }

    /// How often container `id` made call `nr`.
    pub fn count(&self, id: &str, nr: u16) -> u64 {
        let of_container = self.calls.iter().filter(|c| c.container == id);
        of_container.flat_map(|c| &c.calls).filter(|token| token.nr() == nr).count() as u64
    }

    /// Calls of container `id` that arrived.
    pub fn delivered(&self, id: &str) -> u64 {
        self.calls.iter().filter(|c| c.container == id).map(|c| c.calls.len() as u64).sum()
    }

    /// The threads of container `id`, by process and thread id; one that got an ended one's ids goes on where that ended. An error when a thread's numbers have a hole that no
    /// gap explains, or come twice.
    pub fn threads(&self, id: &str) -> Result<BTreeMap<(u32, u32), Thread>> {
        let mut threads: BTreeMap<(u32, u32), (Thread, u64)> = BTreeMap::new();
        for run in self.calls.iter().filter(|c| c.container == id) {
            let (thread, next) = threads.entry((run.pid, run.tid)).or_default();
            // Where many processes come and go, the kernel gives an ended thread's ids again: its successor counts from 0.
            if thread.ended && run.seq == run.gap {
                (*next, thread.ended) = (0, false);
            }
            if run.seq != *next + run.gap {
                let (tid, expected) = (run.tid, *next);
                bail!("container {id}, thread {tid}: run at {} with gap {}, expected at {expected}", run.seq, run.gap);
            }
            *next = run.seq + run.calls.len() as u64;
            thread.process.clone_from(&run.process);
            thread.calls.extend(run.calls.iter().map(|token| token.nr()));
            thread.lost += run.gap;
            thread.ended |= run.last;
        }
        Ok(threads.into_iter().map(|(key, (thread, _))| (key, thread)).collect())
    }
}
