//! Tests of `corpus`.

use super::*;
use jiff::Timestamp;
use surprisal_proto::token::Token;
use surprisal_proto::{
    container::{Container, Kind, Names},
    recording::Writer,
};

fn recording(label: Option<&str>, lines: &[Line]) -> Vec<u8> {
    let mut w = Writer::new(Vec::new(), &Header::new("n", label, Timestamp::UNIX_EPOCH)).expect("memory");
    for line in lines {
        w.write(line).expect("memory");
    }
    w.finish().expect("memory")
}

fn container(id: &str, workload: &str, sandbox: bool) -> Line {
    let kind = if sandbox { Kind::Sandbox } else { Kind::Container };
    let names = Names { workload: workload.into(), image: "i".into(), kind, ..Names::default() };
    Line::Container(Container { id: id.into(), names, ..Container::default() })
}

fn calls(container: &str, tid: u32, ms: i64, seq: u64, n: usize, last: bool) -> Line {
    Line::Calls(Calls {
        at: Timestamp::from_millisecond(ms).expect("in range"),
        node: "n".into(),
        container: container.into(),
        pod: String::new(),
        pid: 1,
        tid,
        process: "p".into(),
        seq,
        gap: 0,
        calls: vec![Token(3); n],
        last,
        by_exec: false,
    })
}

fn read(files: &[&[u8]]) -> Corpus {
    let dir = tempfile::tempdir().expect("a directory");
    let mut corpus = Corpus::default();
    for file in files {
        let path = dir.path().join("r.jsonl");
        std::fs::write(&path, file).expect("writes");
        corpus.read(&path, false, true).expect("reads");
    }
    corpus.finish()
}

#[test]
fn cuts_threads_by_workload_and_over_files() {
    let first = recording(
        Some("normal"),
        &[
            container("a", "ns/w/c", false),
            container("b", "ns/w/c", false),
            container("s", "ns/w/pause", true),
            calls("a", 1, 0, 0, 100, false),
            calls("a", 2, 0, 0, 10, true),
            calls("b", 1, 5000, 0, 10, false),
            calls("b", 1, 6000, 10, 10, false),
            // As older agents wrote the end of a thread that made no calls: at the time of the machine's boot.
            calls("b", 2, -7_200_000, 0, 0, true),
            calls("s", 1, 0, 0, 100, false),
            calls("nobody", 1, 0, 0, 7, false),
        ],
    );
    let second = recording(
        None,
        &[container("a", "ns/w/c", false), calls("a", 1, 500, 100, 28, false), calls("a", 1, 2500, 130, 40, false)],
    );
    let corpus = read(&[&first, &second]);
    assert_eq!(corpus.workloads.keys().collect::<Vec<_>>(), ["ns/w/c"]);
    assert_eq!(corpus.unnamed_calls, 7);
    let w = &corpus.workloads["ns/w/c"];
    let lengths: Vec<_> = w.pieces.iter().map(|p| (p.container, p.window.calls.len())).collect();
    // Thread 1 of a is quiet from 0 to 5 s, and again from 0.5 to 2.5 s; b makes a call a second.
    assert_eq!(lengths, [(0, 64), (0, 10), (0, 36), (1, 10), (0, 28), (0, 24), (1, 10)]);
    assert_eq!((w.calls, w.windows, w.gapped, w.containers), (198, 7, 1, 2));
    // b: 1 s in the first file; a: 2 s in the second.
    assert!((w.container_seconds - 3.0).abs() < 1e-9);
    assert!((w.windows_per_container_day() - 7.0 / 3.0 * 86_400.0).abs() < 1e-6);
}

#[test]
fn what_is_cut_short_is_refused_unless_allowed() {
    let whole = recording(None, &[container("a", "ns/w/c", false), calls("a", 1, 0, 0, 100, false)]);
    let cut = &whole[..whole.len() - 5];
    let corpus = read(&[cut]);
    assert_eq!(corpus.truncated.len(), 1);
    assert_eq!(corpus.workloads["ns/w/c"].windows, 2);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("r.jsonl");
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("writes");
        crate::cause::chain(&Corpus::default().read(&path, false, false).expect_err("refused"))
            .replace(&*dir.path().to_string_lossy(), "")
    };
    assert_eq!(refused(cut), "/r.jsonl: truncated after line 3: the last line is cut");
    assert_eq!(refused(b"x"), "/r.jsonl: not a recording: the first line is no header");
    assert!(refused(&recording(Some("attack"), &[])).starts_with("/r.jsonl is labelled \"attack\""));
}
