//! `xtask experiment quiet`: how often is there an alarm on servers that nobody attacks?
//!
//! In: how many containers, how long each is learned and watched, a seed. Out: a table on stdout, progress on stderr and, with `--json`,
//! the same figures in a file, each false alarm with its evidence. Never: an attack; passes or fails by a figure.

mod tally;

use crate::experiment::{line, poisson};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use surprisal_e2e::quiet::{Fleet, KINDS, instance::Event};
use tally::{Kind, kinds};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Servers, of eight kinds in turns; each takes some 150 MB with its clients
    #[arg(long, value_name = "N", default_value_t = 80, value_parser = clap::value_parser!(u32).range(8..=240))]
    containers: u32,
    /// Minutes that they are watched
    #[arg(long, value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_080))]
    minutes: u32,
    /// Seconds that they are learned
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(30..=300))]
    learn: u32,
    /// Seed of what happens when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the figures there too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Use agent and scorer as they were built, without setting up or building
    #[arg(long)]
    no_build: bool,
}

/// Between lines of progress.
const PROGRESS: u64 = 5 * 60;

pub(crate) fn run(args: &Args) -> Result<()> {
    let interrupt = line::prepare(args.no_build)?;
    let begin = Instant::now();
    let say = |text: &str| eprintln!("{:>5.0} s  {text}", begin.elapsed().as_secs_f64());
    say(&format!("starting {} servers of {} kinds and their clients", args.containers, KINDS.len()));
    let fleet = Fleet::start(args.containers as usize, args.seed, &say)?;
    interrupt.check()?;
    say(&format!("recording them for {} s, then training", args.learn));
    let profiles = fleet.learn(Duration::from_secs(args.learn.into()))?;
    interrupt.check()?;
    say("waiting for the first verdict");
    let mut watch = fleet.watch(&profiles)?;
    let until = Instant::now() + Duration::from_secs(u64::from(args.minutes) * 60);
    say(&format!("watching them for {} min", args.minutes));
    let (mut seconds, mut known) = (0, 0);
    while Instant::now() < until {
        interrupt.check()?;
        watch.rest(Duration::from_secs(1))?;
        seconds += 1;
        let accounts = watch.accounts();
        let alarms: usize = accounts.values().map(|a| a.alarms.len()).sum();
        if seconds % PROGRESS == 0 || alarms != known {
            say(&format!("{alarms} alarms, {} events", fleet.deeds().len()));
            known = alarms;
        }
    }
    let (accounts, deeds, began) = (watch.accounts(), fleet.deeds(), watch.began());
    let kinds = kinds(fleet.ids(), &accounts, &deeds, began, |kind| ceiling(&profiles, kind));
    let checks = fleet.checks();
    drop(watch);
    fleet.end()?;
    print(&kinds);
    let done: Vec<_> = Event::ALL
        .into_iter()
        .map(|event| {
            // Not those of the time to learn.
            let all = deeds.iter().filter(|d| d.event == event && d.at >= began);
            (event.name(), all.clone().count(), all.filter(|d| d.failed.is_some()).count())
        })
        .collect();
    let words: Vec<_> = done.iter().map(|(name, all, failed)| format!("{name} {all} ({failed} failed)")).collect();
    println!("Events: {}. Health checks: {} ({} failed).", words.join(", "), checks.0, checks.1);
    if let Some(deed) = deeds.iter().find(|d| d.failed.is_some()) {
        eprintln!("the first event that failed: {} of {}: {}", deed.event.name(), deed.id, deed.failed.as_deref().unwrap_or(""));
    }
    if let Some(path) = &args.json {
        let figures = figures(args, &kinds, &done, checks);
        fs::write(path, format!("{figures:#}\n")).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// The highest threshold that a profile of `kind` could have, nats a call.
fn ceiling(profiles: &Path, kind: &str) -> Option<f64> {
    let entries = fs::read_dir(profiles).ok()?;
    entries.flatten().find_map(|entry| {
        let text = fs::read(entry.path().join("profile.json")).ok()?;
        let metadata: Value = serde_json::from_slice(&text).ok()?;
        let owner = metadata["workload"].as_str()?.split('/').nth(1)?;
        (owner == kind).then(|| metadata["calibration"]["ceiling"].as_f64())?
    })
}

/// Container-days, alarms, alarms a container-day, and at most so many with 95 % confidence.
fn rate(kinds: &[Kind]) -> (f64, usize, f64, f64) {
    let days: f64 = kinds.iter().map(|k| k.scored.as_secs_f64()).sum::<f64>() / 86_400.0;
    let alarms: usize = kinds.iter().map(|k| k.alarms.len()).sum();
    (days, alarms, alarms as f64 / days, poisson::upper(alarms as u32) / days)
}

/// Threshold over ceiling of the kind in the middle.
fn median_share(kinds: &[Kind]) -> Option<f64> {
    let mut shares: Vec<_> = kinds.iter().filter_map(Kind::share).collect();
    shares.sort_by(f64::total_cmp);
    let middle = shares.len() / 2;
    if shares.len() % 2 == 1 {
        shares.get(middle).copied()
    } else {
        Some((shares.get(middle)? + shares.get(middle.checked_sub(1)?)?) / 2.0)
    }
}

fn print(kinds: &[Kind]) {
    println!("| server | containers | container-hours | false alarms | highest score / threshold | threshold / ceiling |");
    println!("|---|--:|--:|--:|--:|--:|");
    for k in kinds {
        let share = k.share().map_or("-".to_owned(), |share| format!("{share:.2}"));
        let (hours, alarms) = (k.scored.as_secs_f64() / 3600.0, k.alarms.len());
        println!("| {} | {} | {hours:.2} | {alarms} | {:.2} / {:.2} | {share} |", k.name, k.containers, k.highest, k.threshold);
    }
    println!();
    for alarm in kinds.iter().flat_map(|k| &k.alarms) {
        println!(
            "- {} at {:.0} s: {:.2} of {:.2} nats, {}: {}; {}",
            alarm.id,
            alarm.alarm.at.as_secs_f64(),
            alarm.alarm.score,
            alarm.alarm.threshold,
            alarm.alarm.process,
            alarm.alarm.call,
            alarm.after
        );
    }
    let (days, alarms, per_day, at_most) = rate(kinds);
    println!();
    println!(
        "{alarms} false alarms in {days:.2} container-days: {per_day:.1} a container-day, at most {at_most:.1} with 95 % confidence."
    );
    if let Some(share) = median_share(kinds) {
        println!("Threshold over ceiling, median of kinds: {share:.2}.");
    }
}

fn figures(args: &Args, kinds: &[Kind], done: &[(&str, usize, usize)], checks: (usize, usize)) -> Value {
    let (days, alarms, per_day, at_most) = rate(kinds);
    let kind = |k: &Kind| {
        json!({
            "kind": k.name, "containers": k.containers, "false_alarms": k.alarms.len(),
            "container_hours": k.scored.as_secs_f64() / 3600.0, "highest_score": k.highest, "highest_call": k.highest_call,
            "threshold": k.threshold, "ceiling": k.ceiling, "threshold_over_ceiling": k.share(),
        })
    };
    let alarm = |a: &tally::Placed| {
        json!({
            "container": a.id, "seconds": a.alarm.at.as_secs_f64(), "after": a.after, "score": a.alarm.score,
            "threshold": a.alarm.threshold, "process": a.alarm.process, "call": a.alarm.call, "said": a.alarm.said,
        })
    };
    json!({
        "container_days": days, "false_alarms": alarms, "per_container_day": per_day, "at_most_95": at_most,
        "threshold_over_ceiling_median": median_share(kinds),
        "kinds": kinds.iter().map(kind).collect::<Vec<_>>(),
        "alarms": kinds.iter().flat_map(|k| &k.alarms).map(alarm).collect::<Vec<_>>(),
        "events": done.iter().map(|(n, all, failed)| json!({ "event": n, "times": all, "failed": failed })).collect::<Vec<_>>(),
        "health_checks": { "times": checks.0, "failed": checks.1 },
        "containers": args.containers, "minutes": args.minutes, "learned_seconds": args.learn, "seed": args.seed,
    })
}
