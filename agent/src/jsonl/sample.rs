//! For tests: records to write, and what was written.
//!
//! In: names and numbers, paths. Out: records, lines. Never: part of the program.

use crate::{
    container::{ContainerInfo, ContainerKey, Kind, Names},
    record::{Record, Run},
};
use jiff::Timestamp;
use std::{fs::File, io::BufReader, path::Path, sync::Arc};
use surprisal_proto::recording::{Line, Reader};

pub(super) fn info(id: &str) -> Arc<ContainerInfo> {
    let names = Names { kind: Kind::Container, ..Names::default() };
    Arc::new(ContainerInfo::named(ContainerKey(1), "n".into(), id.parse().expect("an id"), names, None))
}

pub(super) fn calls(id: &str, seq: u64, n: usize) -> Record {
    let started = Timestamp::UNIX_EPOCH;
    let run = Run {
        tgid: 1,
        tid: 1,
        process: "p".into(),
        first_seq: seq,
        started,
        gap: 0,
        tokens: vec![0; n],
        last: false,
        by_exec: false,
    };
    Record::Calls { container: info(id), run }
}

pub(super) fn death(id: &str) -> Record {
    Record::Death { container: info(id), at: Timestamp::UNIX_EPOCH }
}

pub(super) fn read(path: &Path) -> Vec<Line> {
    let file = BufReader::new(File::open(path).expect("a file"));
    Reader::new(file).and_then(Iterator::collect).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Lines as `c1` (a container), `c1+3` (calls), `c1=` (an account), `c1!` (a death).
pub(super) fn said(path: &Path) -> String {
    let say = |line: &Line| match line {
        Line::Container(c) => c.id.clone(),
        Line::Name(n) => format!("{}:{}", n.container, n.name),
        Line::Calls(c) => format!("{}+{}", c.container, c.calls.len()),
        Line::Account(a) => format!("{}=", a.container),
        Line::Death(d) => format!("{}!", d.container),
        Line::Header(_) | Line::End(_) => "?".into(),
    };
    read(path).iter().map(say).collect::<Vec<_>>().join(" ")
}
