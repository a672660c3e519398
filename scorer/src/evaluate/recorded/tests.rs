use super::*;
use crate::evaluate::load::{Reading, load};
use surprisal_proto::token::Token;
use surprisal_proto::{
    container::{Container, Names},
    recording::{Calls, Header, Line, Writer},
};

fn container(id: &str, workload: &str) -> Line {
    Line::Container(Container {
        id: id.into(),
        names: Names { workload: workload.into(), ..Names::default() },
        ..Container::default()
    })
}

/// Ten calls of a thread that begins and ends then: one window.
fn burst(container: &str, tid: u32, ms: i64) -> Line {
    Line::Calls(Calls {
        at: Timestamp::from_millisecond(ms).expect("in range"),
        node: "n".into(),
        container: container.into(),
        pod: String::new(),
        pid: tid,
        tid,
        process: "p".into(),
        seq: 0,
        gap: 0,
        calls: vec![Token(tid as u16); 10],
        last: true,
        by_exec: false,
    })
}

fn recording(label: &str, lines: &[Line]) -> Vec<u8> {
    let mut w = Writer::new(Vec::new(), &Header::new("n", Some(label), Timestamp::UNIX_EPOCH)).expect("memory");
    for line in lines {
        w.write(line).expect("memory");
    }
    w.finish().expect("memory")
}

fn write(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, bytes) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("below")).expect("creates");
        std::fs::write(path, bytes).expect("writes");
    }
    dir
}

fn read(files: &[(&str, &[u8])], workload: Option<&str>) -> Result<DataSet, String> {
    let dir = write(files);
    let reading = Reading { workload: workload.map(str::to_owned), ..Reading::default() };
    load(dir.path(), &reading).map_err(|e| crate::cause::chain(&e).replace(&*dir.path().to_string_lossy(), "D"))
}

fn normal(id: &str, workload: &str) -> Vec<u8> {
    recording("normal", &[container(id, workload), burst(id, 1, 1000), burst(id, 2, 2000), burst(id, 1, 11_000)])
}

const W: &str = "ns/w/c";

fn attack() -> Vec<u8> {
    let lines = [
        container("aaa", W),
        container("abb", W),
        container("ccc", "ns/other/c"),
        burst("aaa", 1, 1000),
        burst("abb", 1, 4999),
        burst("aaa", 2, 5000),
        burst("abb", 3, 5500),
        burst("ccc", 3, 5500),
        burst("aaa", 4, 6000),
        burst("abb", 5, 6001),
        burst("aaa", 5, 20_000),
    ];
    recording("attack", &lines)
}

