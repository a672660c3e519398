//! What only an agent says of itself.
//!
//! In: counts, bounds of the stages. Out: an [`Agent`], written by `/status` and read by `status`. Never: counts itself.

use crate::{
    attribute::{CONTAINER_BYTES, CONTAINERS_MAX, HELD_MAX, THREADS_MAX},
    kubernetes::{POD_BYTES, PODS_MAX, Report},
    sequence::THREAD_BYTES,
    uplink::Line,
};
use serde::{Deserialize, Serialize};
use surprisal_proto::packed::PACKER_BYTES;

/// What only an agent says of itself.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Agent {
    /// This node's name.
    pub node: String,
    /// Containers followed now.
    pub containers: u64,
    /// Threads followed now.
    pub threads: u64,
    /// How it goes with the Kubernetes API.
    #[serde(default)]
    pub kubernetes: Report,
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
    /// What Kubernetes said of this node's pods.
    #[serde(default)]
    pub kubernetes_bytes: u64,
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
    pub(super) fn new(ring_bytes: u32, queue_bytes: u64) -> Self {
        let mut bounds = Self {
            containers: CONTAINERS_MAX as u64,
            container_bytes: CONTAINER_BYTES as u64,
            threads: THREADS_MAX as u64,
            thread_bytes: THREAD_BYTES as u64,
            held_bytes: HELD_MAX as u64,
            kubernetes_bytes: (PODS_MAX * POD_BYTES) as u64,
            ring_bytes: u64::from(ring_bytes),
            queue_bytes,
            packer_bytes: if queue_bytes > 0 { PACKER_BYTES as u64 } else { 0 },
            total_bytes: 0,
        };
        bounds.total_bytes = bounds.containers * bounds.container_bytes
            + bounds.threads * bounds.thread_bytes
            + bounds.held_bytes
            + bounds.kubernetes_bytes
            + bounds.ring_bytes
            + bounds.queue_bytes
            + bounds.packer_bytes;
        bounds
    }
}
