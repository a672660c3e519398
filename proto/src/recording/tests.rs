use super::{
    line::{Calls, Header, Line},
    reader::{LINE_MAX, Reader},
    writer::Writer,
};
use crate::token::Token;
use jiff::Timestamp;
use proptest::prelude::*;

fn calls(seq: u64, gap: u64, calls: Vec<u16>) -> Line {
    Line::Calls(Calls {
        at: Timestamp::UNIX_EPOCH,
        node: "n".into(),
        container: "c".into(),
        pod: String::new(),
        pid: 7,
        tid: 8,
        process: "redis-server".into(),
        seq,
        gap,
        calls: calls.into_iter().map(Token).collect(),
        last: false,
        by_exec: false,
    })
}

fn write(lines: &[Line]) -> Vec<u8> {
    let mut w = Writer::new(Vec::new(), &Header::new("n", Some("normal"), Timestamp::UNIX_EPOCH)).expect("memory");
    for line in lines {
        w.write(line).expect("memory");
    }
    w.finish().expect("memory")
}

fn read(bytes: &[u8]) -> Result<Vec<Line>, String> {
    Reader::new(bytes).and_then(Iterator::collect).map_err(|e| e.to_string())
}

proptest! {
    #[test]
    fn reads_back_what_was_written(runs in prop::collection::vec((any::<u64>(), any::<u64>(), prop::collection::vec(any::<u16>(), 0..40)), 0..8)) {
        let lines: Vec<_> = runs.into_iter().map(|(s, g, c)| calls(s, g, c)).collect();
        prop_assert_eq!(read(&write(&lines)), Ok(lines));
    }

    #[test]
    fn no_cut_goes_unnoticed(cut in 0usize..1000) {
        let whole = write(&[calls(0, 0, vec![59, 0]), calls(2, 5, vec![1, 2, 3])]);
        let cut = cut % whole.len();
        prop_assert!(read(&whole[..cut]).is_err());
    }

    #[test]
    fn garbage_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(&bytes).is_err());
    }
}

#[test]
fn spells_calls_by_name() {
    let text = String::from_utf8(write(&[calls(0, 3, vec![59, Token::new(257, 15).0])])).expect("JSON is UTF-8");
    assert_eq!(
        text.lines().nth(1),
        Some(
            r#"{"type":"calls","at":"1970-01-01T00:00:00Z","node":"n","container":"c","pid":7,"tid":8,"process":"redis-server","seq":0,"gap":3,"calls":["execve","openat:15"]}"#
        )
    );
}

#[test]
fn names_what_is_wrong() {
    let other = |from: &str, to: &str| String::from_utf8(write(&[])).expect("JSON is UTF-8").replace(from, to).into_bytes();
    for (bytes, message) in [
        (b"hello\n".to_vec(), "not a recording: the first line is no header"),
        (other("\"version\":2", "\"version\":9"), "the format's version is 9, this program reads 1 to 2"),
        (other("x86_64", "riscv64"), "the call numbering is \"riscv64\", this program reads \"x86_64\""),
        (
            [write(&[]).split_inclusive(|b| *b == b'\n').next().expect("a header"), &vec![b' '; LINE_MAX as usize + 1]].concat(),
            "truncated after line 1: the next line is longer than any that is written",
        ),
        (other("\"lines\":1", "\"lines\":2"), "truncated after line 1: the end line counts other lines"),
    ] {
        assert_eq!(read(&bytes), Err(message.to_owned()));
    }
}