fn sidecar_text(container: &str) -> String {
    format!(r#"{{"attacks":[{{"family":"sqlmap","from":"1970-01-01T00:00:05Z","to":"1970-01-01T00:00:06Z"{container}}}]}}"#)
}

fn labels(data: &DataSet) -> String {
    let word = |i: &Item| {
        let place = i.place.expect("a place");
        format!("{}@{}{}", place.container, place.started_ns / 1_000_000, if i.is_attack() { "!" } else { "" })
    };
    data.test.iter().filter(|i| i.set == Set::Attack).map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn windows_are_labelled_by_their_time_and_container() {
    let packed = zstd::encode_all(attack().as_slice(), 3).expect("packs");
    for (container, expect, hours) in [
        ("", "0@1000 1@4999 0@5000! 1@5500! 0@6000! 1@6001 0@20000", 10.0 + 18.0 + 0.002),
        (r#","container":"ab""#, "0@1000 1@4999 0@5000 1@5500! 0@6000 1@6001 0@20000", 10.0 + 19.0 + 0.002),
        (r#","container":"ccc""#, "0@1000 1@4999 0@5000 1@5500 0@6000 1@6001 0@20000", 10.0 + 19.0 + 1.002),
    ] {
        let data = read(
            &[
                ("normal-train/r.jsonl", &normal("t", W)),
                ("normal-test.jsonl", &normal("u", W)),
                ("attack/x.jsonl.zst", &packed),
                ("attack/x.attacks.json", sidecar_text(container).as_bytes()),
            ],
            None,
        )
        .expect("reads");
        assert_eq!(labels(&data), expect);
        assert_eq!((data.kind, data.train.len(), data.test.len()), (Kind::Recordings, 3, 10));
        assert_eq!(data.held_out(), [false, false, true]);
        assert!((data.normal_container_seconds - hours).abs() < 1e-9, "{}", data.normal_container_seconds);
        assert!(data.left_out.is_empty(), "{:?}", data.left_out);
    }
}

#[test]
fn an_attack_without_a_window_is_said() {
    let late = sidecar_text("").replace("00:00:0", "00:01:0");
    let data = read(
        &[
            ("normal-train.jsonl", &normal("t", W)),
            ("normal-test.jsonl", &normal("u", W)),
            ("attack.jsonl", &attack()),
            ("attack.attacks.json", late.as_bytes()),
        ],
        None,
    )
    .expect("reads");
    assert_eq!((data.left_out, data.attacks.len()), (vec!["attack.jsonl: no window while sqlmap went on".to_owned()], 1));
}

#[test]
fn what_is_missing_or_unclear_is_named() {
    let (two, one) =
        (recording("normal", &[container("a", W), container("b", "ns/v/c"), burst("a", 1, 0), burst("b", 1, 0)]), normal("u", W));
    let good = sidecar_text("");
    let set = |train: &[u8], sidecar: &str, workload| {
        let files: [(&str, &[u8]); 4] = [
            ("normal-train.jsonl", train),
            ("normal-test.jsonl", &one),
            ("attack/x.jsonl", &attack()),
            ("attack/x.attacks.json", sidecar.as_bytes()),
        ];
        read(if sidecar.is_empty() { &files[..3] } else { &files }, workload).map(|d| d.train.len())
    };
    assert_eq!(set(&two, &good, Some(W)), Ok(1));
    for (train, sidecar, workload, expect) in [
        (
            &two,
            good.as_str(),
            None,
            "D: normal-train holds several workloads, --workload says which one is meant: ns/v/c, ns/w/c",
        ),
        (&two, &good, Some("x"), "D: normal-train holds no window of workload \"x\" (it holds: ns/v/c, ns/w/c)"),
        (&two, &good, Some("ns/v/c"), "D: normal-test holds no window of workload \"ns/v/c\""),
        (&one, "", None, "D/attack/x.attacks.json: when the attacks of attack/x.jsonl went on must be said here: No such file"),
        (&one, "{}", None, "D/attack/x.attacks.json: missing field `attacks`"),
        (&one, &good.replace("00:06", "00:04"), None, "D/attack/x.attacks.json: attack \"sqlmap\" ends before it begins"),
        (&one, &sidecar_text(r#","container":"z""#), None, "D/attack/x.attacks.json: the recording names no container \"z\""),
        (&one, &sidecar_text(r#","container":"""#), None, "D/attack/x.attacks.json: the recording names several containers \"\""),
        (&attack(), &good, None, "recording: D/normal-train.jsonl is labelled \"attack\""),
    ] {
        let got = set(train, sidecar, workload).expect_err("refused");
        assert!(got.starts_with(expect), "{got}");
    }
}

#[test]
fn a_packed_copy_is_the_same_file() {
    let train = normal("t", W);
    let packed = zstd::encode_all(train.as_slice(), 3).expect("packs");
    let sidecar = sidecar_text("");
    let files: [(&str, &[u8]); 4] = [
        ("normal-train.jsonl", &train),
        ("normal-test.jsonl.zst", &packed),
        ("attack/x.jsonl", &attack()),
        ("attack/x.attacks.json", sidecar.as_bytes()),
    ];
    let leakage = crate::evaluate::leakage::Leakage::of(&read(&files, None).expect("reads"));
    assert_eq!((leakage.files, leakage.first.join(" ")), (1, "normal-test.jsonl.zst = normal-train.jsonl".into()));
}
