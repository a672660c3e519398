//! Profiles: what is normal for a workload, as files.
//!
//! In: a directory. Out: [`archive::Profile`]s that are whole, of this version and consistent in themselves, or one
//! clear reason. Never: a half-written file: each is written beside its name and renamed over it.
//!
//! ```text
//! DIR/thresholds.json                        overrides, see [`directory`]
//! DIR/<workload, %-escaped>/profile.json     metadata: vocabulary, sizes, calibration, checksum of the weights
//! DIR/<workload, %-escaped>/weights.safetensors
//! ```
//!
//! The weights are written first. A reader that comes in between finds a checksum that does not match,
//! keeps what it has, and looks again.

pub mod archive;
pub mod directory;
pub mod error;
mod file;
pub mod metadata;
pub mod name;
pub mod store;
pub mod weights;
pub mod wire;
