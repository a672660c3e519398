//! Tests of the registry; see `containers`.

use crate::containers::job::Job;
use crate::containers::limits::Limits;
use crate::containers::registry::{Now, Registry};
use crate::containers::thread::Thread;
use crate::detect::detector::Finding;
use crate::detect::evidence::{Evidence, Surprise};
use crate::detect::names::{Heard, Seen};
use crate::detect::score::Score;
use crate::ingest::wire;
use crate::judge::threshold::{Judge, Source, Threshold};
use crate::metrics::Metrics;
use jiff::Timestamp;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use surprisal_proto::{names, status::imbalance, v1};

const WORKLOAD: &str = "ns/w/c";

/// A registry with a clock that is moved by hand and a model that says what it is told.
struct Scene {
    registry: Registry,
    node: Arc<str>,
    now: Now,
    jobs: Vec<Job>,
}

impl Scene {
    fn new(limits: Limits) -> Self {
        let mut registry = Registry::new(limits, Metrics::default());
        registry.set_judges(judges("v1", 2.0));
        let now = Now { mono: Duration::from_mins(1), wall: Timestamp::UNIX_EPOCH };
        let node: Arc<str> = "n".into();
        registry.connected(&node, now);
        Self { registry, node, now, jobs: Vec::new() }
    }

    fn wait(&mut self, ms: u64) {
        self.now.mono += Duration::from_millis(ms);
        self.registry.tick(self.now);
        self.jobs.extend(self.registry.hand_out(self.now));
    }

    fn take(&mut self, batch: v1::Batch) {
        self.registry.take(&self.node.clone(), wire::Batch::from(batch), self.now);
        self.jobs.extend(self.registry.hand_out(self.now));
    }

    fn birth(&mut self, id: &str, workload: &str) {
        self.take(v1::Batch { births: vec![birth(id, workload)], ..v1::Batch::default() });
    }

    fn calls(&mut self, id: &str, tid: u32, first: u64, n: usize) {
        self.take(v1::Batch { calls: vec![calls(id, tid, first, n)], ..v1::Batch::default() });
    }

    fn death(&mut self, id: &str) {
        let death = v1::Death { container_id: id.into(), ended_at: None };
        self.take(v1::Batch { deaths: vec![death], ..v1::Batch::default() });
    }

    /// Everything that waits is given this score by a model of this version.
    fn judge(&mut self, version: &str, nats: f64) -> usize {
        let jobs = std::mem::take(&mut self.jobs);
        for job in &jobs {
            let evidence = Evidence { window: job.window.clone(), score: Score::new(nats), novelty: 0.0, surprises: Vec::new() };
            let finding = Finding { score: Score::new(nats), evidence, version: version.into() };
            self.registry.judged(job, Some(finding), self.now);
        }
        jobs.len()
    }

    fn score(&self, id: &str) -> v1::Score {
        let filter = v1::Filter { container_id: id.into(), ..v1::Filter::default() };
        self.registry.find(&filter, 1).pop().unwrap_or_else(|| panic!("no container {id}"))
    }

    /// "verdict score windows", or "unscored: reason".
    fn said(&self, id: &str) -> String {
        let s = self.score(id);
        match s.verdict() {
            v1::Verdict::Unscored => format!("unscored: {}", s.unscored_reason),
            v => format!("{v:?} {} {}", s.score.unwrap_or(f64::NAN), s.windows),
        }
    }

    fn known(&self) -> usize {
        self.registry.containers.len()
    }

    /// Every hop balances, and what it says that it holds is there.
    fn balances(&self) {
        let r = &self.registry;
        for hop in r.hops() {
            assert_eq!(imbalance(&hop), 0, "{hop:?}");
        }
        let pending: usize = r.containers.values().flat_map(|e| e.threads.values()).map(|t| t.cutter.pending()).sum();
        assert_eq!(r.cutting.held(), pending as u64);
        assert_eq!(r.judging.held(), (r.queue.len() + self.jobs.len()) as u64);
        assert_eq!(r.handed, self.jobs.len());
        let waiting: usize = r.containers.values().flat_map(|e| e.threads.values()).map(Thread::waiting).sum();
        assert!(waiting as u64 <= r.judging.held());
    }
}

