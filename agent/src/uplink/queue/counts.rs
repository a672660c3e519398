//! The queue's balance.
//!
//! In: nothing. Out: [`Counts`]. Never: a call in two of them.

use serde::{Deserialize, Serialize};

/// The balance. All cumulative but `waiting`, in calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Came in.
    pub pushed: u64,
    /// Acknowledged by the scorer.
    pub acknowledged: u64,
    /// Dropped here because the queue was full.
    pub dropped: u64,
    /// Not sent because the node was over its byte budget.
    pub left_out: u64,
    /// Still here, or sent and neither acknowledged nor given up.
    pub waiting: u64,
    /// Those of the waiting that were sent on the present connection.
    pub in_flight: u64,
}
