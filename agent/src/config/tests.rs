use super::{file::defaults, *};
use crate::{
    choice::{CaptureMethod, LogFormat},
    cli::{Cli, Command},
    container::Membership,
    jsonl,
    procfs::Monitors,
};
use clap::Parser as _;
use std::{collections::HashMap, fs, str::FromStr as _};
use toml::Table;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/agent.example.toml");

fn load(args: &[&str], env: &[(&'static str, &'static str)]) -> Result<Config, Error> {
    let cli = Cli::try_parse_from([&["surprisal-agent"], args].concat()).expect("a command line");
    let env: HashMap<_, _> = env.iter().copied().collect();
    let (run, record) = match &cli.command {
        Command::Run(run) => (Some(run), None),
        Command::Record(record) => (None, Some(record)),
        Command::Probe(_) | Command::Status(_) | Command::Containers(_) => (None, None),
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
        &[("SURPRISAL_SELECT", "namespace=a, pod=b-*"), ("SURPRISAL_LOG_FORMAT", "json"), ("SURPRISAL_JSONL_KEEP_FILES", "7")],
    )
    .expect("good");
    assert!(config.uplink.is_none());
    assert_eq!(config.jsonl, Some(jsonl::Options { path: "x.jsonl".into(), max_bytes: None, keep_files: 7 }));
    assert_eq!((config.capture, config.log_format), (CaptureMethod::TaskStorage, LogFormat::Json));
    assert_eq!(config.admin.map(|a| a.port()), Some(9));
    let config = load(&["run", "--byte-budget", "0"], &[("SURPRISAL_BPF_STATS", "true")]).expect("good");
    assert_eq!((config.uplink.map(|u| u.byte_budget), config.bpf_stats), (Some(0), true));
    let monitors = |names: &[&str]| Monitors::parse(names).expect("good");
    assert_eq!(config.monitors, monitors(&["containerd-shim*", "conmon", "conmonrs"]));
    let config = load(&["run"], &[("SURPRISAL_MONITORS", "a, b*")]).expect("good");
    assert_eq!(config.monitors, monitors(&["a", "b*"]));
    let config = load(&["run", "--monitor", "c"], &[("SURPRISAL_MONITORS", "a, b*")]).expect("good");
    assert_eq!(config.monitors, monitors(&["c"]));
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
        (&["run", "--monitor", "a*b"], &[], "capture.monitors: \"a*b\" is no name of a process"),
        (&["run"], &[("SURPRISAL_MONITORS", ",")], "capture.monitors: no name is given"),
        (&["run"], &[("SURPRISAL_ADMIN", "here")], "admin.listen: \"here\" is not ADDRESS:PORT"),
        (&["run", "--node", "a\nb"], &[], "node.name"),
    ] {
        let text = chain(load(args, env).expect_err("wrong"));
        assert!(text.contains(expect) && !text.contains('\n'), "{text:?} does not say {expect:?}");
    }
}
