//! What capture costs: nanoseconds added to a call, to one with a name too, and how fast records are decoded.
//!
//! `cargo xtask bench capture [--json FILE]` runs it. Needs root. The workload is [`worker`]'s: "tracked" follows it as a
//! container's member, "untracked" has the same programs attached and does not. `hooks.rs` has more states of the hook.

mod worker;

use anyhow::{Context as _, Result};
use std::{hint::black_box, time::Instant};
use surprisal_agent::{
    bpf::{Capture, Kernel, Options},
    decode,
    sequence::Sequencer,
};
use surprisal_agent_ebpf::abi::{self, CHUNK_TOKENS};
use worker::{CALLS, Call, OPENS, median, paired, value};

const ROUNDS: usize = 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Empty,
    Untracked,
    Tracked,
}

const STATES: [State; 3] = [State::Empty, State::Untracked, State::Tracked];

/// For a call with a name: an empty program, followed without names, and with them.
const OPEN_STATES: [(State, bool); 3] = [(State::Empty, false), (State::Tracked, false), (State::Tracked, true)];

fn main() -> Result<()> {
    let Some(args) = worker::arguments()? else { return Ok(()) };
    let rounds = value(&args, "--rounds").map_or(Ok(ROUNDS), |r| r.parse()).context("--rounds wants a number")?;
    let capture = if args.iter().any(|a| a == "--hash") { Capture::Hash } else { Capture::TaskStorage };
    let options = |names: bool| Options { capture, names, ..Options::default() };
    let ask = |call: Call, state: State, names: bool, worker: &mut worker::Worker| match state {
        State::Empty => {
            let mut kernel = Kernel::load(&options(names))?;
            kernel.attach_empty()?;
            worker.ask(call)
        }
        State::Untracked | State::Tracked => worker.ask_captured(call, &options(names), state == State::Tracked),
    };
    let (baseline, added) = paired(Call::Getppid, rounds, &STATES, |state, worker| ask(Call::Getppid, state, true, worker))?;
    let (openat, opens) =
        paired(Call::Openat, rounds, &OPEN_STATES, |(state, names), worker| ask(Call::Openat, state, names, worker))?;
    let decode = decode_speed();
    println!("getppid(), nanoseconds a call: {baseline:.1} with nothing attached; medians of {rounds} rounds of {CALLS} calls");
    println!("{:<12}{:>12}{:>12}", "state", "added ns", "x empty");
    for (state, ns) in STATES.iter().zip(&added) {
        println!("{:<12}{ns:>12.1}{:>12.2}", format!("{state:?}").to_lowercase(), ns / added[0]);
    }
    println!("openat() of a name that is known, {openat:.0} ns with nothing attached; {OPENS} calls a round");
    for (state, ns) in ["empty", "unnamed", "named"].iter().zip(&opens) {
        println!("{state:<12}{ns:>12.1}{:>12.2}", ns / opens[0]);
    }
    println!("decode and sequence: {:.0} million calls a second on one core", decode / 1e6);
    if let Some(file) = value(&args, "--json") {
        let json = serde_json::json!({
            "baseline_ns": baseline, "empty_ns": added[0], "untracked_ns": added[1], "tracked_ns": added[2],
            "openat_baseline_ns": openat, "openat_empty_ns": opens[0], "openat_unnamed_ns": opens[1], "openat_named_ns": opens[2],
            "rounds": rounds, "calls_per_round": CALLS, "capture": format!("{capture:?}"), "decode_calls_per_s": decode,
        });
        std::fs::write(file, format!("{json:#}\n")).with_context(|| format!("writing {file}"))?;
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
