//! Batches from agents.
//!
//! In: one stream per node. Out: checked batches, into a bounded queue, and acknowledgements. Never: a batch
//! taken twice, a batch acknowledged before it is in the queue.
//!
//! Full room makes the stream wait, and HTTP/2's flow control makes the agent wait; where that lasts longer
//! than [`room::PATIENCE`] the stream ends with `RESOURCE_EXHAUSTED`, and the agent's own bounded queue decides.
//!
//! What agents can take, whatever they send:
//! - in all, [`room::ROOM`] bytes of batches that wait for the next stage;
//! - each stream, [`stream::STREAM_BYTES`] at most: what HTTP/2 may send ahead ([`stream::AHEAD`]), one encoded message ([`stream::MESSAGE_MAX`]), what was
//!   packed before (`UNPACKER_BYTES`, once it packs), and one batch that waits for room ([`room::WAITS`]). There are
//!   [`stream::STREAMS`] at most, [`nodes::STREAMS_OF_NODE`] of one node;
//! - for the moment in which it is decoded, a message takes up to 80 times its encoded size, on as many threads as there are
//!   cores; of one that holds more than [`weight::ITEMS_MAX`] things nothing is kept;
//! - a few numbers for each of the last [`nodes::NODES`] nodes: what was taken of its last [`nodes::INSTANCES`] agents.

pub mod nodes;
pub mod room;
pub mod stream;
pub mod weight;
pub mod wire;
