//! Values are checked and given the types that the stages take.
//!
//! In: a [`File`] in which all layers are put together. Out: a [`Config`]. Never: changes a value.

use super::{error::Error, file::File};
use crate::{
    choice::{CaptureMethod, LogFormat},
    container::{Membership, Rule, Selection},
    jsonl, kubernetes,
    procfs::Monitors,
    uplink,
};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// What the agent was told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's name; never empty.
    pub node: String,
    /// Where the kernel side keeps threads' buffers.
    pub capture: CaptureMethod,
    /// What tells containers apart.
    pub membership: Membership,
    /// What containers' monitors are called.
    pub monitors: Monitors,
    /// Size of the ring buffer, bytes.
    pub ring_bytes: u32,
    /// Whether what calls are about is told.
    pub names: bool,
    /// Whether every run of the kernel side is counted and timed.
    pub bpf_stats: bool,
    /// Which containers.
    pub selection: Selection,
    /// Where Kubernetes is asked.
    pub kubernetes: kubernetes::Source,
    /// The scorer; `None`: there is none.
    pub uplink: Option<uplink::Options>,
    /// How long to go on delivering after the order to stop.
    pub grace: Duration,
    /// A JSON Lines file beside the scorer.
    pub jsonl: Option<jsonl::Options>,
    /// Where to serve metrics.
    pub admin: Option<SocketAddr>,
    /// How log lines look.
    pub log_format: LogFormat,
}

impl File {
    /// Names the key whose value is wrong.
    pub(super) fn check(self, node: String) -> Result<Config, Error> {
        let value = |key, reason: String| Error::Value { key, reason };
        let between = |key, n: u64, low: u64, high: u64| {
            if (low..=high).contains(&n) { Ok(n) } else { Err(value(key, format!("{n} is not {low} to {high}"))) }
        };
        if node.is_empty() || node.len() > 253 || node.chars().any(char::is_control) {
            return Err(value("node.name", format!("{node:?} is no name: give --node")));
        }
        let rules = |key, texts: &[String]| {
            let parse = |t: &String| t.parse::<Rule>().map_err(|e| value(key, format!("{t:?}: {e}")));
            texts.iter().map(parse).collect::<Result<Vec<_>, _>>()
        };
        let selection =
            Selection::new(rules("select.include", &self.select.include)?, rules("select.exclude", &self.select.exclude)?);
        let kubernetes = match self.kubernetes.api.as_str() {
            "" => return Err(value("kubernetes.api", "is empty: say auto, off or a kubeconfig file".to_owned())),
            api => api.parse().unwrap_or_default(),
        };
        let monitors = Monitors::parse(&self.capture.monitors).map_err(|e| value("capture.monitors", e.to_string()))?;
        let ring_bytes = between("capture.ring_bytes", self.capture.ring_bytes, 4096, 1 << 30)?;
        let queue_bytes = between("uplink.queue_bytes", self.uplink.queue_bytes, 128 << 10, 1 << 40)?;
        let flush_interval_ms = between("uplink.flush_interval_ms", self.uplink.flush_interval_ms, 1, 60_000)?;
        let byte_budget = match self.uplink.byte_budget {
            0 => 0,
            n => between("uplink.byte_budget", n, 4096, 1 << 40)?,
        };
        let grace_ms = between("uplink.grace_ms", self.uplink.grace_ms, 0, 600_000)?;
        let keep_files = between("jsonl.keep_files", self.jsonl.keep_files, 0, 1000)?;
        let max_bytes = match self.jsonl.max_bytes {
            0 => None,
            n => Some(between("jsonl.max_bytes", n, 64 << 10, 1 << 40)?),
        };
        let uplink = (self.uplink.scorer != "none").then(|| uplink::Options {
            scorer: self.uplink.scorer,
            node: node.clone(),
            queue_bytes: queue_bytes as usize,
            flush_interval: Duration::from_millis(flush_interval_ms),
            byte_budget,
            names: self.capture.names,
        });
        if let Some(options) = &uplink {
            uplink::address::check(&options.scorer).map_err(|e| value("uplink.scorer", e.to_string()))?;
        }
        let admin = match self.admin.listen.as_str() {
            "" => None,
            listen => Some(listen.parse().map_err(|_not_one| value("admin.listen", format!("{listen:?} is not ADDRESS:PORT")))?),
        };
        let jsonl = (!self.jsonl.path.is_empty()).then(|| jsonl::Options {
            path: PathBuf::from(&self.jsonl.path),
            max_bytes,
            keep_files: keep_files as u32,
        });
        Ok(Config {
            node,
            capture: self.capture.method,
            membership: self.capture.membership,
            monitors,
            ring_bytes: ring_bytes as u32,
            names: self.capture.names,
            bpf_stats: self.capture.bpf_stats,
            selection,
            kubernetes,
            uplink,
            grace: Duration::from_millis(grace_ms),
            jsonl,
            admin,
            log_format: self.log.format,
        })
    }
}
