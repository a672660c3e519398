//! Tests of the registry; see `containers`.

use super::*;
use crate::ingest::wire;
use proptest::prelude::*;

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
        self.registry.tick(self.now, &mut self.jobs);
    }

    fn take(&mut self, batch: v1::Batch) {
        let batch = wire::Batch::new(batch, &self.registry.metrics.clone());
        self.registry.take(&self.node.clone(), batch, self.now, &mut self.jobs);
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
            let verdict = Verdicted { score: Score::new(nats), evidence, version: version.into() };
            self.registry.judged(job, Some(verdict), self.now);
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
}

fn judges(version: &str, threshold: f64) -> HashMap<String, Judge> {
    let threshold = Threshold::try_from(threshold).expect("positive");
    HashMap::from([(WORKLOAD.to_owned(), Judge { version: version.into(), threshold, source: Source::Quantiles })])
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
fn a_busy_thread_is_sampled_and_a_quiet_one_is_heard() {
    let limits = Limits { waiting: 10, waiting_per_thread: 2, ..Limits::default() };
    let mut s = Scene::new(limits);
    s.birth("a", WORKLOAD);
    s.calls("a", 1, 0, 64 * 100);
    assert_eq!(s.jobs.len(), 10);
    s.calls("a", 2, 0, 64);
    assert_eq!((s.jobs.len(), s.jobs[10].thread.tid), (11, 2));
    assert_eq!(s.registry.metrics.dropped("windows", "overload"), 90);
    assert!((s.score("a").loss_ratio - 90.0 / 101.0).abs() < 1e-9);
    assert_eq!(s.judge("v1", 1.0), 11);
    s.calls("a", 1, 64 * 100, 64 * 5);
    assert_eq!(s.jobs.len(), 5);
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
    assert_eq!((s.known(), s.registry.threads, s.registry.waiting), (0, 0, 0));
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
    let batch = wire::Batch::new(v1::Batch { births: vec![birth("a", WORKLOAD)], ..v1::Batch::default() }, &Metrics::default());
    s.registry.take(&other, batch, s.now, &mut s.jobs);
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
    assert_eq!((s.known(), s.judge("v1", 1.0), s.registry.waiting), (0, 1, 0));
}

proptest! {
    /// Whatever comes, in whatever order: no panic, no map beyond its limit, and the counts agree.
    #[test]
    fn bounded_whatever_comes(steps in prop::collection::vec((0u8..6, 0u8..12, 0u32..6, prop_oneof![0u64..300, Just(u64::MAX)], 0usize..200), 0..120)) {
        let limits = Limits { containers: 8, containers_per_node: 6, threads: 10, threads_per_container: 4, waiting: 5, waiting_per_thread: 2, waiting_most: 9 };
        let mut s = Scene::new(limits);
        for (what, id, tid, first, n) in steps {
            let id = format!("c{id}");
            match what {
                0 => s.birth(&id, WORKLOAD),
                1 | 2 => s.calls(&id, tid, first, n),
                3 => s.death(&id),
                4 => s.wait(first.min(400_000)),
                _ => drop(s.judge("v1", n as f64 / 20.0)),
            }
            let threads: usize = s.registry.containers.values().map(|e| e.threads.len()).sum();
            prop_assert_eq!(threads, s.registry.threads);
            prop_assert!(s.known() <= 6 && threads <= 10);
            prop_assert_eq!(s.registry.nodes.values().map(|n| n.containers).sum::<usize>(), s.known());
            prop_assert_eq!(s.registry.waiting, s.jobs.len());
            prop_assert!(s.jobs.len() <= 9);
            for score in s.registry.changed_since(None, 0) {
                prop_assert!((0.0..=1.0).contains(&score.loss_ratio));
                prop_assert!(score.evidence.len() <= 3);
            }
        }
    }
}
