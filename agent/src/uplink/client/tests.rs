mod scorer;

use super::*;
use crate::{
    container::{ContainerInfo, ContainerKey, Kind, Names},
    record::{Record, Run},
    uplink::{Counts, Sender, uplink},
};
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use scorer::{Scorer, Taken};
use std::{collections::HashMap, net::SocketAddr};
use tokio::task::JoinHandle;
use tonic::Code;

fn info() -> Arc<ContainerInfo> {
    let names = Names { kind: Kind::Container, ..Names::default() };
    Arc::new(ContainerInfo::named(ContainerKey(1), "n".into(), "c1".parse().expect("an id"), names, None))
}

fn calls(seq: u64, n: u64) -> Record {
    let tokens = (seq..seq + n).map(|t| t as u16).collect();
    let run = Run {
        tgid: 1,
        tid: 1,
        process: "p".into(),
        first_seq: seq,
        started: Timestamp::UNIX_EPOCH,
        gap: 0,
        tokens,
        last: false,
        by_exec: false,
    };
    Record::Calls { container: info(), run }
}

struct Agent {
    sender: Sender,
    stop: CancellationToken,
    task: JoinHandle<Undelivered>,
}

impl Agent {
    fn start(address: SocketAddr, queue_bytes: usize) -> Self {
        Self::with_budget(address, queue_bytes, 0)
    }

    fn with_budget(address: SocketAddr, queue_bytes: usize, byte_budget: u64) -> Self {
        let options = Options {
            scorer: format!("http://{address}"),
            node: "n".into(),
            queue_bytes,
            flush_interval: Duration::from_millis(5),
            byte_budget,
            names: true,
        };
        let (sender, client) = uplink(options, &mut Registry::default()).expect("an address");
        let stop = CancellationToken::new();
        let task = tokio::spawn(client.run(stop.clone(), Duration::from_mins(1)));
        Self { sender, stop, task }
    }

    async fn stop(self) -> (Undelivered, Counts) {
        self.stop.cancel();
        (self.task.await.expect("no panic"), self.sender.counts())
    }
}

/// Every call that was taken, in the order it was taken in.
fn tokens(taken: &Taken) -> Vec<u16> {
    let bytes = taken.batches.iter().flat_map(|b| &b.calls).flat_map(|c| c.tokens.chunks_exact(2));
    bytes.map(|b| u16::from_le_bytes([b[0], b[1]])).collect()
}

fn dropped(taken: &Taken) -> u64 {
    taken.batches.iter().map(|b| b.dropped_before).sum()
}

#[tokio::test]
async fn everything_arrives_in_order_and_the_agent_stops_clean() {
    let scorer = Scorer::new();
    let running = scorer.serve(None).await;
    let agent = Agent::start(running.address, 1 << 20);
    agent.sender.push(&Record::Birth(info()));
    for n in 0..100 {
        agent.sender.push(&calls(n * 10, 10));
    }
    assert_eq!(agent.stop().await, (Undelivered::default(), Counts { pushed: 1000, acknowledged: 1000, ..Counts::default() }));
    scorer.with(|t| {
        assert_eq!(tokens(t), (0..1000).collect::<Vec<u16>>());
        assert_eq!(t.batches[0].births[0].container.as_ref().map(|c| c.id.as_str()), Some("c1"));
    });
    running.kill();
}

#[tokio::test]
async fn batches_are_packed_where_the_scorer_takes_that_and_their_bytes_are_counted() {
    let mut sent = Vec::new();
    for plain in [true, false] {
        let scorer = Scorer::new();
        scorer.with(|t| t.plain = plain);
        let running = scorer.serve(None).await;
        let agent = Agent::start(running.address, 16 << 20);
        agent.sender.push(&Record::Birth(info()));
        for n in 0..200 {
            // The same 250 calls, over and over.
            let Record::Calls { container, mut run } = calls(0, 250) else { unreachable!("they are calls") };
            run.first_seq = n * 250;
            agent.sender.push(&Record::Calls { container, run });
        }
        scorer.until(|t| tokens(t).len() == 50_000).await;
        let bytes = agent.sender.shared.metrics.bytes_on_the_wire.clone();
        assert_eq!(agent.stop().await.0.calls, 0);
        assert_eq!(scorer.with(|t| t.packed > 0), !plain);
        assert!(bytes.received.get() > 0);
        sent.push(bytes.sent.get());
        running.kill();
    }
    assert!(sent[0] > 100_000 && sent[1] < sent[0] / 20, "{sent:?} bytes, plain and packed");
}

