//! What the agent was told: defaults < file < environment < flags, put together and checked once.
//!
//! In: a TOML file, an [`Environment`], a parsed command line. Out: [`Config`]. Never: read again while running.
//!
//! [`KEYS`] is the list of all there is; `agent.example.toml` is written from it, and a test keeps it fresh.

use crate::{
    bpf,
    cli::{CaptureArgs, LogFormat, RecordArgs, RunArgs},
    container::{Rule, Selection},
    procfs::Membership,
    status::ask::DEFAULT_ADMIN,
    uplink,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    fmt::Write as _,
    fs,
    hash::BuildHasher,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};
use toml::{Table, Value};

/// One thing to configure.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Table in the file.
    pub section: &'static str,
    /// Name in that table; units last.
    pub name: &'static str,
    /// Environment variable.
    pub env: &'static str,
    /// What it does; printed into the example file.
    pub doc: &'static str,
}

const fn key(section: &'static str, name: &'static str, env: &'static str, doc: &'static str) -> Key {
    Key { section, name, env, doc }
}

/// All there is to configure.
pub const KEYS: [Key; 17] = [
    key("node", "name", "SURPRISAL_NODE", "Name of this node in everything that is sent. Empty: NODE_NAME, or the host's name."),
    key(
        "capture",
        "method",
        "SURPRISAL_CAPTURE",
        "Where the kernel side keeps threads' buffers: auto, task-storage, hash or raw.",
    ),
    key(
        "capture",
        "membership",
        "SURPRISAL_MEMBERSHIP",
        "What tells containers apart: auto (unified cgroup where a container has its own, else process), or process.",
    ),
    key(
        "capture",
        "ring_bytes",
        "SURPRISAL_RING_BYTES",
        "Size of the kernel's ring buffer; rounded up to a power of two, 4096 to 1073741824.",
    ),
    key(
        "capture",
        "bpf_stats",
        "SURPRISAL_BPF_STATS",
        "Count and time every run of the kernel side, true or false. Costs some tens of nanoseconds a system call, on all eBPF programs of the host.",
    ),
    key(
        "select",
        "include",
        "SURPRISAL_SELECT",
        "Follow only these: \"KEY=GLOB\" with namespace, pod, container, image, id or workload. Empty: all but sandboxes.",
    ),
    key("select", "exclude", "SURPRISAL_EXCLUDE", "Do not follow these; wins over include."),
    key("uplink", "scorer", "SURPRISAL_SCORER", "The scorer: http://HOST:PORT, or \"none\"."),
    key(
        "uplink",
        "queue_bytes",
        "SURPRISAL_QUEUE_BYTES",
        "Memory for what the scorer has not taken yet, at least 131072; when full the oldest goes, counted.",
    ),
    key("uplink", "flush_interval_ms", "SURPRISAL_FLUSH_INTERVAL_MS", "Send what there is at least this often, 1 to 60000."),
    key(
        "uplink",
        "byte_budget",
        "SURPRISAL_BYTE_BUDGET",
        "Bytes a second on the wire above which whole containers are sent in turns, at least 4096; 0: no such bound.",
    ),
    key("uplink", "grace_ms", "SURPRISAL_GRACE_MS", "How long to go on delivering after the order to stop, 0 to 600000."),
    key("jsonl", "path", "SURPRISAL_JSONL", "Also write JSON Lines into this file. Empty: not."),
    key("jsonl", "max_bytes", "SURPRISAL_JSONL_MAX_BYTES", "Begin a new file at this size, at least 65536; 0: never."),
    key(
        "jsonl",
        "keep_files",
        "SURPRISAL_JSONL_KEEP_FILES",
        "Older files kept beside it, as FILE.1 (newest) to FILE.N, 0 to 1000.",
    ),
    key("admin", "listen", "SURPRISAL_ADMIN", "Serve /metrics, /status, /livez and /readyz at this ADDRESS:PORT. Empty: not."),
    key("log", "format", "SURPRISAL_LOG_FORMAT", "How log lines on standard error look: text or json. RUST_LOG says which."),
];

/// Where the kernel side keeps threads' buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum CaptureMethod {
    /// The first of the others that the kernel takes.
    #[default]
    Auto,
    /// Task storage or nothing.
    TaskStorage,
    /// A hash map.
    Hash,
    /// A hash map, and plain raw tracepoints instead of BTF ones.
    Raw,
}

