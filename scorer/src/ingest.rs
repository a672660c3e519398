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
//! - each stream, [`STREAM_BYTES`] at most: what HTTP/2 may send ahead ([`AHEAD`]), one encoded message ([`MESSAGE_MAX`]), what was
//!   packed before ([`UNPACKER_BYTES`], once it packs), and one batch that waits for room ([`room::WAITS`]). There are
//!   [`STREAMS`] at most, [`STREAMS_OF_NODE`] of one node;
//! - for the moment in which it is decoded, a message takes up to 80 times its encoded size, on as many threads as there are
//!   cores; of one that holds more than [`wire::ITEMS_MAX`] things nothing is kept;
//! - a few numbers for each of the last [`NODES`] nodes: what was taken of its last [`INSTANCES`] agents.

pub mod room;
pub mod wire;

use crate::ingest::room::{Room, Ticket};
use crate::metrics::Metrics;
use futures::{Stream, StreamExt as _};
use lru::LruCache;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
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
/// Streams at once of one node: an agent has one, and old ones may linger where the network broke.
pub const STREAMS_OF_NODE: usize = 8;
/// Nodes whose agents' last sequences are remembered.
pub const NODES: NonZeroUsize = NonZeroUsize::new(8192).expect("not zero");
/// Agent instances of one node that are remembered.
pub const INSTANCES: usize = 4;
/// Largest message, bytes, after decompression; agents close a batch at 64 KiB, but announce all their containers in one.
pub const MESSAGE_MAX: usize = 2 << 20;
/// Bytes that HTTP/2 may send ahead of what is read, on each connection.
pub const AHEAD: u32 = 256 << 10;
/// Bytes that one stream can take, at most.
pub const STREAM_BYTES: usize = AHEAD as usize + MESSAGE_MAX + UNPACKER_BYTES + room::WAITS;

/// What comes out.
#[derive(Debug)]
pub enum Taken {
    /// An agent has connected.
    Connected(Arc<str>),
    /// A node's batch, and its place in the room.
    Batch(Arc<str>, Box<wire::Batch>, Ticket),
    /// An agent's stream has ended.
    Disconnected(Arc<str>),
}

/// Highest sequence taken; locked while a batch is put into the queue, so that two streams of one instance
/// cannot both take it.
type LastSequence = Arc<tokio::sync::Mutex<u64>>;

/// What is known of a node.
#[derive(Debug, Default)]
struct Known {
    /// Its last [`INSTANCES`] agents, latest last.
    instances: Vec<(String, LastSequence)>,
}

/// The service.
#[derive(Clone, Debug)]
pub struct Service {
    queue: mpsc::Sender<Taken>,
    room: Room,
    nodes: Arc<Mutex<LruCache<String, Known>>>,
    streams: Arc<Semaphore>,
    streams_of: Arc<Mutex<HashMap<String, usize>>>,
    metrics: Metrics,
    shutdown: CancellationToken,
}

/// One stream of a node; dropped when the stream ends.
#[derive(Debug)]
struct OfNode {
    node: String,
    of: Arc<Mutex<HashMap<String, usize>>>,
}

impl Drop for OfNode {
    fn drop(&mut self) {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = of.get_mut(&self.node) {
            *n -= 1;
            if *n == 0 {
                of.remove(&self.node);
            }
        }
    }
}

impl Service {
    /// Feeds `queue`, as far as there is `room`; a full queue blocks the stream too.
    pub fn new(queue: mpsc::Sender<Taken>, room: Room, metrics: Metrics, shutdown: CancellationToken) -> Self {
        Self {
            queue,
            room,
            nodes: Arc::new(Mutex::new(LruCache::new(NODES))),
            streams: Arc::new(Semaphore::new(STREAMS)),
            streams_of: Arc::default(),
            metrics,
            shutdown,
        }
    }

    fn last_sequence(&self, node: &str, instance: &str) -> LastSequence {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &mut nodes.get_or_insert_mut(node.to_owned(), Known::default).instances;
        let found = known.iter().position(|(name, _)| name == instance);
        let entry = found.map_or_else(|| (instance.to_owned(), LastSequence::default()), |at| known.remove(at));
        let last = Arc::clone(&entry.1);
        if known.len() == INSTANCES {
            known.remove(0);
        }
        known.push(entry);
        last
    }

