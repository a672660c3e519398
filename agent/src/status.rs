//! The line's balance on this node: what came into each hop, where it went, what is there.
//!
//! In: the stages' own counts, when somebody asks. Out: [`v1::Hop`]s in the order of the flow, as JSON (`/status`, see
//! [`crate::admin`]) in the shape of [`surprisal_proto::status`], with what only an agent has under `agent`. Never: counts
//! itself.
//!
//! | hop | unit | full |
//! |---|---|---|
//! | kernel buffer | calls | drops the new (`ring_full`) |
//! | decode | records | holds nothing; a damaged record is skipped |
//! | attribution | calls | goes on under the bare id; over the table's bound drops (`container_table_full`) |
//! | queue | calls | drops the oldest (`queue_full`); what is not on air costs nothing (`byte_budget`) |
//! | wire | calls | the queue waits; what a broken connection did not bring is the queue's again |
//! | jsonl | calls | capture waits for the disk; a failed write is counted (`write_failed`) |
//!
//! The hops of the capture thread are as it published them, at most a second ago. The queue and the file each get all that
//! attribution passes on.
//!
//! Memory: [`Bounds`] says what may be held in user space at most, all containers together: with the defaults 160 MiB, most of
//! it for names that no runtime gives. In the kernel a followed thread has a buffer of 584 bytes for as long as it lives, and
//! the tables of containers are of a fixed size.

pub mod ask;

use crate::{
    attribute::{CONTAINER_BYTES, CONTAINERS_MAX, HELD_MAX, THREADS_MAX},
    bpf::Runs,
    capture::stats::{self, Stats},
    container::wire_time,
    jsonl,
    sequence::THREAD_BYTES,
    uplink::{
        self, Line,
        queue::{BATCH_BYTES, IN_FLIGHT_MAX},
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use surprisal_proto::{packed::PACKER_BYTES, status, v1};

/// Where the stages' counts are.
#[derive(Clone, Debug)]
pub struct Sources {
    /// This node's name.
    pub node: String,
    /// When the agent began.
    pub started_at: Timestamp,
    /// Size of the kernel's ring buffer, bytes.
    pub ring_bytes: u32,
    /// The capture thread.
    pub capture: stats::Shared,
    /// The uplink, if there is one.
    pub uplink: Option<uplink::View>,
    /// The JSON Lines file, if there is one.
    pub jsonl: Option<jsonl::View>,
}

/// What only an agent says of itself.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Agent {
    /// This node's name.
    pub node: String,
    /// Containers followed now.
    pub containers: u64,
    /// Threads followed now.
    pub threads: u64,
    /// The uplink; absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<Line>,
    /// Runs of the kernel side's programs; empty: not counted (`--bpf-stats`).
    #[serde(default)]
    pub programs: Vec<Program>,
    /// What may be held at most.
    pub bounds: Bounds,
}

/// Runs of one program of the kernel side.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Runs.
    pub runs: u64,
    /// Their time, nanoseconds.
    pub nanoseconds: u64,
}

/// Most memory held in user space and in the ring, bytes where nothing else is said.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Bounds {
    /// Containers followed.
    pub containers: u64,
    /// Of each.
    pub container_bytes: u64,
    /// Threads followed, all containers together.
    pub threads: u64,
    /// Of each.
    pub thread_bytes: u64,
    /// Calls that wait for names.
    pub held_bytes: u64,
    /// The kernel's ring buffer.
    pub ring_bytes: u64,
    /// What the scorer has not taken.
    pub queue_bytes: u64,
    /// The connection's zstd stream.
    pub packer_bytes: u64,
    /// All of it.
    pub total_bytes: u64,
}

impl Bounds {
    fn new(ring_bytes: u32, queue_bytes: u64) -> Self {
        let mut bounds = Self {
            containers: CONTAINERS_MAX as u64,
            container_bytes: CONTAINER_BYTES as u64,
            threads: THREADS_MAX as u64,
            thread_bytes: THREAD_BYTES as u64,
            held_bytes: HELD_MAX as u64,
            ring_bytes: u64::from(ring_bytes),
            queue_bytes,
            packer_bytes: if queue_bytes > 0 { PACKER_BYTES as u64 } else { 0 },
            total_bytes: 0,
        };
        bounds.total_bytes = bounds.containers * bounds.container_bytes
            + bounds.threads * bounds.thread_bytes
            + bounds.held_bytes
            + bounds.ring_bytes
            + bounds.queue_bytes
            + bounds.packer_bytes;
        bounds
    }
}

impl Sources {
    /// As `/status` answers.
    pub fn json(&self) -> serde_json::Value {
        let capture = self.capture.get();
        let line = self.uplink.as_ref().map(uplink::View::line);
        let jsonl = self.jsonl.as_ref().map(jsonl::View::counts);
        let status = v1::GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: Some(wire_time(self.started_at)),
            hops: hops(&capture, self.ring_bytes, line.as_ref(), jsonl),
            nodes: Vec::new(),
        };
        let bounds = Bounds::new(self.ring_bytes, line.as_ref().map_or(0, |l| l.queue_capacity_bytes));
        let runs = capture.runs.iter().flatten();
        let agent = Agent {
            node: self.node.clone(),
            containers: capture.containers as u64,
            threads: capture.threads as u64,
            line,
            programs: runs
                .map(|Runs { program, count, nanoseconds }| Program {
                    name: (*program).to_owned(),
                    runs: *count,
                    nanoseconds: *nanoseconds,
                })
                .collect(),
            bounds,
        };
        let mut value = status::json(&status);
        // Strings and numbers under string keys: there is nothing that JSON could not say.
        value["agent"] = serde_json::to_value(agent).unwrap_or_default();
        value
    }
}

fn hops(s: &Stats, ring_bytes: u32, line: Option<&Line>, jsonl: Option<(u64, u64, u64)>) -> Vec<v1::Hop> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        attribute::{Balance, Held, Totals},
        uplink::Counts,
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
        let hops = hops(&stats(), 4096, Some(&line()), Some((100, 90, 4)));
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
            uplink: None,
            jsonl: None,
        };
        let text = sources.json().to_string();
        assert_eq!(status::parse(&text).expect("the shape of a status").hops.len(), 3);
        let agent: Agent = serde_json::from_value(sources.json()["agent"].clone()).expect("an agent's own");
        assert_eq!((agent.node.as_str(), agent.line, agent.programs.len()), ("n", None, 0));
        assert_eq!(agent.bounds.queue_bytes, 0);
        // As the module says, and within the limit that deploy/ gives.
        assert_eq!(Bounds::new(8 << 20, 16 << 20).total_bytes >> 20, 160);
    }
}
