//! What a tracked container and a thread take in memory, measured: a test process of its own, so that nothing else is counted.
#![forbid(unsafe_code)]

use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use surprisal_proto::{names, token::Token, v1};
use surprisal_scorer::containers::registry::{Now, Registry};
use surprisal_scorer::containers::thread::THREAD_BYTES;
use surprisal_scorer::containers::{entry::CONTAINER_BYTES, job::Job, limits::Limits};
use surprisal_scorer::detect::evidence::{Evidence, Surprise};
use surprisal_scorer::detect::names::{Heard, Seen};
use surprisal_scorer::detect::{detector::Finding, score::Score};
use surprisal_scorer::judge::threshold::{Judge, Source, Threshold};
use surprisal_scorer::metrics::Metrics;

const NODES: usize = 20;
const CONTAINERS: usize = 150;
const THREADS: usize = 60;
const WORKLOAD: &str = "namespace/deployment/container";
/// A call of each telling kind; the first six change a process.
const TELLING: [&str; 11] = [
    "execve",
    "bpf:6",
    "ptrace:17",
    "setuid:1",
    "mount",
    "memfd_create:2",
    "connect",
    "dup2:2",
    "openat:15",
    "clone:1",
    "kill:10",
];
const PLAIN: Token = Token(0);

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("VmRSS");
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).expect("a number") * 1024
}

struct Scene {
    registry: Registry,
    now: Now,
}

impl Scene {
    fn take(&mut self, node: usize, batch: v1::Batch) {
        self.registry.take(&format!("node-{node}").into(), batch.into(), self.now);
    }

    /// A batch of each container of each node; what it completes is judged at once, so that the queue stays empty, as strangely as
    /// evidence can be, `call` most of all. Says how many windows that were.
    fn each(&mut self, nats: f64, call: Token, make: impl Fn(String) -> v1::Batch) -> usize {
        let mut judged = 0;
        for node in 0..NODES {
            for n in 0..CONTAINERS {
                self.take(node, make(format!("{n:064x}")));
                for job in self.registry.hand_out(self.now) {
                    judged += 1;
                    self.registry.judged(&job, Some(finding(&job, nats, call)), self.now);
                }
            }
        }
        judged
    }
}

/// With `call` as the most surprising one.
fn finding(job: &Job, nats: f64, call: Token) -> Finding {
    let surprise = |index| Surprise { index, nats, times: 1, never_seen: true, expected: vec![(Token(1), 0.1); 3] };
    let score = Score::new(nats);
    let mut window = job.window.clone();
    window.calls[0] = call;
    let evidence = Evidence { window, score, novelty: 1.0, surprises: (0..5).map(surprise).collect() };
    Finding { score, evidence, version: "v1".into() }
}

fn calls(id: &str, tid: usize, first: usize, n: usize) -> v1::Calls {
    let tid = tid as u32;
    let tokens = vec![1; 2 * n];
    v1::Calls {
        container_id: id.into(),
        tgid: tid,
        tid,
        process: "a-process-name1".into(),
        first_sequence: first as u64,
        tokens,
        ..v1::Calls::default()
    }
}

#[test]
fn containers_and_threads_take_no_more_than_is_said() {
    let mut registry = Registry::new(Limits::default(), Metrics::default());
    let threshold = Threshold::try_from(0.5).expect("positive");
    let mut heard = Heard::default();
    heard.add(names::parse("openat:1").expect("a call"), "/known", false, 0);
    let seen = Some(Arc::new(Seen { known: heard.known(1000), container_seconds: 60.0 }));
    let judge = Judge { version: "v1".into(), threshold, source: Source::Profile, seen };
    registry.set_judges(HashMap::from([(WORKLOAD.to_owned(), judge)]));
    let mut s = Scene { registry, now: Now { mono: Duration::from_mins(1), wall: Timestamp::UNIX_EPOCH } };
    for node in 0..NODES {
        let node: Arc<str> = format!("node-{node}").into();
        s.registry.connected(&node, s.now);
    }
    let all = (NODES * CONTAINERS) as u64;
    let start = resident();
    s.each(0.0, PLAIN, |id| {
        let text = |n: usize| "x".repeat(n);
        let about = v1::Container {
            id,
            namespace: text(60),
            pod: text(60),
            pod_uid: text(36),
            name: text(60),
            image: text(120),
            runtime_namespace: text(6),
            workload: WORKLOAD.into(),
            ..v1::Container::default()
        };
        v1::Batch { births: vec![v1::Birth { container: Some(about) }], ..v1::Batch::default() }
    });
    let born = resident();
    // Threads, each with a window that lacks one call, after a whole one whose last calls are its context.
    let threads =
        |id: String| v1::Batch { calls: (0..THREADS).map(|tid| calls(&id, tid, 0, 127)).collect(), ..v1::Batch::default() };
    assert_eq!(s.each(9e3, PLAIN, threads), NODES * CONTAINERS * THREADS);
    let threaded = resident();
    // Evidence: of each kind a window, above the threshold and, where that counts, below; and each second a score that is lower than
    // that of the second before, so that all of it may still be needed.
    let mut first = 127;
    let mut next = |s: &mut Scene, nats: f64, call: Token| {
        // Names of the calls that are shown, and others, all new and long; no two of a container are the same.
        let next = |id: String| {
            let name = |n: usize| v1::Name {
                container_id: id.clone(),
                sequence: (first + n) as u64,
                token: names::parse(["execve", "openat:1", "openat:15", "connect", "bind"][n % 5]).expect("a call").0.into(),
                text: format!("/{first}/{n}/{}", "n".repeat(400)),
                ..v1::Name::default()
            };
            v1::Batch { names: (0..8).map(name).collect(), calls: vec![calls(&id, 0, first, 64)], ..v1::Batch::default() }
        };
        assert_eq!(s.each(nats, call, next), NODES * CONTAINERS);
        first += 64;
    };
    for (nats, calls) in [(1.0, &TELLING[..]), (0.1, &TELLING[..6])] {
        for call in calls {
            next(&mut s, nats, names::parse(call).expect("a call"));
        }
    }
    for second in 1..=30 {
        s.now.mono += Duration::from_secs(1);
        next(&mut s, 9e3 - f64::from(second), PLAIN);
    }
    let full = resident();
    let threads = threaded.saturating_sub(born) / (all * THREADS as u64);
    let (bare, most) = (born.saturating_sub(start) / all, (full.saturating_sub(threaded) + born.saturating_sub(start)) / all);
    eprintln!("a container: {bare} bytes without evidence, {most} with as much as can be; a thread: {threads} bytes");
    // Names of 4 KiB instead of 400 bytes are what is missing of the most that can be.
    assert!(most + 4_096 <= CONTAINER_BYTES as u64, "{most} bytes a container");
    assert!(threads <= THREAD_BYTES as u64, "{threads} bytes a thread");
    assert!(bare > 500 && most > bare && threads > 200, "what was measured is not what was to be measured");
}
