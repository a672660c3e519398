//! `xtask experiment attacks`: is each attack of the suite seen, how soon, by what, and how often is there an alarm without one?
//!
//! In: which scenarios, how long is learned and watched. Out: a table on stdout, progress on stderr and, with `--json`,
//! the same figures in a file. Never: chooses anything by what an attack looks like; passes or fails by a figure.
//!
//! All servers run at once under their own load, on one containerd, agent and scorer. Each is learned for `--learn` seconds,
//! then left alone for `--normal` seconds, then attacked; while one calms down, another is attacked.

mod rate;

use crate::{experiment::line, interrupt::Interrupt, shell::Exit};
use anyhow::{Context as _, Result};
use rate::Rate;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use surprisal_e2e::{
    Containerd,
    attacks::{Measured, Range, SCENARIOS, SERVERS, Scenario, range, range::Normal, target},
};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the figures there too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only these scenarios, by name or as server/name
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these servers
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(SERVERS))]
    server: Vec<String>,
    /// Keep the recordings, with the times of the attacks, in this directory, for `surprisal-scorer evaluate`
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Seconds of each server's own load to learn from
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(10..=3600))]
    learn: u32,
    /// Seconds that all are left alone before the first attack
    #[arg(long, value_name = "SECONDS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(0..=86400))]
    normal: u32,
    /// List the scenarios and do nothing
    #[arg(long)]
    list: bool,
    /// Use agent and scorer as they were built, without setting up or building
    #[arg(long)]
    no_build: bool,
}

/// Exit code: bad command line.
const USAGE: u8 = 2;