    /// One more stream of a node, if it may have one.
    fn stream_of(&self, node: &str) -> Result<OfNode, Status> {
        let mut of = self.streams_of.lock().unwrap_or_else(PoisonError::into_inner);
        let n = of.entry(node.to_owned()).or_default();
        if *n >= STREAMS_OF_NODE {
            return Err(Status::resource_exhausted(format!("{STREAMS_OF_NODE} agents of this node are connected already")));
        }
        *n += 1;
        Ok(OfNode { node: node.to_owned(), of: Arc::clone(&self.streams_of) })
    }

    async fn put(&self, taken: Taken) -> Result<(), Status> {
        self.queue.send(taken).await.map_err(|_closed| Status::unavailable("the scorer is shutting down"))
    }

    /// Takes one batch; the answer is its acknowledgement.
    async fn batch(&self, node: &Arc<str>, last: &LastSequence, mut ticket: Ticket, batch: v1::Batch) -> Result<v1::Ack, Status> {
        let sequence = batch.sequence;
        if sequence == 0 || !wire::is_of_usual_size(&batch) {
            ticket.refused("malformed");
            return Err(Status::invalid_argument(format!(
                "batch sequences count from 1, and a batch holds at most {} things",
                wire::ITEMS_MAX
            )));
        }
        let overloaded = || Status::resource_exhausted("the scorer is overloaded: send it again later");
        // Another stream of this agent may be about to hand in the same; what is large is not held for that.
        let last = if wire::weight(&batch) > room::WAITS { last.try_lock().ok() } else { Some(last.lock().await) };
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
                Err(Status::invalid_argument(crate::cause::chain(&error)))
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
        let _of_node = self.stream_of(&hello.node)?;
        let last = self.last_sequence(&hello.node, &hello.instance);
        let last_sequence = *last.lock().await;
        tracing::info!(node = %node, agent_version = %hello.agent_version, last_sequence, "agent connected");
        let say = async |message| out.send(Ok(v1::StreamResponse { message: Some(message) })).await.is_ok();
        self.put(Taken::Connected(Arc::clone(&node))).await?;
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
mod tests {
    use super::*;
    use surprisal_proto::packed::Packer;
    use surprisal_proto::status::imbalance;
    use tonic::Code;

    fn service(capacity: usize) -> (Service, mpsc::Receiver<Taken>) {
        let (tx, rx) = mpsc::channel(capacity);
        let metrics = Metrics::default();
        (Service::new(tx, Room::new(metrics.clone()), metrics, CancellationToken::new()), rx)
    }

    fn batch(sequence: u64) -> v1::Batch {
        v1::Batch { sequence, ..v1::Batch::default() }
    }

    async fn offer(service: &Service, instance: &str, batch: v1::Batch) -> Result<u64, Code> {
        let last = service.last_sequence("n", instance);
        let taken = service.batch(&"n".into(), &last, service.room.arrive(), batch).await;
        taken.map(|ack| ack.sequence).map_err(|status| status.code())
    }

    /// in, out, held, dropped by reason; and that it balances.
    fn counts(service: &Service) -> (u64, u64, u64, Vec<(String, u64)>) {
        let hop = service.room.hop();
        assert_eq!(imbalance(&hop), 0, "{hop:?}");
        let drops = hop.dropped.into_iter().filter(|d| d.count > 0).map(|d| (d.reason, d.count)).collect();
        (hop.taken_in, hop.passed_on, hop.held, drops)
    }

    fn drain(rx: &mut mpsc::Receiver<Taken>) -> usize {
        let mut n = 0;
        while let Ok(taken) = rx.try_recv() {
            if let Taken::Batch(_, _, ticket) = taken {
                ticket.passed();
                n += 1;
            }
        }
        n
    }

    #[tokio::test]
    async fn a_batch_is_taken_once_and_acknowledged_each_time() {
        let (service, mut rx) = service(8);
        for (instance, sequence) in [("i", 1), ("i", 1), ("i", 3), ("i", 2), ("j", 1), ("i", 4)] {
            assert_eq!(offer(&service, instance, batch(sequence)).await, Ok(sequence));
        }
        assert_eq!(*service.last_sequence("n", "i").lock().await, 4);
        assert_eq!(service.metrics.dropped("batches", "duplicate"), 2);
        assert_eq!(counts(&service), (6, 0, 4, vec![("duplicate".into(), 2)]));
        assert_eq!(drain(&mut rx), 4);
        assert_eq!(offer(&service, "i", batch(0)).await, Err(Code::InvalidArgument));
        let many = v1::Batch { deaths: vec![v1::Death::default(); wire::ITEMS_MAX + 1], ..batch(5) };
        assert_eq!(offer(&service, "i", many).await, Err(Code::InvalidArgument));
        assert_eq!(counts(&service), (8, 4, 0, vec![("duplicate".into(), 2), ("malformed".into(), 2)]));
    }

    #[tokio::test(start_paused = true)]
    async fn overload_is_said_and_the_batch_is_not_counted_as_taken() {
        let (service, mut rx) = service(1);
        assert_eq!(offer(&service, "i", batch(1)).await, Ok(1));
        assert_eq!(offer(&service, "i", batch(2)).await, Err(Code::ResourceExhausted));
        assert_eq!(*service.last_sequence("n", "i").lock().await, 1);
        assert_eq!(drain(&mut rx), 1);
        assert_eq!(offer(&service, "i", batch(2)).await, Ok(2));
        assert_eq!(counts(&service), (3, 1, 1, vec![("overload".into(), 1)]));
        // The scorer ends with one in the queue.
        drop(rx);
        assert_eq!(counts(&service), (3, 1, 0, vec![("overload".into(), 1), ("given_up".into(), 1)]));
        assert_eq!(offer(&service, "i", batch(3)).await, Err(Code::Unavailable));
        assert_eq!(counts(&service).2, 0);
    }

    #[tokio::test]
    async fn packed_batches_are_taken_and_damaged_ones_end_the_stream() {
        let (service, mut rx) = service(8);
        let last = service.last_sequence("n", "i");
        let node: Arc<str> = "n".into();
        let (mut packer, mut unpacker) = (Packer::new(), Unpacker::new(MESSAGE_MAX));
        for sequence in 1..4 {
            let block = packer.pack(&batch(sequence)).expect("packed");
            let ack = service.packed(&node, &last, &mut unpacker, &block).await.expect("taken");
            assert_eq!(ack.sequence, sequence);
        }
        let refused = service.packed(&node, &last, &mut unpacker, b"no block").await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument);
        let bomb = v1::Batch { calls: vec![v1::Calls { tokens: vec![7; 64 << 20], ..v1::Calls::default() }], ..batch(4) };
        let bomb = Packer::new().pack(&bomb).expect("packed");
        assert!(service.packed(&node, &last, &mut Unpacker::new(MESSAGE_MAX), &bomb).await.is_err());
        assert_eq!((drain(&mut rx), counts(&service)), (3, (5, 3, 0, vec![("malformed".into(), 2)])));
    }

    #[tokio::test]
    async fn nodes_and_agents_that_are_remembered_are_bounded() {
        let (service, _rx) = service(8);
        offer(&service, "mine", batch(7)).await.expect("taken");
        for n in 0..INSTANCES - 1 {
            service.last_sequence("n", &format!("i{n}"));
        }
        assert_eq!(*service.last_sequence("n", "mine").lock().await, 7);
        // A million agents of another node change nothing for this one.
        for n in 0..1_000_000 {
            service.last_sequence("m", &n.to_string());
        }
        assert_eq!(*service.last_sequence("n", "mine").lock().await, 7);
        for n in 0..2 * NODES.get() {
            service.last_sequence(&format!("n{n}"), "i");
        }
        assert_eq!(service.nodes.lock().expect("not poisoned").len(), NODES.get());
        let mut streams: Vec<_> = (0..STREAMS_OF_NODE).map(|_| service.stream_of("n").expect("one more")).collect();
        assert_eq!(service.stream_of("n").expect_err("one too many").code(), Code::ResourceExhausted);
        assert!(service.stream_of("m").is_ok());
        streams.pop();
        assert!(service.stream_of("n").is_ok());
        drop(streams);
        assert!(service.streams_of.lock().expect("not poisoned").is_empty());
    }

    #[test]
    fn another_dialect_is_refused() {
        let hello = |node: &str, token_layout, abi: &str| v1::Hello {
            node: node.into(),
            instance: "i".into(),
            agent_version: String::new(),
            token_layout,
            abi: abi.into(),
        };
        for (hello, code) in [
            (hello("n", token::LAYOUT, token::ABI), None),
            (hello("", token::LAYOUT, token::ABI), Some(Code::InvalidArgument)),
            (hello("a\nb", token::LAYOUT, token::ABI), Some(Code::InvalidArgument)),
            (hello("n", token::LAYOUT + 1, token::ABI), Some(Code::FailedPrecondition)),
            (hello("n", token::LAYOUT, "arm"), Some(Code::FailedPrecondition)),
        ] {
            assert_eq!(check(&hello).err().map(|s| s.code()), code);
        }
    }
}
