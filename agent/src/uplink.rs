//! Records to the scorer: a bounded queue and one connection.
//!
//! In: [`Record`](crate::record::Record)s from the capture thread. Out: batches over gRPC, each until it is acknowledged.
//! Never: holds up capture: [`Sender`] only takes a short lock, and when the scorer is away or slow the queue drops its
//! oldest and counts ([`queue`]). Over the node's byte budget whole containers are sent in turns ([`budget`]).
//!
//! | module | in | out |
//! |---|---|---|
//! | `sender` | records | records that the gate admits, in the queue |
//! | [`gate`] | records | those of containers that are on air |
//! | [`meter`], [`budget`] | sizes, the time | what each container costs, who is on air |
//! | [`queue`] | records | numbered batches, until they are acknowledged |
//! | `shared` | work on the queue, from both ends | what changed, told to the metrics (`figures`) |
//! | [`client`], `session` | batches | one connection after another, each from Hello to its end |
//! | `wire` | batches | one connection, packed, its bytes counted |
//! | [`backoff`] | failures | pauses between connections |
//! | `view`, `pace` | counts | what `status` shows |
//! | `options`, [`address`] | the configuration | what all of it is made of |

pub mod address;
pub mod backoff;
pub mod budget;
pub mod client;
mod figures;
pub mod gate;
pub mod meter;
mod options;
mod pace;
pub mod queue;
mod sender;
mod session;
mod shared;
mod view;
mod wire;

pub use address::BadAddress;
pub use client::{Client, Undelivered};
pub use options::Options;
pub use queue::Counts;
pub use sender::Sender;
pub use view::{Line, View};

use prometheus_client::registry::Registry;
use shared::Shared;
use std::sync::Arc;

/// Makes both ends: records go into the first, the second runs in a task.
pub fn uplink(options: Options, registry: &mut Registry) -> Result<(Sender, Client), BadAddress> {
    let shared = Arc::new(Shared::new(options.queue_bytes, options.byte_budget, registry));
    let client = Client::new(options, Arc::clone(&shared))?;
    Ok((Sender { shared }, client))
}
