//! Why a data set cannot be used.
//!
//! In: what is wrong, with what. Out: [`DataError`], one clear reason. Never: a way around it.

use std::path::PathBuf;
use surprisal_proto::token::NR_FOREIGN;

/// A data set that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// One of the three parts is not there.
    #[error("{}: no {set} there (a folder, {set}.txt, {set}.jsonl or {set}.jsonl.zst)", dir.display())]
    Missing {
        /// The data set.
        dir: PathBuf,
        /// Which part.
        set: &'static str,
    },
    /// One of the three parts is there twice.
    #[error("both {} and {} are there: which one is meant?", first.display(), second.display())]
    Twice {
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// Something could not be read.
    #[error("reading {}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A word is no call.
    #[error("{}:{line}: {word:?} is no call of {abi} (a number below {NR_FOREIGN} or a name; --abi chooses the numbering)", path.display())]
    Token {
        /// File.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The word, shortened.
        word: String,
        /// The numbering.
        abi: &'static str,
    },
    /// A part holds nothing.
    #[error("{}: holds no {what}", path.display())]
    Empty {
        /// Which part.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// Recordings and files of text in one data set.
    #[error("{}: {set} holds recordings; they are not judged together with text", dir.display())]
    Mixed {
        /// The data set.
        dir: PathBuf,
        /// The part with recordings.
        set: &'static str,
    },
    /// A recording is bad.
    #[error("recording")]
    Recording(#[from] crate::train::recording::CorpusError),
    /// The times of an attack recording's attacks are missing or bad.
    #[error("{}: {reason}", path.display())]
    Attacks {
        /// File.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The recordings do not say whose windows are meant.
    #[error("{}: {reason}", dir.display())]
    Workload {
        /// The data set.
        dir: PathBuf,
        /// What is wrong.
        reason: String,
    },
}
