//! What capture costs: nanoseconds added to a call, and how fast records are decoded.
//!
//! `cargo xtask bench capture [--json FILE]` runs it. Needs root. Four states of the same hook are measured in turn in
//! one run, each against the state "nothing attached" directly before it; the order is reversed every other round, and
//! medians of the differences are reported, because the machine may be shared. The workload is a worker process that
//! calls `getppid()` and asks the kernel for its own CPU time; "tracked" follows it as a container's member, "untracked"
//! has the same programs attached and does not.

use anyhow::{Context as _, Result, ensure};
use rustix::{
    thread::{CpuSet, Pid, sched_setaffinity},
    time::{ClockId, clock_gettime},
};
use std::{
    hint::black_box,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};
use surprisal_agent::{
    bpf::{
        Capture, Kernel, Options,
        seeding::{Member, Seeder},
    },
    decode,
    sequence::Sequencer,
};
use surprisal_agent_ebpf::abi::{self, CHUNK_TOKENS};

const CALLS: u64 = 2_000_000;
const ROUNDS: usize = 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Empty,
    Untracked,
    Tracked,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if args.first().is_some_and(|a| a == "--worker") {
        return worker();
    }
    let value = |flag: &str| args.iter().position(|a| a == flag).and_then(|i| args.get(i + 1));
    let rounds = value("--rounds").map_or(Ok(ROUNDS), |r| r.parse()).context("--rounds wants a number")?;
    let capture = if args.iter().any(|a| a == "--hash") { Capture::Hash } else { Capture::TaskStorage };
    let (baseline, added) = hooks(rounds, capture)?;
    let decode = decode_speed();
    println!("getppid(), nanoseconds a call: {baseline:.1} with nothing attached; medians of {rounds} rounds of {CALLS} calls");
    println!("{:<12}{:>12}{:>12}", "state", "added ns", "x empty");
    for (state, ns) in &added {
        println!("{:<12}{ns:>12.1}{:>12.2}", format!("{state:?}").to_lowercase(), ns / added[0].1);
    }
    println!("decode and sequence: {:.0} million calls a second on one core", decode / 1e6);
    if let Some(file) = value("--json") {
        let json = serde_json::json!({
            "baseline_ns": baseline, "empty_ns": added[0].1, "untracked_ns": added[1].1, "tracked_ns": added[2].1,
            "rounds": rounds, "calls_per_round": CALLS, "capture": format!("{capture:?}"), "decode_calls_per_s": decode,
        });
        std::fs::write(file, format!("{json:#}\n")).with_context(|| format!("writing {file}"))?;
    }
    Ok(())
}

/// (baseline ns, [(state, added ns)]): medians.
fn hooks(rounds: usize, capture: Capture) -> Result<(f64, Vec<(State, f64)>)> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("--worker")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the worker")?;
    let result = measure(&mut child, rounds, capture);
    child.kill().ok();
    child.wait().ok();
    result
}

fn measure(child: &mut Child, rounds: usize, capture: Capture) -> Result<(f64, Vec<(State, f64)>)> {
    let mut to = child.stdin.take().context("the worker's input")?;
    let mut from = BufReader::new(child.stdout.take().context("the worker's output")?);
    let tgid = child.id();
    let mut ask = || -> Result<f64> {
        writeln!(to, "go")?;
        let mut line = String::new();
        from.read_line(&mut line)?;
        line.trim().parse().context("the worker's answer")
    };
    let states = [State::Empty, State::Untracked, State::Tracked];
    let (mut baselines, mut added) = (Vec::new(), vec![Vec::new(); states.len()]);
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..states.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for i in order {
            let before = ask()?;
            let with = in_state(states[i], tgid, capture, &mut ask)?;
            baselines.push(before);
            added[i].push(with - before);
        }
        eprint!("\rround {}/{rounds}", round + 1);
    }
    eprintln!();
    Ok((median(&mut baselines), states.into_iter().zip(added.iter_mut().map(|a| median(a))).collect()))
}

fn in_state(state: State, tgid: u32, capture: Capture, ask: &mut impl FnMut() -> Result<f64>) -> Result<f64> {
    let mut kernel = Kernel::load(&Options { capture, ..Options::default() })?;
    match state {
        State::Empty => {
            kernel.attach_empty()?;
            return ask();
        }
        State::Untracked | State::Tracked => {}
    }
    kernel.attach_lifecycle()?;
    if state == State::Tracked {
        let member = Member { tgid, key: 1 << 40, cgroup_id: 1 << 40, mnt_ns: u32::MAX };
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
        let ns = ask();
        thread::sleep(Duration::from_millis(20));
        stop.store(true, Ordering::Relaxed);
        ns
    })?;
    let read = read.into_inner();
    match state {
        // All but what is left in the worker's own buffer.
        State::Tracked => {
            ensure!(read + CHUNK_TOKENS as u64 >= CALLS, "the worker was to be followed, but only {read} calls were read");
        }
        _ => ensure!(read == 0, "the worker was not to be followed, but {read} calls were read"),
    }
    Ok(ns)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Answers each line with the CPU nanoseconds that one `getppid` took.
fn worker() -> Result<()> {
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

/// Calls a second through decoding and sequencing, one core.
fn decode_speed() -> f64 {
    let mut record = vec![0u8; abi::CHUNK_HEADER + 2 * CHUNK_TOKENS];
    record[..2].copy_from_slice(&abi::KIND_CHUNK.to_ne_bytes());
    record[4..8].copy_from_slice(&(CHUNK_TOKENS as u32).to_ne_bytes());
    let seq_at = std::mem::offset_of!(abi::Chunk, first_seq);
    let mut speeds = Vec::new();
    for _ in 0..7 {
        let mut sequencer = Sequencer::default();
        let (started, chunks) = (Instant::now(), 40_000u64);
        for n in 0..chunks {
            record[seq_at..seq_at + 8].copy_from_slice(&(n * CHUNK_TOKENS as u64).to_ne_bytes());
            if let Ok(decode::Event::Calls(mut calls)) = decode::decode(black_box(&record)) {
                black_box(sequencer.accept(&mut calls, n));
            }
        }
        speeds.push((chunks * CHUNK_TOKENS as u64) as f64 / started.elapsed().as_secs_f64());
    }
    median(&mut speeds)
}