#[tokio::test]
async fn a_scorer_that_comes_late_gets_what_the_queue_held_and_is_told_the_rest() {
    // A port that nobody listens on.
    let address = Scorer::new().serve(None).await.kill();
    let agent = Agent::start(address, 0);
    agent.sender.push(&Record::Birth(info()));
    let total = 200_000;
    for n in 0..total / 1000 {
        agent.sender.push(&calls(n * 1000, 1000));
    }
    let before = agent.sender.counts();
    assert_eq!(before.pushed, total);
    assert!(before.dropped > 0, "the queue is too small for this");

    let scorer = Scorer::new();
    let running = scorer.serve(Some(address)).await;
    let (left, counts) = agent.stop().await;
    assert_eq!((left.calls, counts.waiting), (0, 0));
    scorer.with(|t| {
        let tokens = tokens(t);
        assert_eq!(tokens.len() as u64, counts.acknowledged);
        assert_eq!(dropped(t), counts.dropped);
        assert_eq!(tokens.len() as u64 + dropped(t), total);
        let newest: Vec<u16> = (counts.dropped..total).map(|t| t as u16).collect();
        assert_eq!(tokens, newest, "the newest, in order");
        assert_eq!(t.batches[0].births.len(), 1, "its name survived the drop");
    });
    running.kill();
}

#[tokio::test]
async fn a_scorer_that_restarts_gets_each_batch_once() {
    let scorer = Scorer::new();
    let mut running = scorer.serve(None).await;
    let agent = Agent::start(running.address, 16 << 20);
    agent.sender.push(&Record::Birth(info()));
    let mut sent = 0;
    for round in 0..3u64 {
        // The last round before each kill is taken without an acknowledgement: it comes again.
        scorer.with(|t| t.silent = false);
        for silent in [false, true] {
            scorer.with(|t| t.silent = silent);
            for _ in 0..50 {
                agent.sender.push(&calls(sent, 20));
                sent += 20;
            }
            scorer.until(|t| tokens(t).len() as u64 >= sent).await;
        }
        let address = running.kill();
        agent.sender.push(&calls(sent, 7));
        sent += 7;
        scorer.with(|t| {
            t.silent = false;
            // The scorer's own memory of batches may be gone, too; then what was not acknowledged comes twice.
            assert_eq!(tokens(t).len() as u64, sent - 7, "round {round}");
        });
        running = scorer.serve(Some(address)).await;
        scorer.until(|t| tokens(t).len() as u64 >= sent).await;
    }
    let (left, counts) = agent.stop().await;
    assert_eq!((left.calls, counts), (0, Counts { pushed: sent, acknowledged: sent, ..Counts::default() }));
    scorer.with(|t| {
        assert_eq!(tokens(t), (0..sent).map(|t| t as u16).collect::<Vec<_>>(), "in order, none twice");
        let births = t.batches.iter().filter(|b| !b.births.is_empty()).count();
        assert_eq!(births, 4, "named at first and after each restart");
    });
    running.kill();
}

