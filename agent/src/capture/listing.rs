//! The containers that the capture thread knows, for those who ask.
//!
//! In: its list, once a second. Out: the latest list. Never: more than the table of containers holds; names are shared with it.

use crate::attribute::Listed;
use std::sync::{Arc, Mutex, PoisonError};

/// The latest list; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Listing(Arc<Mutex<Arc<[Listed]>>>);

impl Listing {
    /// Puts a new list in place.
    pub fn publish(&self, list: Vec<Listed>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = list.into();
    }

    /// The latest list.
    pub fn get(&self) -> Arc<[Listed]> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
