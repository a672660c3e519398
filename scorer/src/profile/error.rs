//! Why there is no profile.
//!
//! In: what went wrong, on what. Out: [`ProfileError`], one clear reason. Never: a retry.

use crate::profile::weights::WeightsError;
use std::io;
use std::path::PathBuf;

/// Longest workload name, bytes.
pub const WORKLOAD_MAX: usize = 512;

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A file could not be read or written.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is larger than any real one.
    #[error("{} is larger than {max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        max: u64,
    },
    /// The metadata is no JSON of this shape.
    #[error("profile.json is damaged")]
    Damaged(#[source] serde_json::Error),
    /// Another version of something.
    #[error("{what} is {found}, this program reads {expected}: train it again")]
    Version {
        /// Of what.
        what: &'static str,
        /// In the file.
        found: String,
        /// Here.
        expected: String,
    },
    /// Something in the metadata contradicts itself.
    #[error("profile.json is damaged: {0}")]
    Inconsistent(String),
    /// The weights are not those that the metadata was written for.
    #[error(
        "weights.safetensors is damaged, or not the file that profile.json was written for (SHA-256 {found}, expected {expected})"
    )]
    Checksum {
        /// Of the file.
        found: String,
        /// In the metadata.
        expected: String,
    },
    /// The weights do not fit the metadata.
    #[error("weights.safetensors cannot be used")]
    Weights(#[source] WeightsError),
    /// A workload's name cannot be one.
    #[error("{0:?} is no workload name: it must be 1 to {WORKLOAD_MAX} bytes without control characters")]
    Workload(String),
}
