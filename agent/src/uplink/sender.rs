//! The end of the uplink that capture holds.
//!
//! In: [`Record`]s. Out: records in the queue, as far as the byte budget admits them. Never: waits for the scorer.

use super::{
    queue::Counts,
    shared::{Shared, look},
    view::View,
};
use crate::{
    capture::{Sink, SinkError},
    record::Record,
};
use jiff::Timestamp;
use std::sync::Arc;

/// The end that capture holds.
#[derive(Clone, Debug)]
pub struct Sender {
    pub(super) shared: Arc<Shared>,
}

impl Sender {
    /// Puts a record into the queue; never waits for the scorer.
    pub fn push(&self, record: &Record) {
        let closed = self.shared.with_gate(|queue, gate, now| {
            if let Some(gate) = gate {
                look(queue, gate, now);
                if !gate.admits(record) {
                    queue.leave_out(record);
                    return false;
                }
            }
            queue.push(record, Timestamp::now())
        });
        if closed {
            self.shared.ready.notify_one();
        }
    }

    /// What `status` shows.
    pub fn view(&self) -> View {
        View::new(Arc::clone(&self.shared))
    }

    /// The queue's balance.
    pub fn counts(&self) -> Counts {
        self.shared.lock().queue.counts()
    }
}

impl Sink for Sender {
    fn take(&mut self, record: &Record) -> Result<(), SinkError> {
        self.push(record);
        Ok(())
    }

    fn idle(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.shared.with(|queue| queue.close(Timestamp::now()));
        self.shared.ready.notify_one();
        Ok(())
    }
}