pub(crate) fn run(args: &Args) -> Result<()> {
    let scenarios = choose(args).map_err(|why| Exit::new(USAGE, why))?;
    if args.list {
        for s in &scenarios {
            println!("{:<24} {:<10} {}: {}", full_name(s), s.technique, s.entry, s.what);
        }
        return Ok(());
    }
    let interrupt = line::prepare(args.no_build)?;
    let begin = Instant::now();
    let (measured, normal) = experiment(args, &scenarios, &interrupt)?;
    let rate = Rate::of(&normal);
    print(&measured, &normal, &rate);
    eprintln!("{:.0} s in all", begin.elapsed().as_secs_f64());
    if let Some(path) = &args.json {
        let figures = figures(args, &measured, &normal, &rate);
        fs::write(path, format!("{figures:#}\n")).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn full_name(scenario: &Scenario) -> String {
    format!("{}/{}", scenario.server, scenario.name)
}

/// The scenarios that were asked for, in turns of servers: what one server needs to calm down, others are attacked in.
fn choose(args: &Args) -> Result<Vec<&'static Scenario>, String> {
    let named = |s: &Scenario, name: &str| s.name == name || full_name(s) == name;
    for name in &args.only {
        if !SCENARIOS.iter().any(|s| named(s, name)) {
            return Err(format!("there is no scenario {name:?}; --list shows all"));
        }
    }
    let mut by_server: BTreeMap<&str, Vec<&Scenario>> = BTreeMap::new();
    for scenario in SCENARIOS.iter() {
        let wanted = args.only.is_empty() || args.only.iter().any(|name| named(scenario, name));
        if wanted && (args.server.is_empty() || args.server.iter().any(|s| s == scenario.server)) {
            by_server.entry(scenario.server).or_default().push(scenario);
        }
    }
    let rounds = by_server.values().map(Vec::len).max().unwrap_or(0);
    let chosen: Vec<_> = (0..rounds).flat_map(|i| by_server.values().filter_map(move |s| s.get(i).copied())).collect();
    if chosen.is_empty() {
        return Err("no scenario is left: --only and --server exclude each other".to_owned());
    }
    Ok(chosen)
}

fn experiment(args: &Args, scenarios: &[&'static Scenario], interrupt: &Interrupt) -> Result<(Vec<Measured>, Vec<Normal>)> {
    let names: Vec<_> = SERVERS.into_iter().filter(|name| scenarios.iter().any(|s| s.server == *name)).collect();
    let begin = Instant::now();
    let say = |text: &str| eprintln!("{:>5.0} s  {text}", begin.elapsed().as_secs_f64());
    let containerd = Containerd::start()?;
    say(&format!("starting {} and their clients", names.join(", ")));
    let targets = target::start(&containerd, &names)?;
    let scratch = containerd.scratch().path();
    let ((recording, live), held_out) = (range::recordings(scratch), scratch.join("held-out.jsonl"));
    say(&format!("recording their normal load for {} s", args.learn));
    interrupt.check()?;
    let learn = Duration::from_secs(args.learn.into());
    range::record(&containerd, &targets, learn, &recording)?;
    say("training");
    let profiles = scratch.join("profiles");
    thread::scope(|scope| {
        // What is kept to be scored again needs normal load of its own; nothing here looks at it.
        let held_out = args.keep.as_ref().map(|_| scope.spawn(|| range::record(&containerd, &targets, learn, &held_out)));
        range::train(&profiles, &recording)?;
        held_out.map_or(Ok(()), |recorder| recorder.join().expect("it does not panic"))
    })?;
    interrupt.check()?;
    let mut range = Range::start(&containerd, &targets, &profiles, &live)?;
    say(&format!("watching them for {} s", args.normal));
    for _ in 0..args.normal {
        range.rest(Duration::from_secs(1))?;
        interrupt.check()?;
    }
    for n in range.normal(&targets) {
        say(&format!(
            "{}: {} alarms in {:.0} s; highest {:.2} of {:.2} nats ({})",
            n.server,
            n.alarms,
            n.time.as_secs_f64(),
            n.highest,
            n.threshold,
            n.highest_call
        ));
    }
    let mut measured = Vec::new();
    for scenario in scenarios {
        let target = targets.iter().find(|t| t.name == scenario.server).context("a server for each scenario")?;
        let m = range.attack(scenario, target, scratch)?;
        interrupt.check()?;
        say(&format!("{}: {}", full_name(scenario), outcome(&m)));
        if !m.why_not.is_empty() {
            say(&m.why_not);
        }
        measured.push(m);
    }
    // As they are listed, not as they were run.
    measured.sort_by_key(|m| SCENARIOS.iter().position(|s| full_name(s) == full_name(m.scenario)));
    let normal = range.normal(&targets);
    range.end()?;
    if let Some(dir) = &args.keep {
        keep(dir, [&recording, &held_out, &live], &measured, &targets)?;
    }
    Ok((measured, normal))
}

/// As `surprisal-scorer evaluate` takes a data set of recordings; one workload of it at a time.
fn keep(dir: &Path, files: [&Path; 3], measured: &[Measured], targets: &[target::Target]) -> Result<()> {
    for (file, set) in files.into_iter().zip(["normal-train", "normal-test", "attack"]) {
        let to = dir.join(set).join("servers.jsonl");
        fs::create_dir_all(dir.join(set)).with_context(|| format!("creating {}", dir.join(set).display()))?;
        fs::copy(file, &to).with_context(|| format!("copying to {}", to.display()))?;
    }
    let container = |name: &str| targets.iter().find(|t| t.name == name).map(|t| t.server.id().to_owned());
    let time = |at| prost_types::Timestamp::from(at).to_string();
    let attacks: Vec<_> = measured
        .iter()
        .filter(|m| m.succeeded)
        .map(|m| {
            let (name, server) = (full_name(m.scenario), m.scenario.server);
            json!({ "family": name, "from": time(m.span.0), "to": time(m.span.1), "container": container(server) })
        })
        .collect();
    let path = dir.join("attack/servers.attacks.json");
    fs::write(&path, format!("{:#}\n", json!({ "attacks": attacks }))).with_context(|| format!("writing {}", path.display()))
}

fn outcome(m: &Measured) -> String {
    let verdict = match m.verdict_after {
        Some(after) => format!("verdict after {:.1} s", after.as_secs_f64()),
        None if m.why_not.is_empty() => "MISSED".to_owned(),
        None => "failed".to_owned(),
    };
    format!("{verdict}; {:.2} of {:.2} nats, {}: {}", m.score, m.threshold, m.top_process, m.top_call)
}

fn print(measured: &[Measured], normal: &[Normal], rate: &Rate) {
    println!("| server | attack | ATT&CK | way in | detected | s to verdict | score / threshold | most surprising call |");
    println!("|---|---|---|---|---|--:|--:|---|");
    for m in measured {
        let s = m.scenario;
        let detected = match (m.verdict_after, m.succeeded) {
            (Some(_), true) => "yes",
            (None, true) => "**no**",
            (Some(_), false) => "yes, but it did not succeed",
            (None, false) => "failed",
        };
        let after = m.verdict_after.map_or("-".to_owned(), |d| format!("{:.1}", d.as_secs_f64()));
        println!(
            "| {} | {} | {} | {} | {detected} | {after} | {:.2} / {:.2} | {}: {} |",
            s.server, s.name, s.technique, s.entry, m.score, m.threshold, m.top_process, m.top_call
        );
    }
    println!();
    println!("| server | normal time, s | alarms in it | highest score / threshold | of |");
    println!("|---|--:|--:|--:|---|");
    for n in normal {
        let seconds = n.time.as_secs_f64();
        println!("| {} | {seconds:.0} | {} | {:.2} / {:.2} | {} |", n.server, n.alarms, n.highest, n.threshold, n.highest_call);
    }
    println!();
    let (detected, ran) = tally(measured);
    println!("{detected} of {ran} attacks that succeeded were detected, {} did not succeed.", measured.len() - ran);
    println!("{}", rate.words());
}

/// Detected, and run with success.
fn tally(measured: &[Measured]) -> (usize, usize) {
    let ran = measured.iter().filter(|m| m.succeeded);
    (ran.clone().filter(|m| m.verdict_after.is_some()).count(), ran.count())
}

fn figures(args: &Args, measured: &[Measured], normal: &[Normal], rate: &Rate) -> Value {
    let scenario = |m: &Measured| {
        let s = m.scenario;
        json!({
            "name": s.name, "server": s.server, "technique": s.technique, "entry": s.entry, "what": s.what,
            "detected": m.verdict_after.is_some(), "succeeded": m.succeeded, "why_not": m.why_not,
            "seconds_to_verdict": m.verdict_after.map(|d| d.as_secs_f64()), "seconds": m.took.as_secs_f64(),
            "top_call": m.top_call, "top_process": m.top_process, "score": m.score, "threshold": m.threshold,
        })
    };
    let server = |n: &Normal| {
        json!({
            "server": n.server, "seconds": n.time.as_secs_f64(), "alarms": n.alarms,
            "highest_score": n.highest, "highest_call": n.highest_call, "threshold": n.threshold,
        })
    };
    let (detected, ran) = tally(measured);
    json!({
        "scenarios": measured.iter().map(scenario).collect::<Vec<_>>(),
        "scenarios_detected": detected, "scenarios_succeeded": ran,
        "false_alarms": rate.alarms,
        "false_alarms_per_container_day": rate.per_day(),
        "false_alarms_per_container_day_upper_95": rate.upper(),
        "false_alarms_per_container_day_by_tail": rate.by_tail,
        "false_alarms_extrapolated": rate.words(),
        "normal_container_hours": rate.hours,
        "normal": normal.iter().map(server).collect::<Vec<_>>(),
        "learned_seconds": args.learn,
    })
}
