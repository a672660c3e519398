//! The registry as several tasks share it.
//!
//! In: a registry. Out: the same, locked, and the time by one clock. Never: waits while it is locked.

use crate::containers::registry::{Now, Registry};
use jiff::Timestamp;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// What the pipeline, the inference thread's sink and the services look at.
#[derive(Debug)]
pub struct Shared {
    registry: Mutex<Registry>,
    begun: Instant,
    /// The model has finished windows: it can have more.
    pub finished: Notify,
}

impl Shared {
    /// Around a registry.
    pub fn new(registry: Registry) -> Self {
        Self { registry: Mutex::new(registry), begun: Instant::now(), finished: Notify::new() }
    }

    /// The registry, locked: hold it for no longer than it takes to look or to change.
    pub fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Now.
    pub fn now(&self) -> Now {
        Now { mono: self.begun.elapsed(), wall: Timestamp::now() }
    }
}
