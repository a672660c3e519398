//! Advice on thresholds: what it counts is what serving would have raised.

use crate::load::{WORKLOAD, serve, shell, start};
use crate::scorer::{profile_dir, profiles, run, text};
use jiff::Timestamp;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use surprisal_proto::token::Token;
use surprisal_proto::{
    container::{Container, Names},
    recording::{Calls, Header, Line, Writer},
};
use surprisal_scorer::advise::replay::Replay;
use surprisal_scorer::containers::job::Job;
use surprisal_scorer::detect::detector::Finding;
use surprisal_scorer::detect::surprisal::Surprisal;
use surprisal_scorer::inference::{self, Command, Reply};
use surprisal_scorer::judge::threshold::{Judge, Source, Threshold};
use surprisal_scorer::metrics::Metrics;
use surprisal_scorer::profile::archive::Profile;

/// When a shell is started out of the server, seconds: the second comes while the first is still an alert.
const SHELLS: [u32; 4] = [20, 35, 70, 140];

/// Two and a half minutes of a server, with shells.
fn record(path: &Path) {
    let file = std::fs::File::create(path).expect("creates");
    let header = Header::new("node-1", Some("mixed"), Timestamp::UNIX_EPOCH);
    let mut out = Writer::new(std::io::BufWriter::new(file), &header).expect("writes");
    let about = Container {
        id: "a".into(),
        node: "node-1".into(),
        names: Names { workload: WORKLOAD.into(), ..Names::default() },
        ..Container::default()
    };
    out.write(&Line::Container(about)).expect("writes");
    let mut write = |ms: i64, tid: u32, seq: u64, calls: Vec<Token>, last: bool| {
        let run = Calls {
            at: Timestamp::from_millisecond(ms).expect("in range"),
            node: "node-1".into(),
            container: "a".into(),
            pod: String::new(),
            pid: tid,
            tid,
            process: if last { "sh" } else { "redis-server" }.into(),
            seq,
            gap: 0,
            calls,
            last,
            by_exec: false,
        };
        out.write(&Line::Calls(run)).expect("writes");
    };
    let all = [start(), serve(77, 60_000)].concat();
    for (n, part) in all.chunks(100).enumerate() {
        let ms = n as i64 * 250;
        for shells in SHELLS.iter().filter(|s| i64::from(**s) * 1000 == ms) {
            write(ms, 600 + shells, 0, shell(), true);
        }
        write(ms, 100, n as u64 * 100, part.to_vec(), false);
    }
    out.finish().expect("writes");
}

type Windows = HashMap<(u32, u64), Finding>;

/// Everything that comes of a recording, and what the model says of it: by thread and first call.
fn judged(recording: &Path, profile: &Arc<Profile>, judges: &HashMap<String, Judge>) -> Windows {
    let said: Arc<Mutex<Windows>> = Arc::default();
    let say = Arc::clone(&said);
    let key = |job: &Job| (job.thread.tid, job.window.first_sequence);
    let reply: Reply = Box::new(move |job, finding| {
        say.lock().expect("not poisoned").insert(key(job), finding.expect("judged"));
    });
    let loader = surprisal_scorer::run::loader();
    let (model, thread) =
        inference::start(move || Surprisal::new(loader, Metrics::default()), reply, Metrics::default()).expect("starts");
    model.blocking_send(Command::Install(Arc::clone(profile))).expect("listening");
    let mut replay = Replay::open(recording, "n", judges.clone(), false).expect("opens");
    let mut jobs = Vec::new();
    while replay.step(&mut jobs).expect("a recording") {}
    model.blocking_send(Command::Judge(jobs)).expect("listening");
    drop(model);
    thread.join().expect("no panic");
    Arc::try_unwrap(said).expect("the thread is gone").into_inner().expect("not poisoned")
}

/// How often the registry's verdict turns to anomalous while a recording is played into it.
fn raised(recording: &Path, windows: &Windows, judges: HashMap<String, Judge>) -> u64 {
    let mut replay = Replay::open(recording, "n", judges, false).expect("opens");
    let (mut alerts, mut before) = (0, false);
    let mut jobs = Vec::new();
    while replay.step(&mut jobs).expect("a recording") {
        let (registry, now) = replay.registry();
        // Looked at when time has passed, and again when windows were judged.
        for judging in [false, true] {
            if judging {
                for job in jobs.drain(..) {
                    let finding = windows[&(job.thread.tid, job.window.first_sequence)].clone();
                    registry.judged(&job, Some(finding), now);
                }
            }
            let scores = registry.changed_since(None, 0);
            let anomalous = scores.iter().any(|s| s.verdict() == surprisal_proto::v1::Verdict::Anomalous);
            alerts += u64::from(anomalous && !before);
            before = anomalous;
        }
    }
    alerts
}

#[test]
fn advice_agrees_with_a_recount() {
    let dir = profiles();
    let recording = dir.path().join("mixed.jsonl");
    record(&recording);
    let out = run(&["profile", "advise", "--profiles", text(dir.path()), WORKLOAD, text(&recording), "-o", "json"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let advice: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let advice = &advice[0];
    assert_eq!((advice["workload"].as_str(), advice["containers"].as_u64()), (Some(WORKLOAD), Some(1)));
    assert_eq!(advice["labels"][0], "mixed");
    assert!((advice["container_seconds"].as_f64().expect("seconds") - 150.0).abs() < 0.5, "{advice:#}");

    let profile = Arc::new(Profile::read(&profile_dir(dir.path())).expect("a profile"));
    let judges = |nats: f64| {
        let threshold = Threshold::try_from(nats).expect("positive");
        let judge = Judge { version: profile.metadata.version.as_str().into(), threshold, source: Source::Quantiles, seen: None };
        HashMap::from([(WORKLOAD.to_owned(), judge)])
    };
    let windows = judged(&recording, &profile, &judges(1.0));
    assert_eq!(advice["windows"].as_u64(), Some(windows.len() as u64));
    let rows = advice["rows"].as_array().expect("rows");
    for row in rows {
        let nats = row["threshold"].as_f64().expect("a threshold");
        assert_eq!(row["alerts"].as_u64(), Some(raised(&recording, &windows, judges(nats))), "{row:#}");
        let above = windows.values().filter(|v| v.score.nats() >= nats).count() as u64;
        assert_eq!(row["windows"].as_u64(), Some(above), "{row:#}");
    }
    // The shells and nothing else: four, of which two are one alert.
    let in_force = rows.iter().find(|r| r["multiple"] == 1.0).expect("the one in force");
    assert_eq!(in_force["alerts"].as_u64(), Some(3), "{advice:#}");
    assert_eq!(in_force["threshold"], advice["threshold"]);
    assert!(rows.last().is_some_and(|r| r["alerts"].as_u64() <= Some(3)) && rows.len() >= 8);

    // For people; and what cannot be.
    let out = run(&["profile", "advise", "--profiles", text(dir.path()), text(&recording)]);
    let table = String::from_utf8(out.stdout).expect("UTF-8");
    assert!(table.lines().any(|l| l.contains("in force (quantiles)")), "{table}");
    let other = tempfile::tempdir().expect("a directory");
    for (args, says) in [
        ([text(dir.path()), "/nonexistent"], "/nonexistent: No such file"),
        ([text(other.path()), text(&recording)], "no windows of a workload that has a profile"),
        (["/nonexistent", text(&recording)], "no directory of profiles"),
    ] {
        let out = run(&["profile", "advise", "--profiles", args[0], args[1]]);
        let error = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(65) && error.contains(says) && error.lines().count() == 1, "{args:?}: {error}");
    }
}
