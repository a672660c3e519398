//! Recordings: JSON Lines, version 1.
//!
//! In: [`Line`]s. Out: text, and the same lines again. Never: opens a file, rotates, interprets calls.
//!
//! A recording is one JSON object a line, told apart by `"type"`:
//!
//! | type | when | fields |
//! |---|---|---|
//! | `header` | first line, once | `version` (1), `abi`, `token_layout`, `node`, `label`, `created_at` |
//! | `container` | before the container's first calls | the names of `surprisal.v1.Container`; empty ones are left out |
//! | `calls` | one run of consecutive calls of one thread | `at`, `node`, `container` (id), `pod`, `pid`, `tid`, `process`, `seq`, `gap`, `calls`, `last` |
//! | `account` | now and then, and at a container's end | `container`, `issued`, `delivered`, `lost`, `threads_untracked` |
//! | `death` | a container's end | `container`, `at` |
//! | `end` | last line, once | `lines` before it, `calls` in them |
//!
//! `calls` holds names; a call whose scalar arguments have a class is `name:class` (`openat:15`), so that
//! a recording reads back losslessly. `seq` is the number of the first call in its thread, from 0; `gap` is
//! how many calls directly before it are known lost. A file that a full disk or a kill cut short has no
//! `end` and is refused as truncated, unless the reader is told to take what is there.

use crate::{
    names,
    token::{self, Token},
    v1,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Write};

/// Version of the format.
pub const VERSION: u32 = 1;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Line {
    /// What the file is.
    Header(Header),
    /// A container, named.
    Container(Container),
    /// A run of calls.
    Calls(Calls),
    /// A container's balance, cumulative.
    Account(Account),
    /// A container's end.
    Death(Death),
    /// The file is whole.
    End(End),
}

/// First line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    pub version: u32,
    /// Numbering of calls: [`token::ABI`].
    pub abi: String,
    /// [`token::LAYOUT`].
    pub token_layout: u32,
    /// Node the calls were made on.
    pub node: String,
    /// What the calls are: "normal", "attack", anything. Absent: not labelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// When the file was begun.
    pub created_at: Timestamp,
}

/// A container's names; see `surprisal.v1.Container`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Runtime's id.
    pub id: String,
    /// Node.
    pub node: String,
    /// Kubernetes namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Pod name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pod: String,
    /// Pod UID.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pod_uid: String,
    /// Container name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Image reference.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// The runtime's namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub runtime_namespace: String,
    /// What shares a profile.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub workload: String,
    /// A pod sandbox.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sandbox: bool,
}

/// A run of consecutive calls of one thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// When the first call was entered.
    pub at: Timestamp,
    /// Node.
    pub node: String,
    /// Container id.
    pub container: String,
    /// Pod name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pod: String,
    /// Process id on the node (tgid).
    pub pid: u32,
    /// Thread id on the node.
    pub tid: u32,
    /// Process name.
    pub process: String,
    /// Number of the first call in its thread, from 0.
    pub seq: u64,
    /// Calls known lost directly before the first one here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gap: u64,
    /// The calls.
    #[serde(with = "spelled")]
    pub calls: Vec<Token>,
    /// The thread has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last: bool,
}

/// A container's balance, cumulative.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Container id.
    pub container: String,
    /// Calls issued.
    pub issued: u64,
    /// Calls delivered to user space.
    pub delivered: u64,
    /// Calls lost in the kernel's ring buffer.
    pub lost: u64,
    /// Threads that could not be followed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub threads_untracked: u64,
}

/// A container's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// Container id.
    pub container: String,
    /// When its last thread was gone.
    pub at: Timestamp,
}

/// Last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Lines before this one, the header counted in.
    pub lines: u64,
    /// Calls in them.
    pub calls: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

mod spelled {
    use super::{Token, names};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::borrow::Cow;

