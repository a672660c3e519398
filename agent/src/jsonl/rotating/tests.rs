use super::*;
use crate::jsonl::sample::{calls, death, info, read, said};

fn rotating(path: &Path, max_bytes: u64, keep_files: u32) -> Rotating {
    let options = Options { path: path.to_owned(), max_bytes: Some(max_bytes), keep_files };
    Rotating::create(options, "n", &mut Registry::default()).expect("a file")
}

#[test]
fn files_rotate_and_each_is_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.jsonl");
    let mut sink = rotating(&path, 600, 2);
    sink.take(&Record::Birth(info("c1"))).expect("never");
    sink.take(&Record::Birth(info("c2"))).expect("never");
    for n in 0..40 {
        sink.take(&calls("c1", n, 1)).expect("never");
    }
    sink.take(&death("c2")).expect("never");
    for n in 40..45 {
        sink.take(&calls("c1", n, 1)).expect("never");
    }
    sink.finish().expect("never");
    let (newest, newer, old) = (path.clone(), dir.path().join("a.jsonl.1"), dir.path().join("a.jsonl.2"));
    assert!(!dir.path().join("a.jsonl.3").exists());
    assert!(said(&old).starts_with("c1 c2 c1+1"), "{}", said(&old));
    for path in [&newest, &newer, &old] {
        assert!(read(path).len() > 2);
    }
    let seqs = |path: &PathBuf| read(path).into_iter().filter_map(|l| if let Line::Calls(c) = l { Some(c.seq) } else { None });
    let all: Vec<u64> = [&old, &newer, &newest].into_iter().flat_map(seqs).collect();
    assert_eq!(all, (45 - all.len() as u64..45).collect::<Vec<_>>(), "nothing is missing between files");
    assert_eq!(sink.metrics.taken.get(), 45);
    assert_eq!(sink.metrics.written.get(), 45);
}

#[test]
fn an_earlier_runs_file_is_kept_or_not_as_asked() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.jsonl");
    for (keep, kept) in [(1, true), (0, false)] {
        fs::write(&path, "old").expect("a file");
        let _old = fs::remove_file(dir.path().join("a.jsonl.1"));
        rotating(&path, 1 << 20, keep).finish().expect("never");
        assert_eq!(dir.path().join("a.jsonl.1").exists(), kept);
        assert_eq!(said(&path), "");
    }
}

#[test]
fn without_the_file_the_agent_goes_on_and_counts() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("sub/a.jsonl");
    assert!(
        Rotating::create(Options { path: path.clone(), max_bytes: None, keep_files: 1 }, "n", &mut Registry::default()).is_err()
    );
    fs::create_dir(dir.path().join("sub")).expect("a directory");
    let mut sink = rotating(&path, 300, 1);
    sink.take(&calls("c1", 0, 40)).expect("never");
    fs::remove_dir_all(dir.path().join("sub")).expect("there");
    // The file is full, and there is nowhere to put the next one.
    sink.take(&calls("c1", 40, 5)).expect("never");
    sink.take(&calls("c1", 45, 5)).expect("never");
    let counts = |sink: &Rotating| {
        let dropped = sink.metrics.dropped.get_or_create(&WRITE_FAILED).get();
        (sink.metrics.taken.get(), sink.metrics.written.get(), dropped)
    };
    assert_eq!(counts(&sink), (50, 40, 10));
    fs::create_dir(dir.path().join("sub")).expect("a directory");
    sink.retry_at = Some(Instant::now());
    sink.take(&calls("c1", 50, 5)).expect("never");
    sink.finish().expect("never");
    assert_eq!(counts(&sink), (55, 45, 10));
    assert_eq!(said(&path), "c1 c1+5", "named again");
}
