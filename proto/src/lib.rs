//! The wire and the recording: what leaves a node.
//!
//! In: nothing. Out: the messages and services of `surprisal.v1` ([`v1`]), who a container is ([`container`]), the names of
//! calls ([`names`]), batches packed into a connection's one zstd stream ([`packed`]), and the recording format
//! ([`recording`]) that the agent writes and the scorer trains on.
//! Never: a connection, a model, a clock.
//!
//! `src/generated/` is committed, so that a build needs neither a network nor `protoc`;
//! `cargo xtask codegen` makes it anew, and `cargo xtask test` fails when the two differ.

pub mod container;
pub mod names;
pub mod packed;
pub mod recording;
pub mod status;
pub mod time;
pub mod token;
pub mod v1;

/// All of `surprisal.v1` as an encoded `FileDescriptorSet`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/surprisal.v1.bin");

/// Where a scorer listens and an agent looks for it, unless told otherwise.
pub const DEFAULT_PORT: u16 = 7676;
