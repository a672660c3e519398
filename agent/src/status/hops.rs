//! The stages' counts as hops, in the order of the flow. Pure.
//!
//! In: counts, taken at one moment. Out: [`v1::Hop`]s that balance. Never: counts itself.

use crate::{
    attribute::HELD_MAX,
    capture::stats::Stats,
    uplink::{
        Line,
        queue::{BATCH_BYTES, IN_FLIGHT_MAX},
    },
};
use surprisal_proto::v1;

/// `jsonl`: calls in, written, dropped.
pub(super) fn hops(s: &Stats, ring_bytes: u32, line: Option<&Line>, jsonl: Option<(u64, u64, u64)>) -> Vec<v1::Hop> {
    let (a, b) = (&s.attribution, &s.balance);
    let mut hops = vec![
        v1::Hop {
            held: b.issued.saturating_sub(b.delivered + b.lost),
            capacity_bytes: Some(u64::from(ring_bytes)),
            when_full: "drops the new".into(),
            // Those of containers that nobody wants have no account: they are what was read of them.
            ..hop("kernel buffer", "calls", b.issued + a.calls_unfollowed, a.calls_in, &[("ring_full", b.lost)])
        },
        v1::Hop {
            when_full: "holds nothing".into(),
            ..hop("decode", "records", s.records, s.records - s.damaged, &[("damaged", s.damaged)])
        },
        v1::Hop {
            held: s.held.calls,
            held_bytes: Some(s.held.bytes as u64),
            capacity_bytes: Some(HELD_MAX as u64),
            when_full: "goes on without names".into(),
            ..hop(
                "attribution",
                "calls",
                a.calls_in,
                a.calls_out,
                &[("unselected", a.calls_unselected), ("container_table_full", a.calls_refused)],
            )
        },
    ];
    if let Some(line) = line {
        let c = line.counts;
        hops.push(v1::Hop {
            held: c.waiting - c.in_flight,
            held_bytes: Some(line.queue_bytes),
            capacity_bytes: Some(line.queue_capacity_bytes),
            when_full: "drops the oldest".into(),
            ..hop(
                "queue",
                "calls",
                c.pushed,
                c.acknowledged + c.in_flight,
                &[("queue_full", c.dropped), ("byte_budget", c.left_out)],
            )
        });
        hops.push(v1::Hop {
            held: c.in_flight,
            capacity_bytes: Some((IN_FLIGHT_MAX * BATCH_BYTES) as u64),
            when_full: "the queue waits".into(),
            ..hop("wire", "calls", c.acknowledged + c.in_flight, c.acknowledged, &[])
        });
    }
    if let Some((taken, written, dropped)) = jsonl {
        hops.push(v1::Hop {
            held: taken.saturating_sub(written + dropped),
            when_full: "capture waits".into(),
            ..hop("jsonl", "calls", taken, written, &[("write_failed", dropped)])
        });
    }
    hops
}

fn hop(name: &str, unit: &str, taken_in: u64, passed_on: u64, dropped: &[(&str, u64)]) -> v1::Hop {
    v1::Hop {
        name: name.into(),
        unit: unit.into(),
        taken_in,
        passed_on,
        dropped: dropped.iter().map(|(reason, count)| v1::Drop { reason: (*reason).into(), count: *count }).collect(),
        ..v1::Hop::default()
    }
}
