use super::*;
use crate::jsonl::sample::{calls, death, info, said};
use std::{
    fs::{File, OpenOptions},
    io::{BufReader, BufWriter},
};
use surprisal_proto::recording::{Reader, Writer};

#[test]
fn a_recording_is_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("r.jsonl");
    let mut recording = Recording::create(&path, "n", Some("normal")).expect("a file");
    let account = Record::Account {
        container: info("c1"),
        issued: 3,
        delivered: 3,
        lost_ring: 0,
        threads_untracked: 0,
        names_untold: 0,
        names_unread: 0,
    };
    for record in [Record::Birth(info("c1")), calls("c1", 0, 3), account, calls("c2", 0, 1), death("c1"), death("c2")] {
        recording.take(&record).expect("space");
    }
    recording.idle().expect("space");
    let unfinished = Reader::new(BufReader::new(File::open(&path).expect("a file"))).expect("a header");
    assert!(unfinished.collect::<Result<Vec<_>, _>>().is_err(), "without its end line it is cut short");
    recording.finish().expect("space");
    recording.finish().expect("a second time does nothing");
    assert_eq!(said(&path), "c1 c1+3 c1= c2 c2+1 c1! c2!");
    let error = Recording::create(&path, "n", None).expect_err("it is there already");
    assert_eq!(error.to_string(), format!("cannot create {}", path.display()));

    let unused = dir.path().join("u.jsonl");
    drop(Recording::create(&unused, "n", None).expect("a file"));
    assert!(!unused.exists(), "capture could not begin: nothing is left behind");
}

#[test]
fn a_full_disk_ends_a_recording() {
    let file = OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let header = Header::new("n", None, Timestamp::UNIX_EPOCH);
    let writer = Writer::new(BufWriter::new(file), &header).expect("still in the buffer");
    let open = Some(Open { path: "/dev/full".into(), writer, dirty: true });
    let mut recording = Recording { open, known: Known::default(), used: true };
    let error = recording.idle().expect_err("no space");
    assert_eq!(error.to_string(), "cannot write /dev/full");
}
