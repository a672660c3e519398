//! Choices that are made by one word, the same in flags, variables and files.
//!
//! In: a word, through clap or serde. Out: a [`CaptureMethod`] or a [`LogFormat`]. Never: reads a source itself.

use crate::bpf;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Where the kernel side keeps threads' buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum CaptureMethod {
    /// The first of the others that the kernel takes.
    #[default]
    Auto,
    /// Task storage or nothing.
    TaskStorage,
    /// A hash map.
    Hash,
    /// A hash map, and plain raw tracepoints instead of BTF ones.
    Raw,
}

impl From<CaptureMethod> for bpf::Capture {
    fn from(method: CaptureMethod) -> Self {
        match method {
            CaptureMethod::Auto => Self::Auto,
            CaptureMethod::TaskStorage => Self::TaskStorage,
            CaptureMethod::Hash => Self::Hash,
            CaptureMethod::Raw => Self::Raw,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}
