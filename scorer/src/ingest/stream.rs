//! The service that agents send their batches to: one stream per node.
//!
//! In: a hello, then batches, plain or packed. Out: each batch once, into the queue, then its acknowledgement. Never: a batch taken
//! twice, a batch acknowledged before it is in the queue.

use crate::cause::chain;
use crate::ingest::nodes::{LastSequence, Nodes, STREAMS_OF_NODE};
use crate::ingest::room::{self, Room, Ticket};
use crate::ingest::{weight, wire};
use crate::metrics::Metrics;
use futures::{Stream, StreamExt as _};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use surprisal_proto::packed::{UNPACKER_BYTES, Unpacker};
use surprisal_proto::token;
use surprisal_proto::v1::{self, ingest_server::Ingest, stream_request::Message as In, stream_response::Message as Out};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// How long a new stream may take to say who it is.
const HELLO: Duration = Duration::from_secs(10);
/// Streams at once.
pub const STREAMS: usize = 2048;
/// Largest message, bytes, after decompression; agents close a batch at 64 KiB, but announce all their containers in one.
pub const MESSAGE_MAX: usize = 2 << 20;
/// Bytes that HTTP/2 may send ahead of what is read, on each connection.
pub const AHEAD: u32 = 256 << 10;
/// Bytes that one stream can take, at most.
pub const STREAM_BYTES: usize = AHEAD as usize + MESSAGE_MAX + UNPACKER_BYTES + room::WAITS;

/// What comes out.
#[derive(Debug)]
pub enum Taken {
    /// An agent has connected; whether it leaves names out.
    Connected(Arc<str>, bool),
    /// A node's batch, and its place in the room.
    Batch(Arc<str>, Box<wire::Batch>, Ticket),
    /// An agent's stream has ended.
    Disconnected(Arc<str>),
}

/// The service.
#[derive(Clone, Debug)]
pub struct Service {
    queue: mpsc::Sender<Taken>,
    room: Room,
    nodes: Nodes,
    streams: Arc<Semaphore>,
    metrics: Metrics,
    shutdown: CancellationToken,
}

impl Service {
    /// Feeds `queue`, as far as there is `room`; a full queue blocks the stream too.
    pub fn new(queue: mpsc::Sender<Taken>, room: Room, metrics: Metrics, shutdown: CancellationToken) -> Self {
        Self { queue, room, nodes: Nodes::new(), streams: Arc::new(Semaphore::new(STREAMS)), metrics, shutdown }
    }

    async fn put(&self, taken: Taken) -> Result<(), Status> {
        self.queue.send(taken).await.map_err(|_closed| Status::unavailable("the scorer is shutting down"))
    }

