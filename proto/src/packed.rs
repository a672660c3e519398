//! Batches as blocks of one zstd stream: what repeats from batch to batch costs almost nothing on the wire.
//!
//! In: a [`Batch`], or the bytes that a peer says are one. Out: a block, or the batch. Pure: no connection, no clock.
//! Never: gives out more than its bound, whatever a block says of itself; goes on after an error.
//!
//! A block is what `StreamRequest.packed` carries: the batch's length as a varint and the encoded batch (protobuf's
//! delimited form), compressed with everything sent before it on the connection as its history (within
//! [`WINDOW_LOG`]), and flushed, so that it can be read at once. Blocks are of use only in their order, and only on the
//! connection that they were made for: a new connection begins with a new [`Packer`] and a new [`Unpacker`].
//!
//! Memory: the history is 2^[`WINDOW_LOG`] bytes. With it and zstd's own tables a [`Packer`] holds up to [`PACKER_BYTES`]
//! and an [`Unpacker`] up to [`UNPACKER_BYTES`]; both hold nothing before their first batch.

use crate::v1::Batch;
use prost::Message as _;
use std::{fmt, io};
use zstd::stream::raw::{CParameter, DParameter, Decoder, Encoder, InBuffer, Operation as _, OutBuffer};

/// Base-2 logarithm of the bytes of history that a block may refer to. A stream that wants more is refused.
///
/// More than a steady server's batches of a second: on recordings of redis, nginx and MariaDB under load 2^17, 2^18 and 2^20
/// differ by less than 1 %.
pub const WINDOW_LOG: u32 = 17;

/// Most memory that a [`Packer`] keeps between batches, bytes.
pub const PACKER_BYTES: usize = 1280 << 10;

/// Most memory that an [`Unpacker`] keeps between batches, bytes.
pub const UNPACKER_BYTES: usize = 640 << 10;

/// zstd's level: on the same recordings a call of redis costs 0.15 bytes, and 0.18 at level 3 for 10 ns less.
const LEVEL: i32 = 6;

/// Base-2 logarithm of the entries of zstd's tables: as large as the history, and no larger.
const TABLE_LOG: u32 = 15;

/// Bytes unpacked at a time; no more than this is written beyond the bound before it is noticed.
const STEP: usize = 16 << 10;

/// The longest varint of a length.
const LENGTH_MAX: usize = 10;

/// Why a batch was not packed or unpacked. After any of them the stream is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// zstd could not compress: no memory.
    #[error("cannot compress a batch")]
    Compress(#[source] io::Error),
    /// The bytes are not the next block of this connection's stream, or their history is larger than agreed.
    #[error("a packed batch is not the next block of this connection's zstd stream (window at most 2^{WINDOW_LOG} bytes)")]
    Decompress(#[source] io::Error),
    /// The batch is, or says that it is, too large.
    #[error("a packed batch holds more than {max} bytes")]
    TooLarge {
        /// The bound, bytes.
        max: usize,
    },
    /// The block holds less or more than the one batch it announces, or ends the stream.
    #[error("a packed batch says that it holds {said} bytes and holds {got}")]
    Length {
        /// What it says.
        said: usize,
        /// What there is; one more than `said` stands for any more.
        got: usize,
    },
    /// What was unpacked is no batch.
    #[error("a packed batch is damaged")]
    Decode(#[source] prost::DecodeError),
    /// An earlier block was refused.
    #[error("the zstd stream was given up at an earlier batch")]
    GivenUp,
}

/// Where a stream is.
enum Stream<T> {
    /// Nothing is held.
    New,
    Running(T),
    GivenUp,
}

impl<T> Stream<T> {
    fn running(&mut self, start: impl FnOnce() -> Result<T, PackError>) -> Result<&mut T, PackError> {
        if matches!(self, Self::New) {
            *self = Self::Running(start()?);
        }
        match self {
            Self::Running(stream) => Ok(stream),
            Self::New | Self::GivenUp => Err(PackError::GivenUp),
        }
    }
}

impl<T> fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "New",
            Self::Running(_) => "Running",
            Self::GivenUp => "GivenUp",
        })
    }
}