/// A name that Kubernetes told when windows waited already, and when the model had some.
#[test]
fn a_late_name_loses_no_window() {
    for handed in [false, true] {
        let mut s = Scene::new(Limits::default());
        let judge = |workload: &str| judges("v1", 2.0).into_values().map(|j| (workload.to_owned(), j)).next().expect("one");
        s.registry.set_judges(HashMap::from([judge("guessed/a/b"), judge(WORKLOAD)]));
        s.birth("a", "guessed/a/b");
        if !handed {
            // The model is busy.
            s.registry.handed = s.registry.limits.handed;
        }
        s.calls("a", 1, 0, 512);
        s.birth("a", WORKLOAD);
        s.registry.handed = s.jobs.len();
        let jobs = if handed { s.judge("v1", 1.0) } else { 0 };
        s.jobs.extend(s.registry.hand_out(s.now));
        assert!(s.jobs.iter().all(|job| *job.workload == *WORKLOAD), "{handed}");
        assert!(s.jobs.len() >= jobs && !s.jobs.is_empty(), "{handed}: {jobs}");
        let windows = s.judge("v1", 1.0);
        s.balances();
        assert_eq!(s.said("a"), format!("Normal 1 {windows}"), "{handed}");
    }
    // To a name without a profile, they are nobody's, and counted.
    let mut s = Scene::new(Limits::default());
    s.registry.set_judges(judges("v1", 2.0));
    s.birth("a", WORKLOAD);
    s.calls("a", 1, 0, 512);
    s.birth("a", "other/a/b");
    s.judge("v1", 1.0);
    s.balances();
    assert_eq!(s.said("a"), "unscored: no profile");
}

/// A name that came before its window was judged, one that came after, and one that is another call's.
#[test]
fn a_name_finds_its_call() {
    let mut s = Scene::new(Limits::default());
    let name = |sequence: u64, text: &str| {
        let name = v1::Name { container_id: "a".into(), tgid: 1, tid: 1, sequence, text: text.into(), ..v1::Name::default() };
        v1::Batch { names: vec![name], ..v1::Batch::default() }
    };
    let judged = |s: &mut Scene| {
        for job in std::mem::take(&mut s.jobs) {
            let surprise = |index| Surprise { index, nats: 9.0, times: 1, never_seen: true, expected: Vec::new() };
            let surprises = (0..3).map(surprise).collect();
            let evidence = Evidence { window: job.window.clone(), score: Score::new(3.0), novelty: 0.0, surprises };
            let finding = Finding { score: Score::new(3.0), evidence, version: "v1".into() };
            s.registry.judged(&job, Some(finding), s.now);
        }
    };
    s.birth("a", WORKLOAD);
    s.take(name(0, "/before"));
    s.calls("a", 1, 0, 64);
    judged(&mut s);
    s.take(name(1, "/after"));
    s.take(name(64, "/another"));
    assert_eq!(s.registry.metrics.names_late.get(), 1);
    let shown = |s: &Scene| s.score("a").evidence[0].surprises.iter().map(|surprise| surprise.name.clone()).collect::<Vec<_>>();
    assert_eq!(shown(&s), ["/before", "/after", ""]);
    // What was known then is kept, however many come after.
    for n in 0..500 {
        s.take(name(1000 + n, "/later"));
    }
    assert_eq!(shown(&s), ["/before", "", ""]);
    assert!(!s.score("a").names_left_out);
    s.registry.leaves_names_out(&s.node.clone(), true);
    assert!(s.score("a").names_left_out);
}

/// Ordinary calls about something new.
#[test]
fn a_new_name_turns_the_verdict() {
    let openat = names::parse("openat:1").expect("a call");
    let mut heard = Heard::default();
    heard.add(openat, "/srv/page", false, 0);
    let seen = Arc::new(Seen { known: heard.known(1000), container_seconds: 60.0 });
    let judges = judges("v1", 2.0).into_iter().map(|(w, j)| (w, Judge { seen: Some(Arc::clone(&seen)), ..j })).collect();
    let mut s = Scene::new(Limits::default());
    s.registry.set_judges(judges);
    s.birth("a", WORKLOAD);
    let mut window = |first: u64, text: &str| {
        let name = v1::Name {
            container_id: "a".into(),
            tgid: 7,
            tid: 1,
            sequence: first + 3,
            token: openat.0.into(),
            text: text.into(),
            ..v1::Name::default()
        };
        let calls = v1::Calls { tgid: 7, ..calls("a", 1, first, 80) };
        s.take(v1::Batch { names: vec![name], calls: vec![calls], ..v1::Batch::default() });
        assert!(s.jobs.iter().all(|job| s.registry.names_score(job).nats() < 7.0));
        s.judge("v1", 1.0);
        s.score("a")
    };
    assert_eq!(window(0, "/srv/page").verdict(), v1::Verdict::Normal);
    let score = window(80, "/etc/shadow");
    let expect = (501.0f64 / 0.5).ln();
    assert_eq!(score.verdict(), v1::Verdict::Anomalous);
    assert!((score.score.unwrap_or(0.0) - expect).abs() < 1e-9, "{score:?}");
    let first = &score.evidence[0];
    assert!((first.score - expect).abs() < 1e-9 && (first.new_names[0].nats - expect).abs() < 1e-9, "{first:?}");
    assert_eq!((first.new_names[0].did.as_str(), first.new_names[0].name.as_str()), ("read", "/etc/shadow"));
}

