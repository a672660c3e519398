//! What an agent sends, made beforehand.
//!
//! In: a recording's threads, a [`Plan`]. Out: packed batches with their times. Never: a clock: times in them are from a fixed day.

use super::plan::{BUSY, BUSY_OF, PERIOD, Plan};
use anyhow::{Context as _, Result, ensure};
use std::{collections::BTreeMap, fs::File, io::BufReader, path::Path, time::Duration};
use surprisal_proto::{
    packed::Packer,
    recording::{Line, Reader},
    token::Token,
    v1,
};

/// Calls in one of the kernel's buffers.
const BUFFER: usize = 256;
/// Number of the first process and thread.
const FIRST_TID: u32 = 1_000;

/// A batch, and when it is sent.
#[derive(Clone, Debug)]
pub struct Send {
    /// At which of the step's flushes.
    pub at: usize,
    /// Calls in it.
    pub calls: u64,
    /// A block of the connection's stream.
    pub packed: Vec<u8>,
}

/// All that one agent sends.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// First, a batch that announces all containers.
    pub births: Vec<u8>,
    /// Then, the batches of each step.
    pub steps: Vec<Vec<Send>>,
}

/// What was recorded: of one workload, its threads' calls without holes, longest first.
#[derive(Debug)]
pub struct Recorded {
    /// The workload.
    pub workload: String,
    /// Process name and calls.
    pub threads: Vec<(String, Vec<Token>)>,
}

impl Recorded {
    /// Reads a recording; of a thread with a hole, what comes before it.
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let reader = Reader::new(BufReader::new(file)).with_context(|| format!("reading {}", path.display()))?;
        let mut workload = String::new();
        let mut threads: BTreeMap<(String, u32, u32), (String, Vec<Token>)> = BTreeMap::new();
        for line in reader {
            match line.with_context(|| format!("reading {}", path.display()))? {
                Line::Container(container) if workload.is_empty() => workload = container.names.workload,
                Line::Calls(calls) => {
                    let thread = threads.entry((calls.container, calls.pid, calls.tid)).or_default();
                    if calls.gap == 0 && calls.seq == thread.1.len() as u64 {
                        thread.0 = calls.process;
                        thread.1.extend(calls.calls);
                    }
                }
                _ => {}
            }
        }
        let mut threads: Vec<_> = threads.into_values().filter(|(_, calls)| !calls.is_empty()).collect();
        threads.sort_by_key(|(_, calls)| std::cmp::Reverse(calls.len()));
        ensure!(!workload.is_empty() && !threads.is_empty(), "{}: no calls of a named container", path.display());
        Ok(Self { workload, threads })
    }
}

/// A container on its way through the recording.
struct Walk {
    id: String,
    thread: usize,
    at: usize,
    tid: u32,
    weight: f64,
    /// Calls that are due and not a whole one yet.
    due: f64,
}

/// Makes one variant, of `of`.
pub fn script(recorded: &Recorded, plan: &Plan, variant: usize, of: usize) -> Result<Script> {
    let mut packer = Packer::new();
    let mut sequence = 0;
    let mut pack = |batch: v1::Batch| {
        sequence += 1;
        packer.pack(&v1::Batch { sequence, ..batch })
    };
    let busy = plan.containers.div_ceil(BUSY_OF);
    let mean = (plan.containers + busy * (BUSY - 1)) as f64 / plan.containers as f64;
    let all: usize = recorded.threads.iter().map(|(_, calls)| calls.len()).sum();
    let mut walks: Vec<_> = (0..plan.containers)
        .map(|n| {
            // Places of their own, spread over all that was recorded.
            let mut at = all * (n * of + variant) / (plan.containers * of);
            let mut thread = 0;
            while at >= recorded.threads[thread].1.len() {
                at -= recorded.threads[thread].1.len();
                thread += 1;
            }
            let weight = if n < busy { BUSY as f64 } else { 1.0 } / mean;
            Walk { id: format!("{n:064x}"), thread, at, tid: FIRST_TID + n as u32 * 1_000, weight, due: 0.0 }
        })
        .collect();
    let births = walks.iter().enumerate().map(|(n, walk)| v1::Birth {
        container: Some(v1::Container {
            id: walk.id.clone(),
            namespace: "fleet".into(),
            pod: format!("pod-{n}"),
            name: if n < busy { "busy" } else { "quiet" }.into(),
            workload: recorded.workload.clone(),
            kind: v1::container::Kind::Container as i32,
            ..v1::Container::default()
        }),
    });
    let births = pack(v1::Batch { births: births.collect(), ..v1::Batch::default() })?;
    let flushes = (plan.step.as_secs_f64() / plan.flush.as_secs_f64()).floor().max(1.0) as usize;
    let every = (PERIOD.as_secs_f64() / plan.flush.as_secs_f64()).round().max(1.0) as usize;
    let mut steps = Vec::new();
    let mut time = Duration::from_hours(500_000);
    for step in &plan.steps {
        let mut sends = Vec::new();
        for at in 0..flushes {
            let mut batch = v1::Batch::default();
            let mut calls = 0;
            for (n, walk) in walks.iter_mut().enumerate() {
                if (at + n * every / plan.containers + variant).is_multiple_of(every) {
                    walk.due += plan.rate * f64::from(*step) * walk.weight * plan.flush.as_secs_f64() * every as f64;
                    calls += walk.take(recorded, time, &mut batch.calls);
                }
            }
            time += plan.flush;
            if calls > 0 {
                sends.push(Send { at, calls, packed: pack(batch)? });
            }
        }
        steps.push(sends);
    }
    Ok(Script { births, steps })
}