    pub(super) fn serialize<S: Serializer>(tokens: &[Token], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(tokens.iter().map(|t| names::spell(*t)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Token>, D::Error> {
        let names = Vec::<Cow<'de, str>>::deserialize(d)?;
        names.iter().map(|n| names::parse(n).map_err(D::Error::custom)).collect()
    }
}

impl Header {
    /// A header of this version.
    #[must_use]
    pub fn new(node: &str, label: Option<&str>, created_at: Timestamp) -> Self {
        Self {
            version: VERSION,
            abi: token::ABI.to_owned(),
            token_layout: token::LAYOUT,
            node: node.to_owned(),
            label: label.map(str::to_owned),
            created_at,
        }
    }
}

impl From<&v1::Container> for Container {
    fn from(c: &v1::Container) -> Self {
        let c = c.clone();
        Self {
            sandbox: c.kind == v1::container::Kind::Sandbox as i32,
            id: c.id,
            node: c.node,
            namespace: c.namespace,
            pod: c.pod,
            pod_uid: c.pod_uid,
            name: c.name,
            image: c.image,
            runtime_namespace: c.runtime_namespace,
            workload: c.workload,
        }
    }
}

/// Writes one file of a recording: header first, [`Writer::finish`] last.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    lines: u64,
    calls: u64,
    bytes: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    pub fn new(out: W, header: &Header) -> io::Result<Self> {
        let mut w = Self { out, lines: 0, calls: 0, bytes: 0 };
        w.write(&Line::Header(header.clone()))?;
        Ok(w)
    }

    /// Adds a line.
    pub fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.out.write_all(&text)?;
        self.lines += 1;
        self.bytes += text.len() as u64;
        if let Line::Calls(c) = line {
            self.calls += c.calls.len() as u64;
        }
        Ok(())
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes what was written so far visible to readers.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Closes the file with its `end` line and gives the writer back.
    pub fn finish(mut self) -> io::Result<W> {
        let end = End { lines: self.lines, calls: self.calls };
        self.write(&Line::End(end))?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Why a recording could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error("line {line}: reading failed")]
    Io {
        /// Line, from 1.
        line: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The first line is not a header.
    #[error("not a recording: the first line is no header")]
    NotARecording,
    /// Another version, ABI or layout.
    #[error("{what} is {found}, this program reads {expected}")]
    Version {
        /// Which of them.
        what: &'static str,
        /// In the file.
        found: String,
        /// Here.
        expected: String,
    },
    /// A line is no line of this format.
    #[error("line {line} is damaged")]
    Damaged {
        /// Line, from 1.
        line: u64,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The `end` line is missing or counts other lines.
    #[error("truncated after line {line}: {reason}")]
    Truncated {
        /// Last line read.
        line: u64,
        /// What is missing.
        reason: &'static str,
    },
}

/// Longest line that is read, bytes: a thousand times the longest that the agent writes.
const LINE_MAX: u64 = 16 << 20;

/// Reads one file of a recording, line by line.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    /// The first line.
    pub header: Header,
    line: u64,
    calls: u64,
    done: bool,
    buffer: String,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    pub fn new(mut input: R) -> Result<Self, ReadError> {
        // A damaged or foreign file may have no newline for gigabytes; a header never needs this much.
        const HEADER_MAX: u64 = 64 << 10;
        let mut first = Vec::new();
        io::Read::take(&mut input, HEADER_MAX)
            .read_until(b'\n', &mut first)
            .map_err(|source| ReadError::Io { line: 1, source })?;
        // The version is looked at before the rest, so that a newer file is named as such.
        let value: serde_json::Value = serde_json::from_slice(&first).map_err(|_source| ReadError::NotARecording)?;
        if value["type"] != "header" {
            return Err(ReadError::NotARecording);
        }
        let check = |what, key: &str, expected: serde_json::Value| {
            if value[key] == expected {
                return Ok(());
            }
            Err(ReadError::Version { what, found: value[key].to_string(), expected: expected.to_string() })
        };
        check("the format's version", "version", VERSION.into())?;
        check("the call numbering", "abi", token::ABI.into())?;
        check("the token layout", "token_layout", token::LAYOUT.into())?;
        let header = match serde_json::from_value(value) {
            Ok(Line::Header(header)) => header,
            Ok(_) => return Err(ReadError::NotARecording),
            Err(source) => return Err(ReadError::Damaged { line: 1, source }),
        };
        Ok(Self { input, header, line: 1, calls: 0, done: false, buffer: String::new() })
    }

    fn read(&mut self) -> Result<Option<Line>, ReadError> {
        self.buffer.clear();
        // As of the header: without a bound, a file without newlines would be read into memory whole.
        let mut input = io::Read::take(&mut self.input, LINE_MAX);
        let n = input.read_line(&mut self.buffer).map_err(|source| ReadError::Io { line: self.line + 1, source })?;
        if n as u64 == LINE_MAX && !self.buffer.ends_with('\n') {
            return Err(ReadError::Truncated { line: self.line, reason: "the next line is longer than any that is written" });
        }
        if n == 0 {
            return Err(ReadError::Truncated { line: self.line, reason: "the end line is missing" });
        }
        if !self.buffer.ends_with('\n') {
            return Err(ReadError::Truncated { line: self.line, reason: "the last line is cut" });
        }
        let line = serde_json::from_str(&self.buffer).map_err(|source| ReadError::Damaged { line: self.line + 1, source })?;
        if let Line::End(end) = line {
            if (end.lines, end.calls) != (self.line, self.calls) {
                return Err(ReadError::Truncated { line: self.line, reason: "the end line counts other lines" });
            }
            self.done = true;
            return Ok(None);
        }
        self.line += 1;
        if let Line::Calls(c) = &line {
            self.calls += c.calls.len() as u64;
        }
        Ok(Some(line))
    }
}

/// Ends after the `end` line or after the first error.
impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Line, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = self.read().transpose();
        if matches!(item, Some(Err(_))) {
            self.done = true;
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            (other("\"version\":1", "\"version\":9"), "the format's version is 9, this program reads 1"),
            (other("x86_64", "riscv64"), "the call numbering is \"riscv64\", this program reads \"x86_64\""),
            (
                [write(&[]).split_inclusive(|b| *b == b'\n').next().expect("a header"), &vec![b' '; LINE_MAX as usize + 1]]
                    .concat(),
                "truncated after line 1: the next line is longer than any that is written",
            ),
            (other("\"lines\":1", "\"lines\":2"), "truncated after line 1: the end line counts other lines"),
        ] {
            assert_eq!(read(&bytes), Err(message.to_owned()));
        }
    }
}