fn judges(version: &str, threshold: f64) -> HashMap<String, Judge> {
    let threshold = Threshold::try_from(threshold).expect("positive");
    HashMap::from([(WORKLOAD.to_owned(), Judge { version: version.into(), threshold, source: Source::Quantiles, seen: None })])
}

fn birth(id: &str, workload: &str) -> v1::Birth {
    v1::Birth { container: Some(v1::Container { id: id.into(), workload: workload.into(), ..v1::Container::default() }) }
}

fn calls(id: &str, tid: u32, first_sequence: u64, n: usize) -> v1::Calls {
    v1::Calls { container_id: id.into(), tgid: tid, tid, first_sequence, tokens: vec![0; 2 * n], ..v1::Calls::default() }
}

#[test]
fn every_reason_for_no_score_is_said() {
    let mut s = Scene::new(Limits::default());
    s.calls("a", 1, 0, 3);
    assert_eq!(s.said("a"), "unscored: not named yet");
    s.birth("a", "other");
    assert_eq!(s.said("a"), "unscored: no profile");
    s.birth("b", WORKLOAD);
    assert_eq!(s.said("b"), "unscored: no calls yet");
    s.calls("b", 1, 0, 3);
    assert_eq!(s.said("b"), "unscored: no window yet");
    s.calls("b", 1, 9, 3);
    assert_eq!(s.said("b"), "unscored: starved");
    s.calls("b", 1, 12, 200);
    assert_eq!(s.judge("v1", 1.0), 2);
    assert_eq!(s.said("b"), "Normal 1 2");
    s.wait(31_000);
    s.judge("v1", 1.0);
    s.wait(31_000);
    assert_eq!(s.said("b"), "unscored: quiet");
    assert_eq!(s.score("b").peak_score, Some(1.0));
}

#[test]
fn a_quiet_threads_partial_window_is_scored_after_a_second() {
    let mut s = Scene::new(Limits::default());
    s.birth("a", WORKLOAD);
    s.calls("a", 1, 0, 5);
    s.wait(900);
    assert_eq!(s.jobs.len(), 0);
    s.wait(200);
    assert_eq!(s.jobs.iter().map(|j| j.window.calls.len()).collect::<Vec<_>>(), [5]);
    s.wait(5_000);
    assert_eq!(s.judge("v1", 3.0), 1);
    assert_eq!(s.said("a"), "Anomalous 3 1");
}

#[test]
fn the_score_is_the_highest_of_half_a_minute() {
    let mut s = Scene::new(Limits::default());
    s.birth("a", WORKLOAD);
    for (n, nats) in [(0, 1.0), (1, 9.0), (2, 1.5)] {
        s.calls("a", 1, n * 64, 64);
        s.judge("v1", nats);
    }
    assert_eq!(s.said("a"), "Anomalous 9 3");
    assert_eq!(s.score("a").evidence.iter().map(|e| e.score).collect::<Vec<_>>(), [9.0, 1.5, 1.0]);
    s.wait(20_000);
    s.calls("a", 1, 3 * 64, 64);
    s.judge("v1", 0.5);
    assert_eq!(s.said("a"), "Anomalous 9 4");
    s.wait(12_000);
    assert_eq!(s.said("a"), "Normal 0.5 4");
    assert_eq!(s.score("a").peak_score, Some(9.0));
}

