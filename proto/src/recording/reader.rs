//! Reading one file of a recording.
//!
//! In: text that anybody may have written. Out: its [`Line`]s, or the first thing that is wrong with it. Never: holds
//! more than one line.

use super::line::{Header, Line, OLDEST, VERSION};
use crate::token;
use std::io::{self, BufRead};

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
pub(super) const LINE_MAX: u64 = 16 << 20;

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
        if !value["version"].as_u64().is_some_and(|version| (u64::from(OLDEST)..=u64::from(VERSION)).contains(&version)) {
            let expected = format!("{OLDEST} to {VERSION}");
            return Err(ReadError::Version { what: "the format's version", found: value["version"].to_string(), expected });
        }
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
