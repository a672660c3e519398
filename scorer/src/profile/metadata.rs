//! What `profile.json` holds. *Pure.*
//!
//! In: what training gave. Out: [`Metadata`], which serde reads and writes. Never: a check; those are `archive`'s.

use crate::detect::model::Sizes;
use crate::detect::names::Known;
use crate::detect::novelty::Kept;
use crate::judge::calibration::Calibration;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Version of the metadata's format.
pub const FORMAT: u32 = 2;

/// What `profile.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// [`FORMAT`].
    pub format: u32,
    /// Kind of model: "lstm".
    pub model: String,
    /// What shares this profile: "namespace/owner/container".
    pub workload: String,
    /// Identifies model and vocabulary: the start of a checksum over both.
    pub version: String,
    /// When it was trained.
    pub trained_at: Timestamp,
    /// Image that the training data came from; empty: not known.
    #[serde(default)]
    pub image: String,
    /// Numbering of calls.
    pub abi: String,
    /// Layout of tokens.
    pub token_layout: u32,
    /// How calls were cut: it must be how they are cut when they are judged.
    pub cutting: Cutting,
    /// Sizes of the model.
    pub sizes: Sizes,
    /// Tokens of the vocabulary, as recordings spell them, ascending.
    pub vocabulary: Vec<String>,
    /// The sets of calls that were used together, and what a new one counts for.
    pub novelty: Kept,
    /// What its calls were about; absent in profiles of before there were names.
    #[serde(default, skip_serializing_if = "Known::is_empty")]
    pub names: Known,
    /// What it was trained on, and how.
    pub training: Training,
    /// The threshold, and what it stands on.
    pub calibration: Calibration,
    /// SHA-256 of the weights' file, hexadecimal.
    pub weights_sha256: String,
}

/// The numbers of `window`'s rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cutting {
    /// Calls in a window.
    pub calls: usize,
    /// Calls before it.
    pub context: usize,
    /// Least divisor of a window's surprisal.
    pub shortest: usize,
}

impl Cutting {
    /// This program's.
    pub const OURS: Self = Self {
        calls: crate::detect::window::CALLS,
        context: crate::detect::window::CONTEXT,
        shortest: crate::detect::window::SHORTEST,
    };
}

/// What a model was trained on, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Calls in the recordings.
    pub calls: u64,
    /// Windows in the recordings.
    pub windows: u64,
    /// Windows that differ, trained on.
    pub distinct_windows: u64,
    /// Windows left out because there were more than the program trains on.
    pub sampled_out: u64,
    /// Windows not used because a gap cut them.
    pub gapped: u64,
    /// Windows that would have been held out, but do something that is nowhere else in the recordings.
    pub one_offs: u64,
    /// Container-seconds recorded.
    pub container_seconds: f64,
    /// Passes over the windows.
    pub epochs: u32,
    /// Mean surprisal of held-out windows after each pass, nats a call.
    pub held_out_by_epoch: Vec<f64>,
    /// Seed of everything random.
    pub seed: u64,
}
