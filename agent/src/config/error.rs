//! What can be wrong with a configuration.
//!
//! In: what a layer said. Out: an [`Error`] that names the layer, or the key where the value itself is wrong. Never: a
//! message of more than one line.

use std::{io, path::PathBuf};

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is no configuration.
    #[error("the configuration {} is wrong: {reason}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Where and why, in one line.
        reason: String,
    },
    /// A variable's value cannot be used.
    #[error("{name}={value:?}: {reason}")]
    Env {
        /// Which variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// Why not.
        reason: String,
    },
    /// A value cannot be used, whichever layer it comes from.
    #[error("{key}: {reason}")]
    Value {
        /// `section.name`.
        key: &'static str,
        /// Why not.
        reason: String,
    },
}
