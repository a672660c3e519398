//! One connection to the scorer, from Hello to its end.
//!
//! In: closed batches from the queue, acknowledgements. Out: a gRPC stream, its batches packed where the scorer takes that
//! (`wire`). Never: takes a batch out of the queue before it is acknowledged.

use super::{
    backoff::Backoff,
    meter::Contents,
    options::Options,
    queue::Queue,
    shared::{Shared, look},
    wire::{self, Form},
};
use jiff::Timestamp;
use prost::Message as _;
use std::{future, time::Duration};
use surprisal_proto::{
    packed::PackError,
    token,
    v1::{
        Ack, Batch, Hello, StreamRequest, StreamResponse, Welcome, ingest_client::IngestClient, stream_request, stream_response,
    },
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, transport::Endpoint};
use tracing::info;

/// For a connection, and for the scorer's welcome on it.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Batches between the queue and the connection; the queue itself does the waiting.
const OUTBOUND: usize = 4;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("cannot connect")]
    Connect(#[source] tonic::transport::Error),
    #[error("no welcome within {} s", CONNECT_TIMEOUT.as_secs())]
    Silent,
    #[error("the scorer ended the stream")]
    Closed,
    #[error("the scorer answered out of turn")]
    OutOfTurn,
    #[error("packing a batch")]
    Pack(#[from] PackError),
    #[error("the scorer said {:?}: {}", .0.code(), .0.message())]
    Status(Box<Status>),
}

impl From<Status> for Lost {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl Lost {
    /// The scorer answered, and wants nothing of this agent.
    pub(super) fn is_refusal(&self) -> bool {
        let code = if let Self::Status(status) = self { status.code() } else { return false };
        matches!(code, Code::FailedPrecondition | Code::Unimplemented | Code::InvalidArgument)
    }
}

/// What a connection is made with.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) options: &'a Options,
    /// Tells this run of the agent from others on this node.
    pub(super) instance: &'a str,
    pub(super) shared: &'a Shared,
}

impl Session<'_> {
    /// From Hello to the end. `Ok`: stopped, and everything is delivered.
    pub(super) async fn run(&self, stop: &CancellationToken, backoff: &mut Backoff, complained: &mut bool) -> Result<(), Lost> {
        let channel = wire::connect(self.endpoint, &self.shared.metrics.bytes_on_the_wire).await.map_err(Lost::Connect)?;
        let mut client = IngestClient::new(channel);
        let (outbound, requests) = mpsc::channel(OUTBOUND);
        // There is room: nobody has sent yet.
        let _room = outbound.try_send(request(stream_request::Message::Hello(self.hello())));
        let welcomed = timeout(CONNECT_TIMEOUT, async {
            let mut inbound = client.stream(ReceiverStream::new(requests)).await?.into_inner();
            let welcome = welcome(inbound.message().await?)?;
            Ok::<_, Lost>((inbound, welcome))
        });
        let (mut inbound, welcome) = welcomed.await.map_err(|_elapsed| Lost::Silent)??;

        let dropped = self.shared.with(|queue| {
            queue.reconnected(welcome.last_sequence, Timestamp::now());
            queue.counts().dropped
        });
        let mut form = Form::new(welcome.takes_packed);
        self.shared.metrics.connected.set(1);
        self.shared.metrics.connections.inc();
        info!(
            scorer = self.options.scorer,
            version = welcome.scorer_version,
            dropped_so_far = dropped,
            "connected to the scorer"
        );
        *complained = false;

        let mut tick = interval(self.options.flush_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopping = false;
        let mut more = true;
        loop {
            tokio::select! {
                answer = inbound.message() => {
                    let sequence = acknowledged(answer?)?;
                    self.shared.with(|queue| queue.acknowledge(sequence));
                    backoff.reset();
                    more = true;
                }
                permit = reserve(&outbound, more) => {
                    let Ok(permit) = permit else { return Err(Lost::Closed) };
                    match self.shared.with(Queue::take) {
                        Some(batch) => {
                            permit.send(self.message(&mut form, batch)?);
                            self.shared.metrics.batches.inc();
                        }
                        None => more = false,
                    }
                }
                () = self.shared.ready.notified() => more = true,
                _ = tick.tick() => {
                    self.shared.mark();
                    more |= self.shared.with_gate(|queue, gate, now| {
                        if let Some(gate) = gate {
                            look(queue, gate, now);
                        }
                        queue.close(Timestamp::now())
                    });
                }
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.shared.with(|queue| queue.close(Timestamp::now()));
                    more = true;
                }
            }
            if stopping && self.shared.lock().queue.is_empty() {
                return Ok(());
            }
        }
    }

    /// A batch as the next message; what it weighs teaches the byte budget.
    fn message(&self, form: &mut Form, batch: Batch) -> Result<StreamRequest, PackError> {
        let contents = (self.options.byte_budget > 0).then(|| Contents::of(&batch));
        let message = form.message(batch)?;
        if let Some(contents) = contents {
            self.shared.with_gate(|_, gate, _| {
                if let Some(gate) = gate {
                    gate.learn(&contents, message.encoded_len());
                }
            });
        }
        Ok(message)
    }

    fn hello(&self) -> Hello {
        Hello {
            node: self.options.node.clone(),
            instance: self.instance.to_owned(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            token_layout: token::LAYOUT,
            abi: token::ABI.to_owned(),
            names_left_out: !self.options.names,
        }
    }
}

/// Room on the connection, once there is something to send.
async fn reserve<T>(outbound: &mpsc::Sender<T>, more: bool) -> Result<mpsc::Permit<'_, T>, mpsc::error::SendError<()>> {
    if more { outbound.reserve().await } else { future::pending().await }
}

fn request(message: stream_request::Message) -> StreamRequest {
    StreamRequest { message: Some(message) }
}

fn welcome(answer: Option<StreamResponse>) -> Result<Welcome, Lost> {
    match answer.ok_or(Lost::Closed)?.message {
        Some(stream_response::Message::Welcome(welcome)) => Ok(welcome),
        _ => Err(Lost::OutOfTurn),
    }
}

fn acknowledged(answer: Option<StreamResponse>) -> Result<u64, Lost> {
    match answer.ok_or(Lost::Closed)?.message {
        Some(stream_response::Message::Ack(Ack { sequence })) => Ok(sequence),
        _ => Err(Lost::OutOfTurn),
    }
}