impl Walk {
    /// The calls that are due, in runs; a thread that comes to its recorded end ends, and the next one begins.
    fn take(&mut self, recorded: &Recorded, time: Duration, out: &mut Vec<v1::Calls>) -> u64 {
        let mut left = self.due as usize;
        self.due -= left as f64;
        let calls = left as u64;
        while left > 0 {
            let (process, tokens) = &recorded.threads[self.thread];
            let n = left.min(BUFFER).min(tokens.len() - self.at);
            let last = self.at + n == tokens.len();
            out.push(v1::Calls {
                container_id: self.id.clone(),
                tgid: FIRST_TID,
                tid: self.tid,
                process: process.clone(),
                first_sequence: self.at as u64,
                started_ns: time.as_nanos() as u64,
                tokens: tokens[self.at..self.at + n].iter().flat_map(|t| t.0.to_le_bytes()).collect(),
                gap: 0,
                last,
                by_exec: false,
            });
            left -= n;
            self.at += n;
            if last {
                (self.thread, self.at, self.tid) = ((self.thread + 1) % recorded.threads.len(), 0, self.tid + 1);
            }
        }
        calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use surprisal_proto::packed::Unpacker;

    #[test]
    fn a_script_is_what_was_recorded_at_the_rate_that_was_asked_for() {
        let thread = |n: u16, len: usize| (format!("p{n}"), (0..len).map(|i| Token(n * 100 + (i % 50) as u16)).collect());
        let recorded = Recorded { workload: "a/b/c".into(), threads: vec![thread(1, 5_000), thread(2, 700)] };
        let plan = Plan {
            agents: 1,
            containers: 30,
            rate: 20.0,
            steps: vec![1, 2],
            step: Duration::from_secs(8),
            flush: Duration::from_millis(200),
        };
        for variant in 0..3 {
            let script = script(&recorded, &plan, variant, 3).expect("a script");
            let mut unpacker = Unpacker::new(1 << 20);
            assert_eq!(unpacker.unpack(&script.births).expect("a batch").births.len(), 30);
            let mut next: HashMap<(String, u32), u64> = HashMap::new();
            let mut of_busy = 0;
            for (step, sends) in script.steps.iter().enumerate() {
                let mut total = 0;
                for send in sends {
                    let batch = unpacker.unpack(&send.packed).expect("a batch");
                    assert_eq!(batch.calls.iter().map(|c| c.tokens.len() as u64 / 2).sum::<u64>(), send.calls);
                    total += send.calls;
                    for run in batch.calls {
                        let n = run.tokens.len() as u64 / 2;
                        let thread = next.entry((run.container_id.clone(), run.tid)).or_insert(run.first_sequence);
                        assert_eq!(*thread, run.first_sequence, "no holes");
                        *thread += n;
                        of_busy += if run.container_id.ends_with("00") { n } else { 0 };
                        let (_, tokens) = &recorded.threads[usize::from(run.process != "p1")];
                        let first = tokens[run.first_sequence as usize].0.to_le_bytes();
                        assert_eq!(run.tokens[..2], first);
                    }
                }
                let asked = 30.0 * 20.0 * 8.0 * f64::from(plan.steps[step]);
                assert!((total as f64 - asked).abs() < 60.0, "step {step}: {total} calls, {asked} asked for");
            }
            assert!((of_busy as f64 / (30.0 * 20.0 * 24.0) - 10.0 / 39.0).abs() < 0.02, "{of_busy}");
        }
    }
}
