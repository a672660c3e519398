//! What each kind of hook costs: nanoseconds that an empty program adds to a call, and what capture adds on top.
//!
//! `cargo xtask bench hooks [--json FILE]` runs it. Needs root. It says why the agent has the hook that it has: the
//! empty programs are agent-ebpf/src/bench.rs, which the agent does not contain; the captures are the agent's own, by
//! task storage and by hash map, with the worker followed and not.

mod worker;

use anyhow::{Context as _, Result};
use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, RawTracePoint, TracePoint},
};
use std::{env, fs, path::PathBuf};
use surprisal_agent::bpf::{Capture, Options};
use worker::{CALLS, Call, Worker, paired, value};

const ROUNDS: usize = 11;

/// What is on the hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Programs of bench.rs.
    Empty(&'static [&'static str]),
    /// The agent's; `true`: they follow the worker.
    Capture(Capture, bool),
}

/// Names as in the table and in the JSON.
const STATES: [(&str, State); 9] = [
    ("btf_enter", State::Empty(&["btf_enter"])),
    ("btf_enter_exit", State::Empty(&["btf_enter", "btf_exit"])),
    ("raw_enter", State::Empty(&["raw_enter"])),
    ("raw_enter_exit", State::Empty(&["raw_enter", "raw_exit"])),
    ("classic_enter", State::Empty(&["classic_enter"])),
    ("task_storage_untracked", State::Capture(Capture::TaskStorage, false)),
    ("task_storage_tracked", State::Capture(Capture::TaskStorage, true)),
    ("hash_untracked", State::Capture(Capture::Hash, false)),
    ("hash_tracked", State::Capture(Capture::Hash, true)),
];

fn main() -> Result<()> {
    let Some(args) = worker::arguments()? else { return Ok(()) };
    let rounds = value(&args, "--rounds").map_or(Ok(ROUNDS), |r| r.parse()).context("--rounds wants a number")?;
    let object = object()?;
    let states = STATES.map(|(_, state)| state);
    let (baseline, added) = paired(Call::Getppid, rounds, &states, |state, worker| match state {
        State::Empty(programs) => ask_with(&object, programs, worker),
        State::Capture(capture, tracked) => {
            worker.ask_captured(Call::Getppid, &Options { capture, ..Options::default() }, tracked)
        }
    })?;
    println!("getppid(), nanoseconds a call: {baseline:.1} with nothing attached; medians of {rounds} rounds of {CALLS} calls\n");
    println!("| on the hook | added ns | to the empty program of the agent's hook |\n|---|--:|--:|");
    for ((name, _), ns) in STATES.iter().zip(&added) {
        println!("| {} | {ns:.1} | {:.2} |", name.replace('_', " "), ns / added[0]);
    }
    if let Some(file) = value(&args, "--json") {
        let states: serde_json::Map<_, _> =
            STATES.iter().zip(&added).map(|((name, _), ns)| ((*name).to_owned(), serde_json::json!(ns))).collect();
        let json = serde_json::json!({ "baseline_ns": baseline, "added_ns": states, "rounds": rounds, "calls_per_round": CALLS });
        fs::write(file, format!("{json:#}\n")).with_context(|| format!("writing {file}"))?;
    }
    Ok(())
}

/// The empty programs, as `cargo xtask build-ebpf` made them.
fn object() -> Result<Vec<u8>> {
    let folder = env::var_os("SURPRISAL_BPF_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/bpf"), PathBuf::from);
    let path = folder.join("surprisal-bench.bpf.o");
    fs::read(&path).with_context(|| format!("reading {}; `cargo xtask build-ebpf` makes it", path.display()))
}

fn ask_with(object: &[u8], programs: &[&str], worker: &mut Worker) -> Result<f64> {
    let mut ebpf = Ebpf::load(object).context("loading the empty programs")?;
    let btf = Btf::from_sys_fs()?;
    for name in programs {
        let program = ebpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?;
        let (kind, place) = name.split_once('_').context("KIND_PLACE")?;
        let tracepoint = format!("sys_{place}");
        match kind {
            "btf" => {
                let program: &mut BtfTracePoint = program.try_into()?;
                program.load(&tracepoint, &btf)?;
                program.attach()?;
            }
            "raw" => {
                let program: &mut RawTracePoint = program.try_into()?;
                program.load()?;
                program.attach(&tracepoint)?;
            }
            _ => {
                let program: &mut TracePoint = program.try_into()?;
                program.load()?;
                program.attach("raw_syscalls", &tracepoint)?;
            }
        }
    }
    worker.ask(Call::Getppid)
}