#[test]
fn a_threshold_changes_the_verdict_and_a_new_profile_starts_over() {
    let mut s = Scene::new(Limits::default());
    s.birth("a", WORKLOAD);
    s.calls("a", 1, 0, 64);
    s.judge("v1", 3.0);
    assert_eq!(s.said("a"), "Anomalous 3 1");
    let before = s.registry.revision();
    s.registry.set_judges(judges("v1", 4.0));
    assert_eq!((s.said("a").as_str(), s.registry.changed_since(None, before).len()), ("Normal 3 1", 1));
    s.registry.set_judges(judges("v2", 4.0));
    assert_eq!(s.said("a"), "unscored: no window yet");
    // What the old model still says is too late.
    s.calls("a", 1, 64, 64);
    s.judge("v1", 9.0);
    assert_eq!(s.said("a"), "unscored: no window yet");
    s.calls("a", 1, 128, 64);
    s.judge("v2", 1.0);
    assert_eq!(s.said("a"), "Normal 1 2");
    s.registry.set_judges(HashMap::new());
    assert_eq!(s.said("a"), "unscored: no profile");
}

#[test]
fn losses_are_counted_however_they_are_told() {
    let account =
        |lost_ring, dropped_queue| v1::Account { container_id: "a".into(), lost_ring, dropped_queue, ..v1::Account::default() };
    let mut s = Scene::new(Limits::default());
    s.birth("a", WORKLOAD);
    s.calls("a", 1, 0, 100);
    s.calls("a", 1, 150, 50);
    assert_eq!((s.score("a").loss_ratio, s.score("a").windows_gapped), (0.25, 1));
    // The account tells of the same, and then of more.
    s.take(v1::Batch { accounts: vec![account(20, 30)], ..v1::Batch::default() });
    assert!((s.score("a").loss_ratio - 0.25).abs() < 1e-9);
    s.take(v1::Batch { accounts: vec![account(20, 130)], ..v1::Batch::default() });
    assert!((s.score("a").loss_ratio - 0.5).abs() < 1e-9);
    // A thread that was not seen from its start has lost what somebody says it has, not what came before.
    s.take(v1::Batch { births: vec![birth("b", WORKLOAD)], calls: vec![calls("b", 1, 1_000, 30)], ..v1::Batch::default() });
    assert!(s.score("b").loss_ratio.abs() < 1e-9);
    s.take(v1::Batch { calls: vec![v1::Calls { gap: 30, ..calls("b", 2, 1_000, 30) }], ..v1::Batch::default() });
    assert!((s.score("b").loss_ratio - 1.0 / 3.0).abs() < 1e-9);
}

#[test]
fn what_sampling_leaves_out_is_no_loss() {
    let observed = |ratio| v1::Batch { observed: vec![v1::Observed { container_id: "a".into(), ratio }], ..v1::Batch::default() };
    let account = |lost_ring, dropped_queue, dropped_budget| v1::Batch {
        accounts: vec![v1::Account {
            container_id: "a".into(),
            lost_ring,
            dropped_queue,
            dropped_budget,
            ..v1::Account::default()
        }],
        ..v1::Batch::default()
    };
    let mut s = Scene::new(Limits::default());
    s.birth("a", WORKLOAD);
    s.calls("a", 1, 0, 100);
    s.take(observed(0.4));
    assert_eq!((s.score("a").observed_ratio, s.registry.nodes()[0].sampled_containers), (Some(0.4), 1));
    // Its turn comes again: a hole that nobody says was lost.
    s.calls("a", 1, 900, 100);
    s.take(account(0, 0, 800));
    assert_eq!((s.score("a").loss_ratio, s.score("a").windows_gapped), (0.0, 1));
    // What is lost besides is: said with a run, and then by the account.
    s.take(v1::Batch { calls: vec![v1::Calls { gap: 50, ..calls("a", 1, 1_050, 50) }], ..v1::Batch::default() });
    assert!((s.score("a").loss_ratio - 50.0 / 300.0).abs() < 1e-9);
    s.take(account(30, 20, 800));
    assert!((s.score("a").loss_ratio - 50.0 / 300.0).abs() < 1e-9);
    assert_eq!(s.registry.nodes()[0].dropped_on_node, 850);
    s.take(observed(1.0));
    assert_eq!((s.score("a").observed_ratio, s.registry.nodes()[0].sampled_containers), (None, 0));
    // An agent that comes back says anew what it samples.
    s.take(observed(0.5));
    s.registry.connected(&s.node.clone(), s.now);
    assert_eq!(s.score("a").observed_ratio, None);
}

