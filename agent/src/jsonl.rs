//! Records into files, in the format of [`surprisal_proto::recording`].
//!
//! In: [`Record`](crate::record::Record)s from the capture thread. Out: one recording ([`Recording`], for `record`), or
//! files that rotate by size ([`Rotating`], for `run --jsonl`). Never: writes network counters, which the format does not
//! carry.
//!
//! Each file is whole by itself: header, the containers known so far, then what happens, then the `end` line. A full
//! disk ends `record`; `run` goes on without the file, counts the calls that are missing from it and begins a new
//! one as soon as it can.

mod figures;
mod file;
mod lines;
mod recording;
mod rotating;
#[cfg(test)]
mod sample;

pub use figures::View;
pub use file::Error;
pub use recording::Recording;
pub use rotating::{Options, Rotating};
