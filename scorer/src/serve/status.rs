//! The service for status: what went through each hop.
//!
//! In: nothing. Out: every hop of this scorer with its balance, and the nodes. Never: a change.
//!
//! | hop | counts | bounded by | when full |
//! |---|---|---|---|
//! | ingest | batches | [`room::ROOM`] bytes, and one batch of at most [`room::WAITS`] for each stream | the sender waits, then has to come again |
//! | windows | calls | [`Limits`]: threads x [`THREAD_BYTES`] | calls of new threads and containers are dropped |
//! | model queue | windows | [`Limits`]: places x [`WINDOW_BYTES`] | new ones of the containers that have the most are dropped |
//!
//! [`room::ROOM`]: crate::ingest::room::ROOM
//! [`room::WAITS`]: crate::ingest::room::WAITS
//! [`Limits`]: crate::containers::limits::Limits
//! [`THREAD_BYTES`]: crate::containers::thread::THREAD_BYTES
//! [`WINDOW_BYTES`]: crate::containers::queue::WINDOW_BYTES

use crate::containers::shared::Shared;
use crate::ingest::room::Room;
use std::sync::Arc;
use std::time::SystemTime;
use surprisal_proto::v1::{self, status_server};
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone, Debug)]
pub struct Service {
    shared: Arc<Shared>,
    room: Room,
    started_at: SystemTime,
}

impl Service {
    /// Answers from what the stages count.
    pub fn new(shared: Arc<Shared>, room: Room) -> Self {
        Self { shared, room, started_at: SystemTime::now() }
    }
}

#[tonic::async_trait]
impl status_server::Status for Service {
    async fn get(&self, _: Request<v1::GetStatusRequest>) -> Result<Response<v1::GetStatusResponse>, Status> {
        let ingest = self.room.hop();
        let (hops, nodes) = {
            let registry = self.shared.registry();
            (registry.hops(), registry.nodes())
        };
        Ok(Response::new(v1::GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: Some(self.started_at.into()),
            hops: std::iter::once(ingest).chain(hops).collect(),
            nodes,
        }))
    }
}