impl From<CaptureMethod> for bpf::Capture {
    fn from(method: CaptureMethod) -> Self {
        match method {
            CaptureMethod::Auto => Self::Auto,
            CaptureMethod::TaskStorage => Self::TaskStorage,
            CaptureMethod::Hash => Self::Hash,
            CaptureMethod::Raw => Self::Raw,
        }
    }
}

/// The environment, so that a test can bring its own.
pub trait Environment {
    /// A variable; empty counts as absent.
    fn get(&self, name: &str) -> Option<String>;
}

/// This process's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process;

impl Environment for Process {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|v| !v.is_empty())
    }
}

impl<S: BuildHasher> Environment for HashMap<&str, &str, S> {
    fn get(&self, name: &str) -> Option<String> {
        self.get(name).filter(|v| !v.is_empty()).map(|v| (*v).to_owned())
    }
}

/// What was said, put together and checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's name; never empty.
    pub node: String,
    /// Where the kernel side keeps threads' buffers.
    pub capture: CaptureMethod,
    /// What tells containers apart.
    pub membership: Membership,
    /// Size of the ring buffer, bytes.
    pub ring_bytes: u32,
    /// Whether every run of the kernel side is counted and timed.
    pub bpf_stats: bool,
    /// Which containers.
    pub selection: Selection,
    /// The scorer; `None`: there is none.
    pub uplink: Option<uplink::Options>,
    /// How long to go on delivering after the order to stop.
    pub grace: std::time::Duration,
    /// A JSON Lines file beside the scorer.
    pub jsonl: Option<JsonLines>,
    /// Where to serve metrics.
    pub admin: Option<SocketAddr>,
    /// How log lines look.
    pub log_format: LogFormat,
}

/// A JSON Lines file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonLines {
    /// The file.
    pub path: PathBuf,
    /// A new one is begun at this size, bytes; `None`: never.
    pub max_bytes: Option<u64>,
    /// Older ones kept.
    pub keep_files: u32,
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is no configuration.
    #[error("the configuration {} is wrong: {reason}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Where and why, in one line.
        reason: String,
    },
    /// A variable has no sense.
    #[error("{name}={value:?}: {reason}")]
    Env {
        /// Which variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// Why not.
        reason: String,
    },
    /// A value has no sense, wherever it comes from.
    #[error("{key}: {reason}")]
    Value {
        /// `section.name`.
        key: &'static str,
        /// Why not.
        reason: String,
    },
}