/// The sending end of one connection.
#[derive(Debug)]
pub struct Packer {
    stream: Stream<Encoder<'static>>,
}

impl Default for Packer {
    fn default() -> Self {
        Self::new()
    }
}

impl Packer {
    /// For a new connection.
    pub fn new() -> Self {
        Self { stream: Stream::New }
    }

    /// The next block. What it costs depends on what was packed before it; it is never much larger than the batch.
    pub fn pack(&mut self, batch: &Batch) -> Result<Vec<u8>, PackError> {
        let encoder = self.stream.running(|| encoder().map_err(PackError::Compress))?;
        let packed = compress(encoder, &batch.encode_length_delimited_to_vec());
        if packed.is_err() {
            self.stream = Stream::GivenUp;
        }
        packed.map_err(PackError::Compress)
    }
}

fn encoder() -> io::Result<Encoder<'static>> {
    let mut encoder = Encoder::new(LEVEL)?;
    for parameter in PARAMETERS {
        encoder.set_parameter(parameter)?;
    }
    Ok(encoder)
}

/// How a block is made.
const PARAMETERS: [CParameter; 3] =
    [CParameter::WindowLog(WINDOW_LOG), CParameter::HashLog(TABLE_LOG), CParameter::ChainLog(TABLE_LOG)];

fn compress(encoder: &mut Encoder<'_>, plain: &[u8]) -> io::Result<Vec<u8>> {
    // A steady batch shrinks 10 times and more.
    let mut packed = Vec::with_capacity(plain.len() / 8 + 256);
    let mut input = InBuffer::around(plain);
    loop {
        let at = packed.len();
        packed.reserve(256);
        let mut output = OutBuffer::around_pos(&mut packed, at);
        if input.pos() < plain.len() {
            encoder.run(&mut input, &mut output)?;
        } else if encoder.flush(&mut output)? == 0 {
            return Ok(packed);
        }
    }
}

/// The receiving end of one connection.
#[derive(Debug)]
pub struct Unpacker {
    max_bytes: usize,
    stream: Stream<Decoder<'static>>,
}

impl Unpacker {
    /// For a new connection. `max_bytes`: the largest batch it gives out, encoded; a larger one is refused.
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, stream: Stream::New }
    }

    /// The batch in the connection's next block.
    ///
    /// Work and memory are bounded by `max_bytes` and the block's own length, whatever the block holds.
    pub fn unpack(&mut self, packed: &[u8]) -> Result<Batch, PackError> {
        let max = self.max_bytes;
        let decoder = self.stream.running(|| decoder().map_err(PackError::Decompress))?;
        let batch = decompress(decoder, packed, max).and_then(|plain| undelimited(&plain, max));
        if batch.is_err() {
            self.stream = Stream::GivenUp;
        }
        batch
    }
}

fn decoder() -> io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
    Ok(decoder)
}

fn decompress(decoder: &mut Decoder<'_>, packed: &[u8], max: usize) -> Result<Vec<u8>, PackError> {
    let (mut plain, mut read, mut step) = (Vec::new(), 0, [0; STEP]);
    loop {
        let status = decoder.run_on_buffers(&packed[read..], &mut step).map_err(PackError::Decompress)?;
        read += status.bytes_read;
        plain.extend_from_slice(&step[..status.bytes_written]);
        if plain.len() > max.saturating_add(LENGTH_MAX) {
            return Err(PackError::TooLarge { max });
        }
        // Less than there was room for, and nothing left to read: that was all of it.
        if read == packed.len() && status.bytes_written < STEP {
            return Ok(plain);
        }
    }
}

fn undelimited(plain: &[u8], max: usize) -> Result<Batch, PackError> {
    let mut rest = plain;
    let said = prost::decode_length_delimiter(&mut rest).map_err(PackError::Decode)?;
    if said > max {
        return Err(PackError::TooLarge { max });
    }
    if rest.len() != said {
        return Err(PackError::Length { said, got: rest.len() });
    }
    Batch::decode(rest).map_err(PackError::Decode)
}

#[cfg(test)]
mod tests;
