use super::line::{Name, OLDEST};
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

/// A file as version 1 wrote it: without names, read as it ever was.
#[test]
fn version_1_is_read() {
    let text = r#"{"type":"header","version":1,"abi":"x86_64","token_layout":1,"node":"n","label":"normal","created_at":"2026-07-01T00:00:00Z"}
{"type":"container","id":"c","node":"n","namespace":"shop","pod":"web-0","name":"nginx","workload":"shop/web/nginx"}
{"type":"calls","at":"2026-07-01T00:00:01Z","node":"n","container":"c","pod":"web-0","pid":7,"tid":8,"process":"nginx","seq":0,"calls":["execve","openat:15"],"last":true}
{"type":"account","container":"c","issued":2,"delivered":2,"lost":0}
{"type":"death","container":"c","at":"2026-07-01T00:00:02Z"}
{"type":"end","lines":5,"calls":2}
"#;
    let reader = Reader::new(text.as_bytes()).expect("a header");
    assert_eq!(reader.header.version, OLDEST);
    let lines: Vec<_> = reader.collect::<Result<_, _>>().expect("all lines");
    let Line::Calls(calls) = &lines[1] else { panic!("calls, not {:?}", lines[1]) };
    assert_eq!(calls.calls, [Token(59), Token::new(257, 15)]);
    let Line::Account(account) = &lines[2] else { panic!("an account, not {:?}", lines[2]) };
    assert_eq!((account.names_untold, account.names_unread), (0, 0));
}

#[test]
fn names_are_spelled_and_read_back() {
    let name = Name {
        at: Timestamp::UNIX_EPOCH,
        container: "c".into(),
        pid: 7,
        tid: 8,
        seq: 3,
        call: Token::new(257, 15),
        name: "/etc/cron.d/x".into(),
        argv0: String::new(),
        relative: false,
        truncated: false,
        late: true,
    };
    let text = serde_json::to_string(&Line::Name(name.clone())).expect("JSON");
    let expect = r#"{"type":"name","at":"1970-01-01T00:00:00Z","container":"c","pid":7,"tid":8,"seq":3,"call":"openat:15","name":"/etc/cron.d/x","late":true}"#;
    assert_eq!(text, expect);
    assert_eq!(serde_json::from_str::<Line>(&text).expect("a line"), Line::Name(name));
}
