//! What a detector is to everybody else.
//!
//! In: parts of containers' streams, by workload; the profiles to judge them by. Out: a [`Finding`] for each part: nats, and the
//! evidence for them. Never: a threshold, a container's name, a connection.
//!
//! What implements it: [`crate::detect::surprisal`], on windows of calls. The inference thread owns a detector and calls it once
//! for a batch of one workload's parts.

use crate::detect::evidence::Evidence;
use crate::detect::model::ModelError;
use crate::detect::score::Score;
use crate::profile::archive::Profile;
use std::sync::Arc;

/// What a detector says of a part of a container's stream.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How strange it is, nats a call.
    pub score: Score,
    /// What in it was surprising.
    pub evidence: Evidence,
    /// Version of the profile that judged.
    pub version: Arc<str>,
}

/// Says how unlike normal a container behaves.
///
/// Not `Send` on purpose: it may hold tensors, which must stay with one thread.
pub trait Detector {
    /// What is judged at once: a part of one container's stream, as the stage before cuts it.
    type Part;

    /// Judges by this profile from now on. On an error its workload is judged no more.
    fn install(&mut self, profile: Arc<Profile>) -> Result<(), ModelError>;

    /// Judges this workload no more.
    fn remove(&mut self, workload: &str);

    /// Judges parts of one workload's containers; one finding for each, in order. `None`: it has no profile of the workload.
    fn judge(&mut self, workload: &str, parts: &[&Self::Part]) -> Option<Result<Vec<Finding>, ModelError>>;
}
