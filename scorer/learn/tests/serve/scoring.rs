//! Scores, verdicts, evidence, thresholds: from an agent's calls to the answer.

use crate::agent::Agent;
use crate::load::{WORKLOAD, shell, start};
use crate::scorer::{PATIENCE, Scorer, profile_dir, profiles};
use serde_json::Value;
use std::time::{Duration, Instant};
use surprisal_scorer::profile::metadata::FORMAT;

/// Asks until the container's score is as it should be.
async fn until(scorer: &Scorer, id: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let score = scorer.json(&["scores", "get", "--id", id]);
        if is(&score) {
            return score;
        }
        assert!(Instant::now() < deadline, "never {what}: {score:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn scored(n: u64) -> impl Fn(&Value) -> bool {
    move |s| s["windows"].as_u64().is_some_and(|w| w >= n)
}

#[tokio::test(flavor = "multi_thread")]
async fn normal_load_is_normal_and_a_shell_is_not() {
    let dir = profiles();
    let scorer = Scorer::start(dir.path(), &[]);
    let mut agent = Agent::connect(&scorer.url, "one").await;
    for (id, seed) in [("c1", 101), ("c2", 102)] {
        agent.serves(id, seed, 20_000).await;
        let calls = 20_000 + start().len();
        // Every call is scored once: full windows at once, the rest after a second of silence.
        let score = until(&scorer, id, "all scored", scored(calls.div_ceil(64) as u64)).await;
        assert_eq!((score["verdict"].as_str(), score["calls"].as_u64()), (Some("normal"), Some(calls as u64)), "{score:#}");
        assert!(score["peak_score"].as_f64() < score["threshold"].as_f64(), "{score:#}");
        assert_eq!(score["loss_ratio"].as_f64(), Some(0.0));
    }
    agent.attacks("c1").await;
    let score = until(&scorer, "c1", "anomalous", |s| s["verdict"] == "anomalous").await;
    let evidence = &score["evidence"][0];
    assert_eq!((evidence["process"].as_str(), evidence["pid"].as_u64()), (Some("sh"), Some(666)), "{evidence:#}");
    assert_eq!(evidence["calls"].as_u64(), Some(shell().len().min(64) as u64));
    let surprises = evidence["surprises"].as_array().expect("an array");
    assert_eq!(surprises.len(), 5);
    // In whole nats, and from 10 on (or where training never saw the call) as equals; each call once.
    let nats = |s: &Value| s["surprisal"].as_f64().expect("a number");
    let levels: Vec<_> =
        surprises.iter().map(|s| if s["never_seen"] == true { 10.0 } else { nats(s).clamp(0.0, 10.0).floor() }).collect();
    assert!(levels.is_sorted_by(|a, b| a >= b) && levels[0] > 5.0, "{levels:?}");
    let calls: std::collections::BTreeSet<_> = surprises.iter().map(|s| s["call"].as_str().expect("a name")).collect();
    assert_eq!(calls.len(), 5, "{evidence:#}");
    for s in surprises {
        let p = s["probability"].as_f64().expect("a number");
        assert!((-p.ln() - s["surprisal"].as_f64().expect("a number")).abs() < 1e-3, "{s:#}");
        assert!(s["expected"].as_array().is_some_and(|e| (1..=3).contains(&e.len())), "{s:#}");
    }
    assert!(surprises.iter().any(|s| s["never_seen"] == true), "{evidence:#}");
    // The neighbour is left alone.
    assert_ne!(scorer.json(&["scores", "get", "--id", "c2"])["verdict"], "anomalous");
    let anomalous = scorer.json(&["scores", "list", "--verdict", "anomalous"]);
    assert_eq!(anomalous.as_array().map(Vec::len), Some(1), "{anomalous:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_threshold_takes_effect_at_once_and_survives_a_restart() {
    let dir = profiles();
    let scorer = Scorer::start(dir.path(), &["--threshold", "50"]);
    let mut agent = Agent::connect(&scorer.url, "one").await;
    agent.serves("c1", 7, 2_000).await;
    let score = until(&scorer, "c1", "scored", scored(30)).await;
    assert_eq!((score["threshold"].as_f64(), score["threshold_source"].as_str()), (Some(50.0), Some("global")));
    let changed = scorer.json(&["profile", "threshold", WORKLOAD, "--set", "0.001"]);
    assert_eq!((changed[0]["threshold"].as_f64(), changed[0]["threshold_source"].as_str()), (Some(0.001), Some("profile")));
    let score = scorer.json(&["scores", "get", "--id", "c1"]);
    assert_eq!((score["verdict"].as_str(), score["threshold"].as_f64()), (Some("anomalous"), Some(0.001)), "{score:#}");
    assert!(scorer.stop().success());

    let scorer = Scorer::start(dir.path(), &["--threshold", "50"]);
    let profile = scorer.json(&["profile", "show", WORKLOAD]);
    assert_eq!((profile["threshold"].as_f64(), profile["threshold_source"].as_str()), (Some(0.001), Some("profile")));
    scorer.json(&["profile", "threshold", WORKLOAD, "--clear"]);
    assert_eq!(scorer.json(&["profile", "show", WORKLOAD])["threshold"].as_f64(), Some(50.0));
    scorer.json(&["profile", "threshold", "--global", "--set", "40"]);
    let profile = scorer.json(&["profile", "show", WORKLOAD]);
    assert_eq!((profile["threshold"].as_f64(), profile["threshold_source"].as_str()), (Some(40.0), Some("global")));
    assert!(profile["calibrated_threshold"].as_f64() < Some(40.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_are_dropped_losses_counted_and_deaths_remembered() {
    use crate::agent::{birth, calls};
    use surprisal_proto::v1;
    let dir = profiles();
    let scorer = Scorer::start(dir.path(), &[]);
    let mut agent = Agent::connect(&scorer.url, "one").await;
    assert_eq!(agent.welcome.last_sequence, 0);
    let tokens = crate::load::serve(5, 640);
    let batch = v1::Batch {
        sequence: 1,
        births: vec![birth("c1")],
        calls: vec![calls("c1", 10, "redis-server", 0, &tokens)],
        ..v1::Batch::default()
    };
    for _ in 0..3 {
        assert_eq!(agent.send_as(batch.clone()).await, 1);
    }
    drop(agent);
    // The same instance again: it is told what was taken, and what it sends again is dropped.
    let mut agent = Agent::connect(&scorer.url, "one").await;
    assert_eq!(agent.welcome.last_sequence, 1);
    assert_eq!(agent.send_as(batch.clone()).await, 1);
    // 160 calls are lost, as many as a quarter of those that came.
    let gap = v1::Calls { gap: 160, ..calls("c1", 10, "redis-server", 800, &tokens[..160]) };
    agent.send(v1::Batch { calls: vec![gap], ..v1::Batch::default() }).await;
    let score = until(&scorer, "c1", "all taken", |s| s["calls"] == 800).await;
    assert_eq!((score["windows_gapped"].as_u64(), score["loss_ratio"].as_f64()), (Some(1), Some(160.0 / 960.0)), "{score:#}");
    // 10 full windows, and 144 calls after the 16 that only became context: the last 16 of them when it ends.
    agent.send(v1::Batch { deaths: vec![v1::Death { container_id: "c1".into(), ended_at: None }], ..v1::Batch::default() }).await;
    let score = until(&scorer, "c1", "ended and scored", |s| s["ended"] == true && s["windows"] == 13).await;
    assert_eq!(score["verdict"], "normal", "{score:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_appears_is_in_force_and_one_that_is_damaged_is_not() {
    let (dir, source) = (tempfile::tempdir().expect("a directory"), profiles());
    let broken = profile_dir(dir.path()).with_file_name("other%2Fprofile");
    crate::scorer::copy(&profile_dir(source.path()), &broken);
    std::fs::write(broken.join("weights.safetensors"), b"nonsense").expect("writes");
    let old = profile_dir(dir.path()).with_file_name("old%2Fprofile");
    crate::scorer::copy(&profile_dir(source.path()), &old);
    let text = std::fs::read_to_string(old.join("profile.json")).expect("reads");
    let ours = format!("\"format\": {FORMAT}");
    assert!(text.contains(&ours), "{text}");
    std::fs::write(old.join("profile.json"), text.replace(&ours, "\"format\": 99")).expect("writes");
    let mut scorer = Scorer::start(dir.path(), &[]);
    let refused = scorer.logged("weights.safetensors is damaged");
    assert!(refused.contains("profile refused"), "{refused}");
    scorer.logged(&format!("the profile's format is 99, this program reads {FORMAT}: train it again"));
    let mut agent = Agent::connect(&scorer.url, "one").await;
    agent.serves("c1", 7, 2_000).await;
    let score = until(&scorer, "c1", "unscored", |s| s["calls"].as_u64() > Some(2_000)).await;
    assert_eq!((score["verdict"].as_str(), score["unscored_reason"].as_str()), (Some("unscored"), Some("no profile")));
    crate::scorer::copy(&profile_dir(source.path()), &profile_dir(dir.path()));
    scorer.logged("profile loaded");
    agent.serves("c2", 8, 2_000).await;
    until(&scorer, "c2", "normal", |s| s["verdict"] == "normal").await;
    assert_eq!(scorer.json(&["profile", "list"]).as_array().map(Vec::len), Some(1));
}
