//! What a store of profiles is to everybody else.
//!
//! In: profiles, thresholds that people set. Out: [`Change`]s, profiles by workload, thresholds in force. Never: a model; who
//! computes with a profile loads it.
//!
//! What implements it: [`crate::profile::directory`].

use crate::judge::threshold::{Source, Threshold};
use crate::profile::archive::Profile;
use crate::profile::error::ProfileError;
use std::sync::Arc;

/// What a scan found.
#[derive(Clone, Debug)]
pub enum Change {
    /// A profile appeared or was replaced.
    Loaded(Arc<Profile>),
    /// A profile's directory is gone.
    Gone(String),
}

/// Keeps profiles, and the thresholds that people set; both survive a restart.
pub trait Store {
    /// Looks what changed since the last scan; others may write to the store at any time.
    fn scan(&mut self) -> Result<Vec<Change>, ProfileError>;

    /// A workload's profile.
    fn get(&self, workload: &str) -> Option<&Arc<Profile>>;

    /// All profiles, by workload.
    fn iter(&self) -> impl Iterator<Item = &Arc<Profile>>;

    /// The threshold in force for a workload; `None`: no profile.
    fn threshold(&self, workload: &str) -> Option<(Threshold, Source)>;

    /// Sets or clears a threshold, for one workload or (`None`) for all, and persists it first.
    fn set_threshold(&mut self, workload: Option<&str>, threshold: Option<Threshold>) -> Result<(), ProfileError>;

    /// Forgets a workload's profile and its threshold; says whether there was one.
    fn remove(&mut self, workload: &str) -> Result<bool, ProfileError>;

    /// Persists a profile; the next scan loads it.
    fn import(&mut self, profile: &Profile) -> Result<(), ProfileError>;
}
