//! `fleet`: a thousand agents against a scorer that runs, and what it made of them.
//!
//! In: a recording, a scorer's addresses and process id. Out: JSON in a file, progress on stderr. Never: a judgement.

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use std::{env, fs, path::PathBuf, process::ExitCode, thread, time::Duration};
use surprisal_e2e::fleet::{
    Fleet, Plan,
    measure::{self, ByContainer, Metrics},
    script::{Recorded, script},
};
use tokio::time::Instant;

const USAGE: &str =
    "usage: fleet JSON RECORDING SCORER_URL ADMIN_ADDRESS SCORER_PID AGENTS CONTAINERS RATE SECONDS FLUSH_MS STEP…";
/// Scripts that agents share.
const VARIANTS: usize = 16;
/// What is under way has this long to arrive and to be judged.
const GRACE: Duration = Duration::from_secs(7);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fleet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Args {
    json: PathBuf,
    recording: PathBuf,
    url: String,
    admin: String,
    pid: u32,
    plan: Plan,
}

fn args() -> Result<Args> {
    let args: Vec<_> = env::args().skip(1).collect();
    let [json, recording, url, admin, pid, agents, containers, rate, seconds, flush, steps @ ..] = args.as_slice() else {
        bail!(USAGE)
    };
    let plan = Plan {
        agents: agents.parse().context(USAGE)?,
        containers: containers.parse().context(USAGE)?,
        rate: rate.parse().context(USAGE)?,
        steps: steps.iter().map(|s| s.parse()).collect::<Result<_, _>>().context(USAGE)?,
        step: Duration::from_secs(seconds.parse().context(USAGE)?),
        flush: Duration::from_millis(flush.parse().context(USAGE)?),
    };
    Ok(Args {
        json: json.into(),
        recording: recording.into(),
        url: url.clone(),
        admin: admin.clone(),
        pid: pid.parse().context(USAGE)?,
        plan,
    })
}

async fn run() -> Result<()> {
    let Args { json: out, recording, url, admin, pid, plan } = args()?;
    let recorded = Recorded::read(&recording)?;
    let variants = VARIANTS.min(plan.agents);
    let scripts = (0..variants).map(|n| script(&recorded, &plan, n, variants)).collect::<Result<Vec<_>>>()?;
    let rss_before = measure::resident_bytes(pid)?;
    eprintln!("connecting {} agents with {} containers each", plan.agents, plan.containers);
    let mut fleet = Fleet::connect(&url, &plan, scripts).await?;
    let rss_connected = measure::resident_bytes(pid)?;
    let mut looked = ByContainer::new();
    let mut steps = Vec::new();
    for (n, step) in plan.steps.iter().enumerate() {
        eprintln!("{step}x for {} s", plan.step.as_secs());
        let before = Metrics::read(&admin)?;
        let (scorer, simulator) = (measure::processor_time(pid)?, measure::processor_time(std::process::id())?);
        let begin = Instant::now();
        let sampler = sample(pid, plan.step);
        let tally = fleet.play(n, &plan, GRACE).await?;
        // What silence cuts is cut a second later; what is late is dropped after five.
        let settled = settled(&admin, begin + plan.step + GRACE).await?;
        let scorer = (measure::processor_time(pid)?.saturating_sub(scorer)).as_secs_f64();
        let simulator = (measure::processor_time(std::process::id())?.saturating_sub(simulator)).as_secs_f64();
        let elapsed = begin.elapsed().as_secs_f64();
        let after = settled;
        let rss: Vec<u64> = sampler.join().unwrap_or_default();
        let now = measure::windows(&url).await?;
        let shares = measure::shares(&looked, &now);
        looked = now;
        let get = |c: &std::sync::atomic::AtomicU64| c.load(std::sync::atomic::Ordering::Relaxed);
        let seconds = plan.step.as_secs_f64();
        let (cut, scored) = (after.grown(&before, "windows_total"), after.grown(&before, "windows_scored_total"));
        let ms = |q| after.latency_quantile(&before, q).map(|s| (s * 1e5).round() / 100.0);
        let share = |x: Option<f64>| x.map(|x| (x * 1e4).round() / 1e4);
        steps.push(json!({
            "step": step,
            "agents": plan.agents,
            "containers": plan.agents * plan.containers,
            "calls_per_s": (get(&tally.sent) as f64 / seconds).round(),
            "calls_taken_per_s": (after.grown(&before, "ingest_calls_total") / seconds).round(),
            "windows_per_s": (scored / seconds).round(),
            "windows_cut_per_s": (cut / seconds).round(),
            "p50_ms": ms(0.5),
            "p99_ms": ms(0.99),
            "lost": get(&tally.sent) - get(&tally.acknowledged),
            "streams_ended": get(&tally.ended),
            "judged_ratio": share((cut > 0.0).then_some(scored / cut)),
            "judged_busy": share(shares.busy),
            "judged_quiet": share(shares.quiet),
            "containers_shed": shares.shed,
            "dropped": after.dropped_since(&before),
            "rss_mb": (measure::resident_bytes(pid)? as f64 / 1e5).round() / 10.0,
            "rss_over_time_mb": rss.iter().map(|b| b / 1_000_000).collect::<Vec<_>>(),
            "bytes_per_call": (get(&tally.bytes) as f64 / get(&tally.sent).max(1) as f64 * 1000.0).round() / 1000.0,
            "batches_per_s": (get(&tally.batches) as f64 / seconds).round(),
            "sent_late_ms": get(&tally.late_ms),
            "scorer_cores": (scorer / elapsed * 100.0).round() / 100.0,
            "scorer_cpu_s": scorer,
            "simulator_cpu_s": simulator,
            "elapsed_s": (elapsed * 10.0).round() / 10.0,
        }));
    }
    let containers = (plan.agents * plan.containers) as u64;
    let rss_end = measure::resident_bytes(pid)?;
    let report = json!({
        "workload": recorded.workload,
        "recorded_calls": recorded.threads.iter().map(|(_, t)| t.len()).sum::<usize>(),
        "calls_per_s_of_a_container_at_1x": plan.rate,
        "seconds": plan.step.as_secs(),
        "flush_ms": plan.flush.as_millis() as u64,
        "variants": variants,
        "cores": thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get),
        "rss_before_mb": rss_before / 1_000_000,
        "rss_connected_mb": rss_connected / 1_000_000,
        "bytes_per_agent_and_its_containers": (rss_connected.saturating_sub(rss_before)) / plan.agents.max(1) as u64,
        "bytes_per_container": (rss_end.saturating_sub(rss_before)) / containers.max(1),
        "steps": steps,
    });
    fs::write(&out, format!("{report:#}\n")).with_context(|| format!("writing {}", out.display()))
}

/// Waits until nothing waits for the model any more and two looks agree, at most until `deadline`.
async fn settled(admin: &str, deadline: Instant) -> Result<Metrics> {
    let mut last = Metrics::read(admin)?;
    loop {
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let now = Metrics::read(admin)?;
        let still = now.value("inference_waiting_windows") < 1.0 && now.grown(&last, "windows_total") < 1.0;
        if still || Instant::now() > deadline {
            return Ok(now);
        }
        last = now;
    }
}

/// Resident memory each second.
fn sample(pid: u32, time: Duration) -> thread::JoinHandle<Vec<u64>> {
    thread::spawn(move || {
        let looks = (0..time.as_secs()).map(|_| {
            thread::sleep(Duration::from_secs(1));
            measure::resident_bytes(pid).unwrap_or(0)
        });
        looks.collect()
    })
}
