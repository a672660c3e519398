//! What capture costs: nanoseconds added to a call, and how fast records are decoded.
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
use worker::{CALLS, median, paired, value};

const ROUNDS: usize = 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Empty,
    Untracked,
    Tracked,
}

const STATES: [State; 3] = [State::Empty, State::Untracked, State::Tracked];

fn main() -> Result<()> {
    let Some(args) = worker::arguments()? else { return Ok(()) };
    let rounds = value(&args, "--rounds").map_or(Ok(ROUNDS), |r| r.parse()).context("--rounds wants a number")?;
    let capture = if args.iter().any(|a| a == "--hash") { Capture::Hash } else { Capture::TaskStorage };
    let (baseline, added) = paired(rounds, &STATES, |state, worker| match state {
        State::Empty => {
            let mut kernel = Kernel::load(&Options { capture, ..Options::default() })?;
            kernel.attach_empty()?;
            worker.ask()
        }
        State::Untracked | State::Tracked => worker.ask_captured(capture, state == State::Tracked),
    })?;
    let decode = decode_speed();
    println!("getppid(), nanoseconds a call: {baseline:.1} with nothing attached; medians of {rounds} rounds of {CALLS} calls");
    println!("{:<12}{:>12}{:>12}", "state", "added ns", "x empty");
    for (state, ns) in STATES.iter().zip(&added) {
        println!("{:<12}{ns:>12.1}{:>12.2}", format!("{state:?}").to_lowercase(), ns / added[0]);
    }
    println!("decode and sequence: {:.0} million calls a second on one core", decode / 1e6);
    if let Some(file) = value(&args, "--json") {
        let json = serde_json::json!({
            "baseline_ns": baseline, "empty_ns": added[0], "untracked_ns": added[1], "tracked_ns": added[2],
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
