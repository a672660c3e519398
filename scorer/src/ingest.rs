//! Batches from agents.
//!
//! In: one stream per node. Out: checked batches, into a bounded queue, and acknowledgements. Never: a batch
//! taken twice, a batch acknowledged before it is in the queue.
//!
//! A full queue makes the stream wait, and HTTP/2's flow control makes the agent wait; where that lasts longer
//! than [`PATIENCE`] the stream ends with `RESOURCE_EXHAUSTED`, and the agent's own bounded queue decides.

pub mod wire;

use crate::metrics::Metrics;
use futures::{Stream, StreamExt as _};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use surprisal_proto::token;
use surprisal_proto::v1::{self, ingest_server::Ingest, stream_request::Message as In, stream_response::Message as Out};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// How long a batch may wait for room.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long a new stream may take to say who it is.
const HELLO: Duration = Duration::from_secs(10);
/// Streams at once.
const STREAMS: usize = 1024;
/// Agent instances whose last sequence is remembered.
const INSTANCES: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
/// Largest message, bytes, after decompression; agents close a batch at 64 KiB.
pub const MESSAGE_MAX: usize = 4 << 20;

/// What comes out.
#[derive(Debug)]
pub enum Taken {
    /// An agent has connected.
    Connected(Arc<str>),
    /// A node's batch.
    Batch(Arc<str>, wire::Batch),
    /// An agent's stream has ended.
    Disconnected(Arc<str>),
}

/// Highest sequence taken; locked while a batch is put into the queue, so that two streams of one instance
/// cannot both take it.
type LastSequence = Arc<tokio::sync::Mutex<u64>>;

/// The service.
#[derive(Clone, Debug)]
pub struct Service {
    queue: mpsc::Sender<Taken>,
    instances: Arc<Mutex<LruCache<(String, String), LastSequence>>>,
    streams: Arc<Semaphore>,
    metrics: Metrics,
    shutdown: CancellationToken,
}

impl Service {
    /// Feeds `queue`; its capacity is in batches, and a full queue blocks the stream.
    pub fn new(queue: mpsc::Sender<Taken>, metrics: Metrics, shutdown: CancellationToken) -> Self {
        let instances = Arc::new(Mutex::new(LruCache::new(INSTANCES)));
        Self { queue, instances, streams: Arc::new(Semaphore::new(STREAMS)), metrics, shutdown }
    }

    fn last_sequence(&self, node: &str, instance: &str) -> LastSequence {
        let mut instances = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(instances.get_or_insert_mut((node.to_owned(), instance.to_owned()), LastSequence::default))
    }

    async fn put(&self, taken: Taken) -> Result<(), Status> {
        self.queue.send_timeout(taken, PATIENCE).await.map_err(|e| match e {
            mpsc::error::SendTimeoutError::Timeout(_) => {
                self.metrics.drop("batches", "overload", 1);
                Status::resource_exhausted("the scorer is overloaded: send it again later")
            }
            mpsc::error::SendTimeoutError::Closed(_) => Status::unavailable("the scorer is shutting down"),
        })
    }

    /// Takes one batch; the answer is its acknowledgement.
    async fn batch(&self, node: &Arc<str>, last: &LastSequence, batch: v1::Batch) -> Result<v1::Ack, Status> {
        let sequence = batch.sequence;
        if sequence == 0 {
            return Err(Status::invalid_argument("batch sequences count from 1"));
        }
        let mut last = last.lock().await;
        if sequence <= *last {
            self.metrics.drop("batches", "duplicate", 1);
            return Ok(v1::Ack { sequence });
        }
        self.metrics.agent_dropped_calls.inc_by(batch.dropped_before);
        let batch = wire::Batch::new(batch, &self.metrics);
        self.put(Taken::Batch(Arc::clone(node), batch)).await?;
        self.metrics.batches.inc();
        *last = sequence;
        Ok(v1::Ack { sequence })
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
        let last = self.last_sequence(&hello.node, &hello.instance);
        let last_sequence = *last.lock().await;
        tracing::info!(node = %node, agent_version = %hello.agent_version, last_sequence, "agent connected");
        let say = async |message| out.send(Ok(v1::StreamResponse { message: Some(message) })).await.is_ok();
        self.put(Taken::Connected(Arc::clone(&node))).await?;
        let welcome = v1::Welcome { last_sequence, scorer_version: env!("CARGO_PKG_VERSION").to_owned(), takes_packed: false };
        let mut listening = say(Out::Welcome(welcome)).await;
        let mut end = Ok(());
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
                Some(In::Batch(batch)) => self.batch(&node, &last, batch).await,
                Some(In::Packed(_)) => Err(Status::invalid_argument("packed batches were not offered")),
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
    use tonic::Code;

    fn service(capacity: usize) -> (Service, mpsc::Receiver<Taken>) {
        let (tx, rx) = mpsc::channel(capacity);
        (Service::new(tx, Metrics::default(), CancellationToken::new()), rx)
    }

    fn batch(sequence: u64) -> v1::Batch {
        v1::Batch { sequence, ..v1::Batch::default() }
    }

    #[tokio::test]
    async fn a_batch_is_taken_once_and_acknowledged_each_time() {
        let (service, mut rx) = service(8);
        let node: Arc<str> = "n".into();
        for (instance, sequence) in [("i", 1), ("i", 1), ("i", 3), ("i", 2), ("j", 1), ("i", 4)] {
            let last = service.last_sequence("n", instance);
            let ack = service.batch(&node, &last, batch(sequence)).await.expect("taken");
            assert_eq!(ack.sequence, sequence);
        }
        assert_eq!(*service.last_sequence("n", "i").lock().await, 4);
        assert_eq!(service.metrics.dropped("batches", "duplicate"), 2);
        rx.close();
        let mut n = 0;
        while rx.recv().await.is_some() {
            n += 1;
        }
        assert_eq!(n, 4);
        let last = service.last_sequence("n", "i");
        assert_eq!(service.batch(&node, &last, batch(0)).await.expect_err("refused").code(), Code::InvalidArgument);
    }

    #[tokio::test(start_paused = true)]
    async fn overload_is_said_and_the_batch_is_not_counted_as_taken() {
        let (service, mut rx) = service(1);
        let node: Arc<str> = "n".into();
        let last = service.last_sequence("n", "i");
        service.batch(&node, &last, batch(1)).await.expect("room for one");
        let refused = service.batch(&node, &last, batch(2)).await.expect_err("no room");
        assert_eq!((refused.code(), *last.lock().await), (Code::ResourceExhausted, 1));
        rx.recv().await.expect("the first");
        service.batch(&node, &last, batch(2)).await.expect("room again");
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