#[test]
fn a_noisy_container_does_not_starve_the_others() {
    let limits = Limits { waiting: 90, handed: 10, ..Limits::default() };
    let mut s = Scene::new(limits);
    s.birth("noisy", WORKLOAD);
    for n in 0..5 {
        s.birth(&format!("quiet{n}"), WORKLOAD);
    }
    let (mut noisy, mut quiet) = (0, 0);
    // The model has time for 10 windows at a time; the noisy one alone makes 100.
    for _ in 0..50 {
        s.calls("noisy", 1, noisy, 6_400);
        noisy += 6_400;
        for n in 0..5 {
            s.calls(&format!("quiet{n}"), 1, quiet, 64);
        }
        quiet += 64;
        s.judge("v1", 1.0);
        s.wait(100);
    }
    for n in 0..5 {
        let score = s.score(&format!("quiet{n}"));
        assert!(score.judged_ratio.is_none() && score.windows > 45, "{score:?}");
    }
    let score = s.score("noisy");
    let judged = score.judged_ratio.expect("it was shed");
    assert!(score.windows > 100 && (0.02..0.2).contains(&judged), "{score:?}");
    assert!((score.loss_ratio - (1.0 - judged)).abs() < 0.1);
    assert!(s.said("noisy").starts_with("Normal"));
    s.balances();
    // Load falls: nothing is shed any more, and all that waits is judged.
    let before = s.registry.metrics.dropped("windows", "overload");
    while s.judge("v1", 1.0) > 0 {
        s.wait(100);
    }
    s.calls("noisy", 1, noisy, 256);
    assert_eq!(s.registry.metrics.dropped("windows", "overload"), before);
}

#[test]
fn a_noisy_thread_does_not_starve_the_others_of_its_container() {
    let limits = Limits { waiting: 90, handed: 0, ..Limits::default() };
    let mut s = Scene::new(limits);
    s.birth("a", WORKLOAD);
    s.calls("a", 1, 0, 6_400);
    let before = s.registry.metrics.dropped("windows", "overload");
    assert!(before > 90);
    s.calls("a", 2, 0, 64);
    assert_eq!(s.registry.metrics.dropped("windows", "overload"), before);
}

#[test]
fn what_waits_too_long_is_dropped_and_counted() {
    let mut s = Scene::new(Limits { handed: 2, ..Limits::default() });
    s.birth("a", WORKLOAD);
    s.calls("a", 1, 0, 640);
    assert_eq!(s.jobs.len(), 2);
    s.wait(6_000);
    assert_eq!((s.judge("v1", 1.0), s.jobs.len()), (2, 0));
    s.wait(1);
    assert_eq!((s.jobs.len(), s.registry.metrics.dropped("windows", "late")), (0, 8));
    let score = s.score("a");
    assert_eq!((score.judged_ratio, score.windows), (Some(0.2), 2));
    s.balances();
    // Nothing of it is in the way of what comes next.
    s.calls("a", 1, 640, 64);
    assert_eq!(s.judge("v1", 1.0), 1);
}

#[test]
fn what_is_dead_can_be_read_for_a_while_and_is_freed() {
    let mut s = Scene::new(Limits::default());
    s.birth("a", WORKLOAD);
    s.calls("a", 1, 0, 70);
    s.death("a");
    assert_eq!(s.judge("v1", 3.0), 2);
    assert_eq!(s.registry.threads, 0);
    s.wait(60_000);
    let score = s.score("a");
    assert_eq!((s.said("a").as_str(), score.ended), ("Anomalous 3 2", true));
    s.wait(300_000);
    assert_eq!(s.known(), 0);
    assert!(s.registry.nodes.values().all(|n| n.containers == 0));
}

#[test]
fn two_hundred_short_lives_leave_nothing() {
    let mut s = Scene::new(Limits::default());
    for n in 0..200 {
        let id = format!("c{n}");
        s.birth(&id, WORKLOAD);
        s.calls(&id, n, 0, 10);
        s.death(&id);
    }
    assert_eq!((s.known(), s.judge("v1", 1.0)), (200, 200));
    s.wait(300_000);
    assert_eq!((s.known(), s.registry.threads, s.registry.judging.held()), (0, 0, 0));
    s.balances();
}

#[test]
fn who_ended_unseen_ends() {
    let mut s = Scene::new(Limits::default());
    for id in ["a", "b"] {
        s.birth(id, WORKLOAD);
    }
    // The agent comes back and knows only one of them.
    s.registry.connected(&s.node.clone(), s.now);
    s.birth("a", WORKLOAD);
    s.wait(600_000);
    assert_eq!((s.score("a").ended, s.score("b").ended), (false, true));
    // The agent goes and does not come back.
    for _ in 0..2 {
        s.registry.disconnected(&s.node.clone(), s.now);
    }
    s.wait(1_000);
    assert!(!s.score("a").ended);
    s.wait(600_000);
    assert!(s.score("a").ended);
    s.wait(300_000);
    assert_eq!((s.known(), s.registry.nodes.len()), (0, 0));
}