    /// Takes one batch; the answer is its acknowledgement.
    async fn batch(&self, node: &Arc<str>, last: &LastSequence, mut ticket: Ticket, batch: v1::Batch) -> Result<v1::Ack, Status> {
        let sequence = batch.sequence;
        if sequence == 0 || !weight::is_of_usual_size(&batch) {
            ticket.refused("malformed");
            return Err(Status::invalid_argument(format!(
                "batch sequences count from 1, and a batch holds at most {} things",
                weight::ITEMS_MAX
            )));
        }
        let overloaded = || Status::resource_exhausted("the scorer is overloaded: send it again later");
        // Another stream of this agent may be about to hand in the same; what is large is not held for that.
        let last = if weight::weight(&batch) > room::WAITS { last.try_lock().ok() } else { Some(last.lock().await) };
        let Some(mut last) = last else {
            ticket.refused("overload");
            return Err(overloaded());
        };
        if sequence <= *last {
            ticket.refused("duplicate");
            return Ok(v1::Ack { sequence });
        }
        if !self.room.place(&mut ticket, &batch).await {
            ticket.refused("overload");
            return Err(overloaded());
        }
        let place = match tokio::time::timeout(room::PATIENCE, self.queue.reserve()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_closed)) => return Err(Status::unavailable("the scorer is shutting down")),
            Err(_elapsed) => {
                ticket.refused("overload");
                return Err(overloaded());
            }
        };
        place.send(Taken::Batch(Arc::clone(node), Box::new(batch.into()), ticket));
        *last = sequence;
        self.metrics.batches.inc();
        Ok(v1::Ack { sequence })
    }

    /// Unpacks a batch, and takes it.
    async fn packed(
        &self,
        node: &Arc<str>,
        last: &LastSequence,
        unpacker: &mut Unpacker,
        packed: &[u8],
    ) -> Result<v1::Ack, Status> {
        let ticket = self.room.arrive();
        match unpacker.unpack(packed) {
            Ok(batch) => self.batch(node, last, ticket, batch).await,
            Err(error) => {
                ticket.refused("malformed");
                Err(Status::invalid_argument(chain(&error)))
            }
        }
    }

    async fn follow(
        &self,
        mut messages: Streaming<v1::StreamRequest>,
        out: &mpsc::Sender<Result<v1::StreamResponse, Status>>,
    ) -> Result<(), Status> {
        let first = tokio::time::timeout(HELLO, messages.next())
            .await
            .map_err(|_elapsed| Status::deadline_exceeded("no hello within 10 s"))?;
        let Some(In::Hello(hello)) = first.transpose()?.and_then(|m| m.message) else {
            return Err(Status::invalid_argument("the first message must be hello"));
        };
        check(&hello)?;
        let node: Arc<str> = hello.node.as_str().into();
        let too_many = || Status::resource_exhausted(format!("{STREAMS_OF_NODE} agents of this node are connected already"));
        let _of_node = self.nodes.stream_of(&hello.node).ok_or_else(too_many)?;
        let last = self.nodes.last_sequence(&hello.node, &hello.instance);
        let last_sequence = *last.lock().await;
        tracing::info!(node = %node, agent_version = %hello.agent_version, last_sequence, "agent connected");
        let say = async |message| out.send(Ok(v1::StreamResponse { message: Some(message) })).await.is_ok();
        self.put(Taken::Connected(Arc::clone(&node), hello.names_left_out)).await?;
        let welcome = v1::Welcome { last_sequence, scorer_version: env!("CARGO_PKG_VERSION").to_owned(), takes_packed: true };
        let mut listening = say(Out::Welcome(welcome)).await;
        let mut end = Ok(());
        let mut unpacker = Unpacker::new(MESSAGE_MAX);
        while listening {
            let message = match messages.next().await {
                None => break,
                Some(Ok(message)) => message.message,
                Some(Err(status)) => {
                    end = Err(status);
                    break;
                }
            };
            let answer = match message {
                Some(In::Batch(batch)) => self.batch(&node, &last, self.room.arrive(), batch).await,
                Some(In::Packed(packed)) => self.packed(&node, &last, &mut unpacker, &packed).await,
                Some(In::Hello(_)) => Err(Status::invalid_argument("hello is only the first message")),
                None => Err(Status::invalid_argument("a message with nothing in it")),
            };
            match answer {
                Ok(ack) => listening = say(Out::Ack(ack)).await,
                Err(status) => {
                    end = Err(status);
                    break;
                }
            }
        }
        tracing::info!(node = %node, reason = end.as_ref().err().map(Status::message), "agent disconnected");
        // Waits as long as it takes: a node that is not known to be gone would keep its containers.
        let _ = self.queue.send(Taken::Disconnected(node)).await;
        end
    }
}

fn check(hello: &v1::Hello) -> Result<(), Status> {
    let name = |text: &str, max| !text.is_empty() && text.len() <= max && !text.chars().any(char::is_control);
    if !name(&hello.node, 256) || !name(&hello.instance, 256) {
        return Err(Status::invalid_argument("node and instance must be 1 to 256 bytes without control characters"));
    }
    if (hello.token_layout, hello.abi.as_str()) != (token::LAYOUT, token::ABI) {
        return Err(Status::failed_precondition(format!(
            "this scorer reads token layout {} of {}, the agent sends {} of {:?}",
            token::LAYOUT,
            token::ABI,
            hello.token_layout,
            hello.abi
        )));
    }
    Ok(())
}

#[tonic::async_trait]
impl Ingest for Service {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<v1::StreamResponse, Status>> + Send>>;

    async fn stream(&self, request: Request<Streaming<v1::StreamRequest>>) -> Result<Response<Self::StreamStream>, Status> {
        let permit = Arc::clone(&self.streams)
            .try_acquire_owned()
            .map_err(|_full| Status::resource_exhausted(format!("{STREAMS} agents are connected already")))?;
        let (out, answers) = mpsc::channel(16);
        let service = self.clone();
        tokio::spawn(async move {
            let _permit = permit;
            service.metrics.streams.inc();
            let end = tokio::select! {
                end = service.follow(request.into_inner(), &out) => end,
                () = service.shutdown.cancelled() => Err(Status::unavailable("the scorer is shutting down")),
            };
            service.metrics.streams.dec();
            if let Err(status) = end {
                let _ = out.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

#[cfg(test)]
mod tests;
