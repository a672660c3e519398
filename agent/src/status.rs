//! The line's balance on this node: what came into each hop, where it went, what is held.
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
//! Memory: [`Bounds`] says what may be held in user space at most, all containers together: with the defaults 184 MiB, most of
//! it for names of a length that no runtime gives. In the kernel a followed thread has a buffer of 584 bytes for as long as it lives, and
//! the tables of containers are of a fixed size.

mod agent;
pub mod ask;
pub mod containers;
mod hops;

pub use agent::{Agent, Bounds, Program};

use crate::{
    bpf::Runs,
    capture::{listing::Listing, stats},
    jsonl,
    kubernetes::Directory,
    uplink,
};
use jiff::Timestamp;
use surprisal_proto::{status, time, v1};

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
    /// Its containers.
    pub containers: Listing,
    /// What Kubernetes says.
    pub directory: Directory,
    /// The uplink, if there is one.
    pub uplink: Option<uplink::View>,
    /// The JSON Lines file, if there is one.
    pub jsonl: Option<jsonl::View>,
}

impl Sources {
    /// As `/status` answers.
    pub fn json(&self) -> serde_json::Value {
        let capture = self.capture.get();
        let line = self.uplink.as_ref().map(uplink::View::line);
        let jsonl = self.jsonl.as_ref().map(jsonl::View::counts);
        let status = v1::GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: Some(time::to_wire(self.started_at)),
            hops: hops::hops(&capture, self.ring_bytes, line.as_ref(), jsonl),
            nodes: Vec::new(),
        };
        let bounds = Bounds::new(self.ring_bytes, line.as_ref().map_or(0, |l| l.queue_capacity_bytes));
        let runs = capture.runs.iter().flatten();
        let agent = Agent {
            node: self.node.clone(),
            containers: capture.containers as u64,
            threads: capture.threads as u64,
            kubernetes: self.directory.report(),
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

#[cfg(test)]
mod tests;