#[test]
fn who_is_never_named_is_forgotten() {
    let mut s = Scene::new(Limits::default());
    s.calls("ghost", 1, 0, 10);
    s.birth("a", WORKLOAD);
    s.wait(61_000);
    assert_eq!((s.known(), s.registry.threads), (1, 0));
}

#[test]
fn the_same_id_on_two_nodes_is_two_containers() {
    let mut s = Scene::new(Limits::default());
    s.birth("a", WORKLOAD);
    let other: Arc<str> = "m".into();
    let batch = v1::Batch { births: vec![birth("a", WORKLOAD)], ..v1::Batch::default() };
    s.registry.take(&other, batch.into(), s.now);
    let nodes: Vec<_> = s.registry.changed_since(None, 0).into_iter().filter_map(|s| s.container).map(|c| c.node).collect();
    assert_eq!(nodes, ["m", "n"]);
}

#[test]
fn a_window_of_a_forgotten_container_is_nobodys() {
    let mut s = Scene::new(Limits::default());
    s.birth("a", WORKLOAD);
    s.calls("a", 1, 0, 64);
    s.death("a");
    s.wait(300_000);
    assert_eq!((s.known(), s.judge("v1", 1.0), s.registry.judging.held()), (0, 1, 0));
    assert_eq!(s.registry.metrics.dropped("windows", "container_gone"), 1);
}

proptest! {
    /// Whatever comes, in whatever order: no panic, no map beyond its limit, and the counts agree. Births, calls with any numbers,
    /// malformed ones, deaths, accounts, samples, time, verdicts of this and of another model, failures, reconnects.
    #[test]
    fn bounded_whatever_comes(steps in prop::collection::vec((0u8..12, 0u8..12, 0u32..6, prop_oneof![0u64..300, Just(u64::MAX)], 0usize..200), 0..150)) {
        let limits = Limits { containers: 8, containers_per_node: 6, threads: 10, threads_per_container: 4, waiting: 9, handed: 4 };
        let mut s = Scene::new(limits);
        let mut sent = 0;
        for (what, id, tid, first, n) in steps {
            let id = format!("c{id}");
            match what {
                0 => s.birth(&id, WORKLOAD),
                1..=3 => {
                    s.calls(&id, tid, first, n);
                    sent += n as u64;
                }
                4 => s.death(&id),
                5 => s.wait(first.min(400_000)),
                6 => {
                    // Half of it cannot be read, and one has no name.
                    let batch = vec![v1::Calls { container_id: String::new(), ..calls("", tid, first, n) }, v1::Calls { last: true, ..calls(&id, tid, first, n) }];
                    s.take(v1::Batch { calls: batch, dropped_before: first, ..v1::Batch::default() });
                    sent += 2 * n as u64;
                }
                7 => {
                    let account = v1::Account { container_id: id.clone(), lost_ring: first, dropped_queue: n as u64, dropped_budget: first, ..v1::Account::default() };
                    let observed = v1::Observed { container_id: id, ratio: n as f64 / 200.0 };
                    s.take(v1::Batch { accounts: vec![account], observed: vec![observed], ..v1::Batch::default() });
                }
                8 => {
                    for job in std::mem::take(&mut s.jobs) {
                        s.registry.judged(&job, None, s.now);
                    }
                }
                9 => {
                    s.registry.disconnected(&s.node.clone(), s.now);
                    s.registry.connected(&s.node.clone(), s.now);
                }
                10 => drop(s.judge("v0", 1.0)),
                _ => drop(s.judge("v1", n as f64 / 20.0)),
            }
            let threads: usize = s.registry.containers.values().map(|e| e.threads.len()).sum();
            prop_assert_eq!(threads, s.registry.threads);
            prop_assert!(s.known() <= 6 && threads <= 10);
            prop_assert_eq!(s.registry.nodes.values().map(|n| n.containers).sum::<usize>(), s.known());
            prop_assert!(s.jobs.len() <= 4 && s.registry.queue.len() <= 9);
            s.balances();
            prop_assert_eq!(s.registry.cutting.taken_in(), sent);
            for score in s.registry.changed_since(None, 0) {
                prop_assert!((0.0..=1.0).contains(&score.loss_ratio));
                prop_assert!(score.judged_ratio.is_none_or(|r| (0.0..1.0).contains(&r)));
                prop_assert!(score.evidence.len() <= 3);
            }
        }
    }
}
