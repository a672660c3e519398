//! Writing one file of a recording.
//!
//! In: [`Line`]s. Out: text. Never: opens a file, rotates.

use super::line::{End, Header, Line};
use std::io::{self, Write};

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
