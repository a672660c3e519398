//! What the command line says of the configuration.
//!
//! In: clap's arguments, which have their types already. Out: the last [`Layer`]. Never: a default.

use super::layer::Layer;
use crate::{
    choice::LogFormat,
    cli::{CaptureArgs, RecordArgs, RunArgs},
    container::Rule,
};
use serde::Serialize;
use std::path::PathBuf;
use toml::Value;

/// What the command line says of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flags<'a> {
    /// Of `run`.
    pub run: Option<&'a RunArgs>,
    /// Of `record`.
    pub record: Option<&'a RecordArgs>,
    /// For all.
    pub log_format: Option<LogFormat>,
}

impl Flags<'_> {
    fn capture(&self) -> Option<&CaptureArgs> {
        self.run.map(|r| &r.capture).or(self.record.map(|r| &r.capture))
    }

    /// The file that is named.
    pub(super) fn config(&self) -> Option<PathBuf> {
        self.capture().and_then(|c| c.config.clone())
    }

    /// As a layer over the file's.
    pub(super) fn layer(&self) -> Layer {
        let mut layer = Layer::default();
        if let Some(args) = self.capture() {
            layer.put("node", "name", args.node.clone());
            layer.put("capture", "method", args.capture.map(|m| to_value(&m)));
            layer.put("capture", "membership", args.membership.map(|m| to_value(&m)));
            layer.put("capture", "monitors", (!args.monitor.is_empty()).then(|| args.monitor.clone()));
            layer.put("capture", "ring_bytes", args.ring_bytes.map(whole));
            layer.put("capture", "names", args.no_names.then_some(false));
            layer.put("select", "include", rules(&args.select));
            layer.put("select", "exclude", rules(&args.exclude));
            layer.put("kubernetes", "api", args.kubernetes.clone());
            layer.put("admin", "listen", args.admin.map(|a| a.to_string()));
        }
        if let Some(args) = self.run {
            layer.put("uplink", "scorer", args.scorer.clone());
            layer.put("uplink", "queue_bytes", args.queue_bytes.map(whole));
            layer.put("uplink", "flush_interval_ms", args.flush_interval_ms.map(whole));
            layer.put("uplink", "byte_budget", args.byte_budget.map(whole));
            layer.put("capture", "bpf_stats", args.bpf_stats.then_some(true));
            layer.put("jsonl", "path", args.jsonl.as_ref().map(|p| p.to_string_lossy().into_owned()));
            layer.put("jsonl", "max_bytes", args.jsonl_max_bytes.map(whole));
        }
        layer.put("log", "format", self.log_format.map(|f| to_value(&f)));
        layer
    }
}

fn rules(rules: &[Rule]) -> Option<Value> {
    (!rules.is_empty()).then(|| Value::Array(rules.iter().map(|r| Value::String(r.to_string())).collect()))
}

/// TOML knows no larger whole number; nothing here comes near it.
fn whole(n: u64) -> Value {
    Value::Integer(i64::try_from(n).unwrap_or(i64::MAX))
}

fn to_value(value: &impl Serialize) -> Value {
    Value::try_from(value).unwrap_or_else(|_no_such_value| Value::String(String::new()))
}