/// A load that is many times the budget, then one within it: all is counted, announced, and whole again.
#[tokio::test]
async fn over_the_byte_budget_containers_take_turns_and_the_line_recovers() {
    const QUIET: Duration = Duration::from_millis(20);
    let scorer = Scorer::new();
    let running = scorer.serve(None).await;
    let agent = Agent::with_budget(running.address, 16 << 20, 20_000);
    let [a, b] = ["a", "b"].map(|id| {
        let names = Names { kind: Kind::Container, ..Names::default() };
        Arc::new(ContainerInfo::named(ContainerKey(1), "n".into(), id.parse().expect("an id"), names, None))
    });
    for container in [&a, &b] {
        agent.sender.push(&Record::Birth(container.clone()));
    }
    let mut seq = 0;
    let mut push = |n: u64, noise: &mut dyn FnMut() -> u16| {
        for container in [&a, &b] {
            let Record::Calls { mut run, .. } = calls(seq, n) else { unreachable!("they are calls") };
            run.tokens.iter_mut().for_each(|t| *t = noise());
            agent.sender.push(&Record::Calls { container: container.clone(), run });
        }
        seq += n;
    };
    let ratios = |t: &Taken| {
        let told = t.batches.iter().flat_map(|b| &b.observed);
        told.map(|o| (o.container_id.clone(), o.ratio)).collect::<HashMap<_, _>>()
    };
    // Noise cannot be packed: some 100 KB a second of each.
    let begun = tokio::time::Instant::now();
    while scorer.with(|t| ratios(t).values().filter(|r| **r < 1.0).count()) < 2 || agent.sender.counts().left_out == 0 {
        assert!(begun.elapsed() < Duration::from_mins(1), "nobody is sampled");
        push(1000, &mut || rand::random());
        sleep(QUIET).await;
    }
    // And now next to nothing.
    let begun = tokio::time::Instant::now();
    while scorer.with(|t| ratios(t).values().any(|r| *r < 1.0)) {
        assert!(begun.elapsed() < Duration::from_mins(1), "they are not whole again");
        push(1, &mut || 7);
        sleep(QUIET).await;
    }
    let left_out = agent.sender.counts().left_out;
    push(5, &mut || 7);
    assert_eq!(agent.sender.counts().left_out, left_out, "all is sent again");
    for container in [&a, &b] {
        let container = container.clone();
        agent.sender.push(&Record::Account {
            container,
            issued: 0,
            delivered: 0,
            lost_ring: 0,
            threads_untracked: 0,
            names_untold: 0,
            names_unread: 0,
        });
    }
    let (left, counts) = agent.stop().await;
    assert_eq!((left.calls, counts.dropped, counts.pushed), (0, 0, counts.acknowledged + counts.left_out));
    scorer.with(|t| {
        assert_eq!(tokens(t).len() as u64, counts.acknowledged);
        let told: u64 = t.batches.iter().flat_map(|b| &b.accounts).map(|a| a.dropped_budget).sum();
        assert_eq!(told, counts.left_out, "each container's account says what was left out of it");
    });
    running.kill();
}

#[tokio::test]
async fn a_refusal_is_tried_again_and_nothing_is_lost() {
    let scorer = Scorer::new();
    scorer.with(|t| t.refuse = Some(Code::FailedPrecondition));
    let running = scorer.serve(None).await;
    let agent = Agent::start(running.address, 1 << 20);
    agent.sender.push(&calls(0, 5));
    scorer.until(|t| t.refused >= 2).await;
    scorer.with(|t| t.refuse = None);
    scorer.until(|t| tokens(t).len() == 5).await;
    assert_eq!(agent.stop().await.0.calls, 0);
    running.kill();
}

#[tokio::test(start_paused = true)]
async fn without_a_scorer_the_grace_period_ends_it() {
    let options = Options {
        // Discard, on loopback: nobody answers, at once.
        scorer: "http://127.0.0.1:9".into(),
        node: "n".into(),
        queue_bytes: 0,
        flush_interval: Duration::from_millis(200),
        byte_budget: 0,
        names: true,
    };
    let (sender, client) = uplink(options, &mut Registry::default()).expect("an address");
    sender.push(&calls(0, 3));
    let stop = CancellationToken::new();
    stop.cancel();
    assert_eq!(client.run(stop, Duration::from_hours(1)).await, Undelivered { calls: 3 });
}
