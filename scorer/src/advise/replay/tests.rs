//! Tests of the replay.

use super::*;
use crate::detect::names::{Heard, Seen};
use crate::judge::threshold::{Source, Threshold};
use surprisal_proto::names;
use surprisal_proto::recording::{Header, Writer};
use surprisal_proto::token::Token;

/// Two windows of ordinary calls, the second about something that training never heard.
#[test]
fn names_of_a_recording_count() {
    let openat = names::parse("openat:1").expect("a call");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.jsonl");
    let header = Header::new("n", Some("normal"), Timestamp::UNIX_EPOCH);
    let mut out = Writer::new(std::fs::File::create(&path).expect("creates"), &header).expect("writes");
    let names = surprisal_proto::container::Container {
        id: "a".into(),
        node: "n".into(),
        names: surprisal_proto::container::Names { workload: "w".into(), ..Default::default() },
        ..Default::default()
    };
    out.write(&Line::Container(names)).expect("writes");
    for (seq, name) in [(3, "/srv/page"), (67, "/etc/shadow")] {
        let name = Name {
            at: Timestamp::UNIX_EPOCH,
            container: "a".into(),
            pid: 1,
            tid: 1,
            seq,
            call: openat,
            name: name.into(),
            argv0: String::new(),
            relative: false,
            truncated: false,
            late: false,
        };
        out.write(&Line::Name(name)).expect("writes");
    }
    let calls = Calls {
        at: Timestamp::UNIX_EPOCH,
        node: "n".into(),
        container: "a".into(),
        pod: String::new(),
        pid: 1,
        tid: 1,
        process: "nginx".into(),
        seq: 0,
        gap: 0,
        calls: vec![Token(1); 128],
        last: false,
        by_exec: false,
    };
    out.write(&Line::Calls(calls)).expect("writes");
    out.finish().expect("writes");

    let mut heard = Heard::default();
    heard.add(openat, "/srv/page", false, 0);
    let judge = Judge {
        version: "v1".into(),
        threshold: Threshold::try_from(2.0).expect("positive"),
        source: Source::Quantiles,
        seen: Some(Arc::new(Seen { known: heard.known(1000), container_seconds: 60.0 })),
    };
    let mut replay = Replay::open(&path, "n", HashMap::from([("w".to_owned(), judge)]), false).expect("opens");
    let mut jobs = Vec::new();
    while replay.step(&mut jobs).expect("plays") {}
    let scores: Vec<_> = jobs.iter().map(|job| (job.window.first_sequence, replay.names_score(job).nats() > 6.0)).collect();
    assert_eq!(scores, [(0, false), (64, true)]);
}
