//! A process that calls `getppid()`, and what a call costs it in one state of the hook after another.
//!
//! In: states. Out: nanoseconds that each adds to a call. Never: compares figures of different runs: each state is
//! measured against "nothing attached" directly before it, the order is reversed every other round, and medians of
//! the differences are what is reported, because the machine may be shared.

use anyhow::{Context as _, Result, ensure};
use rustix::{
    thread::{CpuSet, Pid, sched_setaffinity},
    time::{ClockId, clock_gettime},
};
use std::{
    hint::black_box,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};
use surprisal_agent::{
    bpf::{
        Capture, Kernel, Options,
        seeding::{Member, Seeder},
    },
    decode,
};
use surprisal_agent_ebpf::abi::CHUNK_TOKENS;

/// Calls in one measurement.
pub(crate) const CALLS: u64 = 2_000_000;
/// The argument that makes a bench's own program the worker.
const WORKER: &str = "--worker";

/// The arguments of a bench; nothing when this process was started as the worker, and has done its work.
pub(crate) fn arguments() -> Result<Option<Vec<String>>> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if args.first().is_some_and(|a| a == WORKER) {
        work()?;
        return Ok(None);
    }
    Ok(Some(args))
}

/// What follows `flag`.
pub(crate) fn value<'a>(args: &'a [String], flag: &str) -> Option<&'a String> {
    args.iter().position(|a| a == flag).and_then(|i| args.get(i + 1))
}

/// The process; it ends with this value.
pub(crate) struct Worker {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts this program again as the worker.
    pub(crate) fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let child = command.arg(WORKER).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.context("starting the worker")?;
        let to = child.stdin.take().context("the worker's input")?;
        let from = BufReader::new(child.stdout.take().context("the worker's output")?);
        Ok(Self { child, to, from })
    }

    /// Makes [`CALLS`] calls; CPU nanoseconds that one took.
    pub(crate) fn ask(&mut self) -> Result<f64> {
        writeln!(self.to, "go")?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        line.trim().parse().context("the worker's answer")
    }

    /// The same with the agent's programs attached; `tracked`: they follow the worker as a container's member.
    pub(crate) fn ask_captured(&mut self, capture: Capture, tracked: bool) -> Result<f64> {
        let mut kernel = Kernel::load(&Options { capture, ..Options::default() })?;
        kernel.attach_lifecycle()?;
        if tracked {
            let member = Member { tgid: self.child.id(), key: 1 << 40, cgroup_id: 1 << 40, mnt_ns: u32::MAX, by_exec: false };
            let mut seeder = Seeder::new(&mut kernel)?;
            seeder.seed(&mut kernel, &[], &[member])?;
            seeder.finish();
        }
        kernel.attach_calls()?;
        let mut ring = kernel.take_ring()?;
        let (stop, read) = (AtomicBool::new(false), AtomicU64::new(0));
        let ns = thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    while let Some(record) = ring.next() {
                        if let Ok(decode::Event::Calls(calls)) = decode::decode(&record) {
                            read.fetch_add(calls.tokens.len() as u64, Ordering::Relaxed);
                        }
                    }
                    thread::sleep(Duration::from_millis(10));
                }
            });
            let ns = self.ask();
            thread::sleep(Duration::from_millis(20));
            stop.store(true, Ordering::Relaxed);
            ns
        })?;
        let read = read.into_inner();
        if tracked {
            // All but what is left in the worker's own buffer.
            ensure!(read + CHUNK_TOKENS as u64 >= CALLS, "the worker was to be followed, but only {read} calls were read");
        } else {
            ensure!(read == 0, "the worker was not to be followed, but {read} calls were read");
        }
        Ok(ns)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// (nanoseconds of a call with nothing attached, nanoseconds that each of `states` adds): medians of `rounds`.
pub(crate) fn paired<S: Copy>(
    rounds: usize,
    states: &[S],
    mut ask_in: impl FnMut(S, &mut Worker) -> Result<f64>,
) -> Result<(f64, Vec<f64>)> {
    let mut worker = Worker::start()?;
    let (mut baselines, mut added) = (Vec::new(), vec![Vec::new(); states.len()]);
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..states.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for i in order {
            let before = worker.ask()?;
            let with = ask_in(states[i], &mut worker)?;
            baselines.push(before);
            added[i].push(with - before);
        }
        eprint!("\rround {}/{rounds}", round + 1);
    }
    eprintln!();
    Ok((median(&mut baselines), added.iter_mut().map(|a| median(a)).collect()))
}

/// The middle one.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Answers each line with the CPU nanoseconds that one `getppid` took.
fn work() -> Result<()> {
    // One processor of its own, as far as the machine has two.
    let mut cpus = CpuSet::new();
    cpus.set(thread::available_parallelism()?.get() - 1);
    sched_setaffinity(None::<Pid>, &cpus)?;
    for line in std::io::stdin().lines() {
        line?;
        for _ in 0..CALLS / 20 {
            black_box(rustix::process::getppid());
        }
        let before = clock_gettime(ClockId::ThreadCPUTime);
        for _ in 0..CALLS {
            black_box(rustix::process::getppid());
        }
        let after = clock_gettime(ClockId::ThreadCPUTime);
        let ns = (after.tv_sec - before.tv_sec) * 1_000_000_000 + (after.tv_nsec - before.tv_nsec);
        println!("{}", ns as f64 / CALLS as f64);
    }
    Ok(())
}
