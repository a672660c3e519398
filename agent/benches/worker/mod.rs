//! A process that calls `getppid()` or `openat()`, and what a call costs it in one state of the hook after another.
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
        Kernel, Options,
        seeding::{Member, Seeder},
    },
    decode,
};
use surprisal_agent_ebpf::abi::CHUNK_TOKENS;

/// Calls in one measurement.
pub(crate) const CALLS: u64 = 2_000_000;
/// Calls of `openat` in one measurement.
pub(crate) const OPENS: u64 = 500_000;
/// What is opened: it is not there, so that little but the call itself is measured.
const OPENED: &str = "/nowhere/a-name-of-an-ordinary-length";
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

/// What the worker calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Nothing but a call.
    Getppid,
    /// A call with a name, always the same one.
    Openat,
}

impl Call {
    fn times(self) -> u64 {
        match self {
            Self::Getppid => CALLS,
            Self::Openat => OPENS,
        }
    }
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

    /// Makes so many calls; CPU nanoseconds that one took.
    pub(crate) fn ask(&mut self, call: Call) -> Result<f64> {
        writeln!(self.to, "{call:?}")?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        line.trim().parse().context("the worker's answer")
    }

    /// The same with the agent's programs attached; `tracked`: they follow the worker as a container's member.
    pub(crate) fn ask_captured(&mut self, call: Call, options: &Options, tracked: bool) -> Result<f64> {
        let mut kernel = Kernel::load(options)?;
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
            let ns = self.ask(call);
            thread::sleep(Duration::from_millis(20));
            stop.store(true, Ordering::Relaxed);
            ns
        })?;
        let read = read.into_inner();
        if tracked {
            // All but what is left in the worker's own buffer.
            ensure!(read + CHUNK_TOKENS as u64 >= call.times(), "the worker was to be followed, but only {read} calls were read");
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
    call: Call,
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
            let before = worker.ask(call)?;
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

/// Answers each line, which says what to call, with the CPU nanoseconds that one call took.
fn work() -> Result<()> {
    // One processor of its own, as far as the machine has two.
    let mut cpus = CpuSet::new();
    cpus.set(thread::available_parallelism()?.get() - 1);
    sched_setaffinity(None::<Pid>, &cpus)?;
    for line in std::io::stdin().lines() {
        let call = if line? == format!("{:?}", Call::Openat) { Call::Openat } else { Call::Getppid };
        let make = |times: u64| match call {
            Call::Getppid => (0..times).for_each(|_| _ = black_box(rustix::process::getppid())),
            Call::Openat => (0..times).for_each(|_| {
                let (flags, mode) = (rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
                _ = black_box(rustix::fs::open(OPENED, flags, mode));
            }),
        };
        make(call.times() / 20);
        let before = clock_gettime(ClockId::ThreadCPUTime);
        make(call.times());
        let after = clock_gettime(ClockId::ThreadCPUTime);
        let ns = (after.tv_sec - before.tv_sec) * 1_000_000_000 + (after.tv_nsec - before.tv_nsec);
        println!("{}", ns as f64 / call.times() as f64);
    }
    Ok(())
}
