use super::*;
use crate::{
    attribute::{Balance, Held, Totals},
    capture::stats::Stats,
    uplink::{Counts, Line},
};
use surprisal_proto::status::imbalance;

fn line() -> Line {
    Line {
        connected: true,
        counts: Counts { pushed: 100, acknowledged: 50, dropped: 10, left_out: 15, waiting: 25, in_flight: 5 },
        queue_bytes: 1000,
        queue_capacity_bytes: 131_072,
        sent_bytes: 10,
        received_bytes: 3,
        bytes_per_call: Some(0.2),
        bytes_per_second: 7.0,
        byte_budget: 4096,
        sampled: vec![("c1".into(), 0.4)],
    }
}

fn stats() -> Stats {
    let attribution = Totals {
        calls_in: 120,
        calls_unfollowed: 10,
        calls_unselected: 12,
        calls_refused: 3,
        calls_out: 100,
        ..Totals::default()
    };
    Stats {
        records: 9,
        damaged: 1,
        attribution,
        balance: Balance { issued: 130, delivered: 110, lost: 4 },
        held: Held { calls: 5, bytes: 77 },
        ..Stats::default()
    }
}

#[test]
fn every_hop_balances_and_what_one_passes_on_the_next_takes_in() {
    let hops = hops::hops(&stats(), 4096, Some(&line()), Some((100, 90, 4)));
    for hop in &hops {
        assert_eq!(imbalance(hop), 0, "{hop:?}");
    }
    let names: Vec<_> = hops.iter().map(|h| h.name.as_str()).collect();
    assert_eq!(names, ["kernel buffer", "decode", "attribution", "queue", "wire", "jsonl"]);
    for (from, to) in [(0, 2), (2, 3), (3, 4), (2, 5)] {
        assert_eq!(hops[from].passed_on, hops[to].taken_in, "{} to {}", hops[from].name, hops[to].name);
    }
}

#[test]
fn what_is_said_is_read_again() {
    let capture = stats::Shared::default();
    capture.publish(stats());
    let sources = Sources {
        node: "n".into(),
        started_at: Timestamp::UNIX_EPOCH,
        ring_bytes: 8 << 20,
        capture,
        containers: Listing::default(),
        directory: Directory::default(),
        uplink: None,
        jsonl: None,
    };
    let text = sources.json().to_string();
    assert_eq!(status::parse(&text).expect("the shape of a status").hops.len(), 3);
    let agent: Agent = serde_json::from_value(sources.json()["agent"].clone()).expect("an agent's own");
    assert_eq!((agent.node.as_str(), agent.line, agent.programs.len()), ("n", None, 0));
    assert_eq!(agent.bounds.queue_bytes, 0);
    // As the module says, and within the limit that deploy/ gives.
    assert_eq!(Bounds::new(8 << 20, 16 << 20).total_bytes >> 20, 184);
}
