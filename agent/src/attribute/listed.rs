//! One container as people see it: who it is, how it was found, whether it is followed.
//!
//! In: an entry of the table. Out: [`Listed`]. Pure.

use crate::{container::ContainerInfo, identity::Sighting};
use jiff::Timestamp;
use std::sync::Arc;

/// Whether it is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Its names are being looked for; its calls wait.
    Asked,
    /// It is followed, whether or not it has names.
    Followed,
    /// Nobody wants it.
    Unwanted,
}

/// A container that is known now.
#[derive(Clone, Debug)]
pub struct Listed {
    /// How it was found.
    pub who: Sighting,
    /// Whether it is followed.
    pub naming: Naming,
    /// Its names; `None`: they are being looked for.
    pub info: Option<Arc<ContainerInfo>>,
    /// When it was found.
    pub since: Timestamp,
}

impl Listed {
    /// Its id, as far as it is known.
    pub fn id(&self) -> String {
        match &self.info {
            Some(info) => info.id.to_string(),
            None => self.who.cgroup_name.clone(),
        }
    }
}
