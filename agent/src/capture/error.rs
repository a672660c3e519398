//! Why capture stopped or never began.
//!
//! In: what failed. Out: [`Error`], which says at what. Pure.

use super::sink::SinkError;
use crate::{bpf::LoadError, procfs};

/// Why capture stopped or never began.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel side.
    #[error(transparent)]
    Kernel(#[from] LoadError),
    /// The start-up walk.
    #[error("looking for running containers")]
    Walk(#[from] procfs::Error),
    /// A sink.
    #[error("writing records")]
    Sink(#[source] SinkError),
    /// A thread.
    #[error("starting a thread")]
    Thread(#[source] std::io::Error),
    /// The ring.
    #[error("waiting for the ring buffer")]
    Poll(#[source] std::io::Error),
}
