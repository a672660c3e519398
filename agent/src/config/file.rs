//! The file's shape, its defaults, and reading it.
//!
//! In: a path. Out: a [`Layer`], and a [`File`] once all layers are put together. Never: judges a value beyond its type.

use super::{error::Error, layer::Layer};
use crate::{
    bpf,
    choice::{CaptureMethod, LogFormat},
    container::Membership,
    kubernetes,
    procfs::monitor,
};
use serde::{Deserialize, Serialize};
use std::{fs, path::Path, str::FromStr as _};
use toml::{Table, Value};

/// The file's shape, all of it. Its default is *the* default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) node: Node,
    pub(super) capture: CaptureSection,
    pub(super) select: Select,
    pub(super) kubernetes: KubernetesSection,
    pub(super) uplink: UplinkSection,
    pub(super) jsonl: JsonlSection,
    pub(super) admin: Admin,
    pub(super) log: Log,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Node {
    pub(super) name: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaptureSection {
    pub(super) method: CaptureMethod,
    pub(super) membership: Membership,
    pub(super) monitors: Vec<String>,
    pub(super) ring_bytes: u64,
    pub(super) names: bool,
    pub(super) bpf_stats: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Select {
    pub(super) include: Vec<String>,
    pub(super) exclude: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KubernetesSection {
    pub(super) api: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UplinkSection {
    pub(super) scorer: String,
    pub(super) queue_bytes: u64,
    pub(super) flush_interval_ms: u64,
    pub(super) byte_budget: u64,
    pub(super) grace_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonlSection {
    pub(super) path: String,
    pub(super) max_bytes: u64,
    pub(super) keep_files: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    pub(super) listen: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) format: LogFormat,
}

impl Default for File {
    fn default() -> Self {
        Self {
            node: Node { name: String::new() },
            capture: CaptureSection {
                method: CaptureMethod::Auto,
                membership: Membership::Auto,
                monitors: monitor::DEFAULT.map(str::to_owned).to_vec(),
                ring_bytes: u64::from(bpf::Options::default().ring_bytes),
                names: true,
                bpf_stats: false,
            },
            select: Select { include: Vec::new(), exclude: Vec::new() },
            kubernetes: KubernetesSection { api: kubernetes::Source::default().to_string() },
            uplink: UplinkSection {
                scorer: format!("http://127.0.0.1:{}", surprisal_proto::DEFAULT_PORT),
                queue_bytes: 16 << 20,
                flush_interval_ms: 200,
                byte_budget: 256 << 10,
                grace_ms: 5_000,
            },
            jsonl: JsonlSection { path: String::new(), max_bytes: 64 << 20, keep_files: 4 },
            admin: Admin { listen: String::new() },
            log: Log { format: LogFormat::Text },
        }
    }
}

/// All keys with their defaults.
pub(super) fn defaults() -> Table {
    match Value::try_from(File::default()) {
        Ok(Value::Table(table)) => table,
        // A struct of structs of plain values is a table; a test says so.
        _ => Table::new(),
    }
}

/// What a file says.
pub(super) fn read(path: &Path) -> Result<Layer, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Table::from_str(&text).map(Layer).map_err(|e| Error::File { path: path.to_owned(), reason: one_line(&e, &text) })
}

/// toml's own message draws the place over several lines.
pub(super) fn one_line(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    match before {
        Some(before) => format!("line {}: {}", 1 + before.matches('\n').count(), error.message()),
        None => error.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
    }
}
