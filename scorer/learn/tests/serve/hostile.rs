//! An agent that means harm: what it sends is bounded and counted, and those beside it notice nothing.

use crate::agent::{Agent, birth, calls};
use crate::load::{serve, start};
use crate::scorer::{PATIENCE, Scorer, profiles};
use std::time::{Duration, Instant};
use surprisal_proto::packed::Packer;
use surprisal_proto::status::imbalance;
use surprisal_proto::v1::{self, stream_request::Message as Say};
use surprisal_scorer::containers::{entry::CONTAINER_BYTES, limits::Limits, thread::THREAD_BYTES};
use surprisal_scorer::ingest::stream::{MESSAGE_MAX, STREAM_BYTES};
use tonic::Code;

/// Containers, threads and births that it makes up.
const MILLION: usize = 1_000_000;
/// Of them in one batch.
const EACH: usize = 10_000;

fn hop(status: &v1::GetStatusResponse, name: &str) -> v1::Hop {
    status.hops.iter().find(|h| h.name == name).unwrap_or_else(|| panic!("no {name} in {status:#?}")).clone()
}

fn dropped(hop: &v1::Hop, reason: &str) -> u64 {
    hop.dropped.iter().find(|d| d.reason == reason).map_or(0, |d| d.count)
}

/// A run of two calls.
fn run(id: &str, tid: u32) -> v1::Calls {
    v1::Calls { container_id: id.into(), tgid: tid, tid, tokens: vec![1, 0, 2, 0], ..v1::Calls::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_agent_is_bounded_and_the_others_notice_nothing() {
    let dir = profiles();
    let scorer = Scorer::start(dir.path(), &[]);
    let mut good = Agent::connect(&scorer.url, "good").await;
    good.serves("c1", 7, 2_000).await;
    let before = scorer.resident();
    let mut evil = Agent::of_node(&scorer.url, "evil", "one").await;

    // A million ids, born and called.
    for n in 0..MILLION / EACH {
        let ids: Vec<_> = (0..EACH).map(|i| format!("{:064x}", n * EACH + i)).collect();
        let births = ids.iter().map(|id| birth(id)).collect();
        evil.send(v1::Batch { births, calls: ids.iter().take(100).map(|id| run(id, 1)).collect(), ..v1::Batch::default() }).await;
    }
    // A million threads of one container.
    let id = format!("{:064x}", 0);
    for n in 0..MILLION / EACH {
        let threads = (0..EACH).map(|i| run(&id, (n * EACH + i) as u32)).collect();
        evil.send(v1::Batch { calls: threads, ..v1::Batch::default() }).await;
    }
    // Sent again, and out of order.
    let last = evil.sequence;
    for sequence in [1, last, 5] {
        let again = v1::Batch { sequence, calls: vec![run(&id, 1)], ..v1::Batch::default() };
        assert_eq!(evil.says(Say::Batch(again)).await, Ok(sequence));
    }
    assert_eq!(evil.says(Say::Batch(v1::Batch { sequence: last + 1_000, ..v1::Batch::default() })).await, Ok(last + 1_000));
    assert_eq!(evil.says(Say::Batch(v1::Batch { sequence: last + 1, ..v1::Batch::default() })).await, Ok(last + 1));
    // What ends a stream, each on a new one.
    let bomb = v1::Batch { calls: vec![v1::Calls { tokens: vec![7; 64 << 20], ..v1::Calls::default() }], ..v1::Batch::default() };
    let bomb = Packer::new().pack(&bomb).expect("packed");
    let large =
        v1::Batch { calls: vec![v1::Calls { tokens: vec![7; MESSAGE_MAX], ..v1::Calls::default() }], ..v1::Batch::default() };
    let many = v1::Batch { sequence: last + 2_000, deaths: vec![v1::Death::default(); 100_000], ..v1::Batch::default() };
    for (message, expect) in [
        (Say::Packed(bomb), Code::InvalidArgument),
        (Say::Packed(vec![0xff; 1_000]), Code::InvalidArgument),
        (Say::Batch(v1::Batch::default()), Code::InvalidArgument),
        (Say::Batch(many), Code::InvalidArgument),
        (Say::Batch(large), Code::ResourceExhausted),
    ] {
        let mut evil = Agent::of_node(&scorer.url, "evil", "one").await;
        assert_eq!(evil.says(message).await, Err(expect));
    }
    // Streams without end.
    let mut streams = Vec::new();
    let refused = loop {
        let (say, hear) =
            crate::agent::open(&scorer.url, Some(Say::Hello(v1::Hello { node: "evil".into(), ..crate::agent::hello("x") })))
                .await
                .expect("a stream");
        streams.push((say, hear));
        let (_, hear) = streams.last_mut().expect("just pushed");
        match hear.message().await {
            Ok(_) => assert!(streams.len() < 100, "streams of one node have no bound"),
            Err(status) => break status.code(),
        }
    };
    assert_eq!(refused, Code::ResourceExhausted);

    let limits = Limits::default();
    let most = limits.containers_per_node * CONTAINER_BYTES + limits.threads_per_container * THREAD_BYTES + 10 * STREAM_BYTES;
    // Half as much again: an allocator gives back what it likes.
    let grown = scorer.resident().saturating_sub(before);
    assert!(grown < (most + most / 2) as u64, "{grown} bytes more, {most} are said to be the most");

    // The good one goes on as if nothing had been.
    let more = [start(), serve(9, 2_000)].concat();
    good.send(v1::Batch { calls: vec![calls("c1", 11, "redis-server", 0, &more)], ..v1::Batch::default() }).await;
    let deadline = Instant::now() + PATIENCE;
    let windows = 2 * more.len().div_ceil(64) as u64;
    let score = loop {
        let score = scorer.json(&["scores", "get", "--id", "c1", "--node", "node-1"]);
        if score["windows"].as_u64() >= Some(windows) {
            break score;
        }
        assert!(Instant::now() < deadline, "{score:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(
        (score["verdict"].as_str(), score["loss_ratio"].as_f64(), score["judged_ratio"].as_f64()),
        (Some("normal"), Some(0.0), None)
    );

    let status = scorer.status();
    for hop in &status.hops {
        assert_eq!(imbalance(hop), 0, "{hop:#?}");
    }
    let (ingest, windows) = (hop(&status, "ingest"), hop(&status, "windows"));
    assert_eq!((dropped(&ingest, "duplicate"), dropped(&ingest, "malformed")), (4, 4));
    let sent = (MILLION / EACH * 100 + MILLION) as u64 * 2 + 2 * more.len() as u64;
    assert_eq!(windows.taken_in, sent);
    assert!(dropped(&windows, "containers_full") > 0 && dropped(&windows, "threads_full") > 2 * 900_000, "{windows:#?}");
    let nodes: Vec<_> = status.nodes.iter().map(|n| (n.node.as_str(), n.containers)).collect();
    assert_eq!(nodes, [("evil", 4_096), ("node-1", 1)]);
    let table = scorer.ask(&["status"]);
    assert!(String::from_utf8_lossy(&table.stdout).contains("threads_full"));
}