/// The file's shape, all of it. Its default is *the* default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    node: Node,
    capture: CaptureSection,
    select: Select,
    uplink: UplinkSection,
    jsonl: JsonlSection,
    admin: Admin,
    log: Log,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    name: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaptureSection {
    method: CaptureMethod,
    membership: Membership,
    ring_bytes: u64,
    bpf_stats: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Select {
    include: Vec<String>,
    exclude: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UplinkSection {
    scorer: String,
    queue_bytes: u64,
    flush_interval_ms: u64,
    byte_budget: u64,
    grace_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonlSection {
    path: String,
    max_bytes: u64,
    keep_files: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Admin {
    listen: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    format: LogFormat,
}

impl Default for File {
    fn default() -> Self {
        Self {
            node: Node { name: String::new() },
            capture: CaptureSection {
                method: CaptureMethod::Auto,
                membership: Membership::Auto,
                ring_bytes: u64::from(bpf::Options::default().ring_bytes),
                bpf_stats: false,
            },
            select: Select { include: Vec::new(), exclude: Vec::new() },
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

    /// As a layer over the file's.
    fn layer(&self) -> Layer {
        let mut layer = Layer::default();
        if let Some(args) = self.capture() {
            layer.put("node", "name", args.node.clone());
            layer.put("capture", "method", args.capture.map(|m| to_value(&m)));
            layer.put("capture", "membership", args.membership.map(|m| to_value(&m)));
            layer.put("capture", "ring_bytes", args.ring_bytes.map(whole));
            layer.put("select", "include", rules(&args.select));
            layer.put("select", "exclude", rules(&args.exclude));
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

#[derive(Debug, Default)]
struct Layer(Table);

impl Layer {
    fn put(&mut self, section: &str, name: &str, value: Option<impl Into<Value>>) {
        if let (Some(value), Value::Table(table)) = (value, self.0.entry(section).or_insert_with(|| Value::Table(Table::new()))) {
            table.insert(name.to_owned(), value.into());
        }
    }

    fn over(self, below: &mut Table) {
        for (section, values) in self.0 {
            match (below.get_mut(&section), values) {
                (Some(Value::Table(below)), Value::Table(values)) => below.extend(values),
                (_, values) => {
                    below.insert(section, values);
                }
            }
        }
    }
}

/// Where `status` looks for an agent: the flag, the environment, the default.
pub fn admin_of(flag: Option<SocketAddr>, env: &impl Environment) -> Result<SocketAddr, Error> {
    const NAME: &str = "SURPRISAL_ADMIN";
    match (flag, env.get(NAME)) {
        (Some(address), _) => Ok(address),
        (None, None) => Ok(DEFAULT_ADMIN),
        (None, Some(value)) => match value.parse() {
            Ok(address) => Ok(address),
            Err(_not_one) => Err(Error::Env { name: NAME, value, reason: "is not ADDRESS:PORT".to_owned() }),
        },
    }
}

impl Config {
    /// Puts everything together. `hostname` is used where nothing names the node.
    pub fn load(flags: Flags<'_>, env: &impl Environment, hostname: &str) -> Result<Self, Error> {
        let mut table = defaults();
        let named = flags.capture().and_then(|c| c.config.clone()).or_else(|| env.get("SURPRISAL_CONFIG").map(PathBuf::from));
        if let Some(path) = named {
            read_file(&path)?.over(&mut table);
            // Checked before anything else is put over it, so that the error names the file.
            File::deserialize(Value::Table(table.clone())).map_err(|e| Error::File { path, reason: one_line(&e, "") })?;
        }
        for key in KEYS {
            if let Some(text) = env.get(key.env) {
                let value = typed(&table, key, &text)?;
                let mut layer = Layer::default();
                layer.put(key.section, key.name, Some(value));
                layer.over(&mut table);
                File::deserialize(Value::Table(table.clone())).map_err(|e| Error::Env {
                    name: key.env,
                    value: text,
                    reason: e.message().to_owned(),
                })?;
            }
        }
        flags.layer().over(&mut table);
        // Defaults, file and variables were checked above, and flags have their types.
        let file = File::deserialize(Value::Table(table))
            .map_err(|e| Error::Value { key: "command line", reason: e.message().to_owned() })?;
        let node = [file.node.name.clone(), env.get("NODE_NAME").unwrap_or_default(), hostname.to_owned()];
        let node = node.into_iter().find(|n| !n.is_empty()).unwrap_or_default();
        let config = file.check(node)?;
        if flags.run.is_some() && config.uplink.is_none() && config.jsonl.is_none() {
            let reason = "without a scorer and without --jsonl there is nothing to do".to_owned();
            return Err(Error::Value { key: "uplink.scorer", reason });
        }
        Ok(config)
    }
}

fn defaults() -> Table {
    match Value::try_from(File::default()) {
        Ok(Value::Table(table)) => table,
        // A struct of structs of plain values is a table; a test says so.
        _ => Table::new(),
    }
}

fn read_file(path: &Path) -> Result<Layer, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Table::from_str(&text).map(Layer).map_err(|e| Error::File { path: path.to_owned(), reason: one_line(&e, &text) })
}

/// toml's own message draws the place over several lines.
fn one_line(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    match before {
        Some(before) => format!("line {}: {}", 1 + before.matches('\n').count(), error.message()),
        None => error.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

/// A variable's text as the type its key has.
fn typed(table: &Table, key: Key, text: &str) -> Result<Value, Error> {
    let bad = |reason: String| Error::Env { name: key.env, value: text.to_owned(), reason };
    match table.get(key.section).and_then(|s| s.get(key.name)) {
        Some(Value::Integer(_)) => text.trim().parse().map(Value::Integer).map_err(|e| bad(e.to_string())),
        Some(Value::Boolean(_)) => {
            text.trim().parse().map(Value::Boolean).map_err(|_neither| bad("is neither true nor false".into()))
        }
        Some(Value::Array(_)) => {
            let parts = split_rules(text).into_iter().map(str::trim).filter(|p| !p.is_empty());
            Ok(Value::Array(parts.map(|p| Value::String(p.to_owned())).collect()))
        }
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// At commas, but not at those within a pattern's braces.
fn split_rules(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    text.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    })
    .collect()
}

impl File {
    fn check(self, node: String) -> Result<Config, Error> {
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
            flush_interval: std::time::Duration::from_millis(flush_interval_ms),
            byte_budget,
        });
        if let Some(options) = &uplink {
            uplink::client::check(&options.scorer).map_err(|e| value("uplink.scorer", e.to_string()))?;
        }
        let admin = match self.admin.listen.as_str() {
            "" => None,
            listen => Some(listen.parse().map_err(|_not_one| value("admin.listen", format!("{listen:?} is not ADDRESS:PORT")))?),
        };
        let jsonl = (!self.jsonl.path.is_empty()).then(|| JsonLines {
            path: PathBuf::from(&self.jsonl.path),
            max_bytes,
            keep_files: keep_files as u32,
        });
        Ok(Config {
            node,
            capture: self.capture.method,
            membership: self.capture.membership,
            ring_bytes: ring_bytes as u32,
            bpf_stats: self.capture.bpf_stats,
            selection,
            uplink,
            grace: std::time::Duration::from_millis(grace_ms),
            jsonl,
            admin,
            log_format: self.log.format,
        })
    }
}

/// An example file: every key with its default and what it does.
pub fn example() -> String {
    let mut text = String::from(
        "# Example configuration of surprisal-agent: every key, with its default.\n\
         # Made from the program's own list (agent/src/config.rs); a test keeps it fresh.\n\
         # The environment wins over this file, flags win over both.\n",
    );
    let defaults = defaults();
    let mut section = "";
    for key in KEYS {
        if key.section != section {
            section = key.section;
            let _infallible = write!(text, "\n[{section}]\n");
        }
        let default = defaults.get(key.section).and_then(|s| s.get(key.name)).map(Value::to_string).unwrap_or_default();
        let _infallible = write!(text, "# {} [env: {}]\n{} = {default}\n", key.doc, key.env, key.name);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;

    const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/agent.example.toml");

    fn load(args: &[&str], env: &[(&'static str, &'static str)]) -> Result<Config, Error> {
        let cli = Cli::try_parse_from([&["surprisal-agent"], args].concat()).expect("a command line");
        let env: HashMap<_, _> = env.iter().copied().collect();
        let (run, record) = match &cli.command {
            Command::Run(run) => (Some(run), None),
            Command::Record(record) => (None, Some(record)),
            Command::Probe(_) | Command::Status(_) => (None, None),
        };
        Config::load(Flags { run, record, log_format: cli.log_format }, &env, "host")
    }

    #[test]
    fn the_example_file_is_fresh() {
        let example = example();
        if std::env::var_os("UPDATE_EXAMPLES").is_some() {
            fs::write(EXAMPLE, &example).expect("a file");
        }
        let there = fs::read_to_string(EXAMPLE).unwrap_or_default();
        assert_eq!(there, example, "run the tests with UPDATE_EXAMPLES=1 to write {EXAMPLE}");
    }

    #[test]
    fn the_example_file_says_the_defaults_and_every_key() {
        let table = Table::from_str(&example()).expect("TOML");
        assert_eq!(table, defaults());
        let keys: usize = table.values().map(|section| section.as_table().map_or(0, Table::len)).sum();
        assert_eq!(keys, KEYS.len());
    }

    #[test]
    fn defaults_need_nothing() {
        let config = load(&["run"], &[]).expect("defaults");
        let uplink = config.uplink.expect("a scorer");
        assert_eq!((config.node.as_str(), uplink.scorer.as_str()), ("host", "http://127.0.0.1:7676"));
        assert_eq!((uplink.queue_bytes, uplink.flush_interval.as_millis()), (16 << 20, 200));
        assert_eq!((uplink.byte_budget, config.bpf_stats), (256 << 10, false));
        assert_eq!((config.ring_bytes, config.jsonl, config.admin), (8 << 20, None, None));
    }

    #[test]
    fn each_layer_wins_over_the_one_before() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("agent.toml");
        fs::write(&path, "[node]\nname = \"file\"\n[capture]\nring_bytes = 4096\nmembership = \"process\"\n").expect("a file");
        let path = path.to_str().expect("UTF-8");
        let node = |args: &[&str], env: &[_]| load(&[&["run", "--config", path], args].concat(), env).expect("good").node;
        assert_eq!(node(&[], &[("NODE_NAME", "downward")]), "file");
        assert_eq!(node(&[], &[("SURPRISAL_NODE", "env")]), "env");
        assert_eq!(node(&["--node", "flag"], &[("SURPRISAL_NODE", "env")]), "flag");
        assert_eq!(load(&["run"], &[("NODE_NAME", "downward"), ("SURPRISAL_NODE", "")]).expect("good").node, "downward");
        let config = load(&["run", "--config", path, "--ring-bytes", "8192"], &[]).expect("good");
        assert_eq!((config.ring_bytes, config.membership, config.capture), (8192, Membership::Process, CaptureMethod::Auto));
    }

    #[test]
    fn flags_and_variables_of_every_type() {
        let config = load(
            &[
                "run",
                "--scorer",
                "none",
                "--jsonl",
                "x.jsonl",
                "--jsonl-max-bytes",
                "0",
                "--capture",
                "task-storage",
                "--admin",
                "127.0.0.1:9",
            ],
            &[
                ("SURPRISAL_SELECT", "namespace=a, pod=b-*"),
                ("SURPRISAL_LOG_FORMAT", "json"),
                ("SURPRISAL_JSONL_KEEP_FILES", "7"),
            ],
        )
        .expect("good");
        assert!(config.uplink.is_none());
        assert_eq!(config.jsonl, Some(JsonLines { path: "x.jsonl".into(), max_bytes: None, keep_files: 7 }));
        assert_eq!((config.capture, config.log_format), (CaptureMethod::TaskStorage, LogFormat::Json));
        assert_eq!(config.admin.map(|a| a.port()), Some(9));
        let config = load(&["run", "--byte-budget", "0"], &[("SURPRISAL_BPF_STATS", "true")]).expect("good");
        assert_eq!((config.uplink.map(|u| u.byte_budget), config.bpf_stats), (Some(0), true));
        let record = load(&["record", "--output", "x", "--node", "n"], &[]).expect("good");
        assert_eq!(record.node, "n");
    }

    #[test]
    fn where_status_asks() {
        let of = |flag: Option<&str>, env: &[(&'static str, &'static str)]| {
            let env: HashMap<_, _> = env.iter().copied().collect();
            admin_of(flag.map(|f| f.parse().expect("an address")), &env).map(|a| a.to_string())
        };
        let env = [("SURPRISAL_ADMIN", "0.0.0.0:9")];
        assert_eq!(of(None, &[]).expect("the default"), "127.0.0.1:7677");
        assert_eq!(of(None, &env).expect("the environment's"), "0.0.0.0:9");
        assert_eq!(of(Some("[::1]:7"), &env).expect("the flag's"), "[::1]:7");
        let error = of(None, &[("SURPRISAL_ADMIN", "here")]).expect_err("no address");
        assert_eq!(error.to_string(), "SURPRISAL_ADMIN=\"here\": is not ADDRESS:PORT");
    }

    #[test]
    fn lists_in_variables() {
        for (text, expect) in [
            ("", vec![""]),
            ("pod=a,pod=b", vec!["pod=a", "pod=b"]),
            ("pod=web-{0,1},namespace=x", vec!["pod=web-{0,1}", "namespace=x"]),
        ] {
            assert_eq!(split_rules(text), expect);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).expect("a file");
            path.to_str().expect("UTF-8").to_owned()
        };
        let unknown = file("a.toml", "[capture]\nring = 7\n");
        let broken = file("b.toml", "[capture]\nring\n");
        let chain = |error: Error| match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        for (args, env, expect) in [
            (&["run", "--config", "/nonexistent"][..], &[][..], "cannot read the configuration /nonexistent"),
            (&["run", "--config", &unknown], &[], "unknown field `ring`"),
            (&["run", "--config", &broken], &[], "b.toml is wrong: line 2: "),
            (&["run"], &[("SURPRISAL_RING_BYTES", "many")], "SURPRISAL_RING_BYTES=\"many\": invalid digit"),
            (&["run"], &[("SURPRISAL_CAPTURE", "magic")], "SURPRISAL_CAPTURE=\"magic\": unknown variant `magic`"),
            (&["run"], &[("SURPRISAL_SELECT", "pods=x")], "select.include: \"pods=x\": \"pods\" is none of"),
            (&["run", "--ring-bytes", "7"], &[], "capture.ring_bytes: 7 is not 4096 to 1073741824"),
            (&["run", "--scorer", "localhost"], &[], "uplink.scorer: \"localhost\" is no address of a scorer"),
            (&["run", "--scorer", "none"], &[], "nothing to do"),
            (&["run", "--byte-budget", "7"], &[], "uplink.byte_budget: 7 is not 4096 to"),
            (&["run"], &[("SURPRISAL_BPF_STATS", "yes")], "SURPRISAL_BPF_STATS=\"yes\": is neither true nor false"),
            (&["run", "--jsonl-max-bytes", "1"], &[], "jsonl.max_bytes: 1 is not"),
            (&["run"], &[("SURPRISAL_ADMIN", "here")], "admin.listen: \"here\" is not ADDRESS:PORT"),
            (&["run", "--node", "a\nb"], &[], "node.name"),
        ] {
            let text = chain(load(args, env).expect_err("wrong"));
            assert!(text.contains(expect) && !text.contains('\n'), "{text:?} does not say {expect:?}");
        }
    }
}
