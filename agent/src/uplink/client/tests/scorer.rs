//! A scorer that takes batches, and misbehaves as a test wants it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};
use surprisal_proto::{
    packed::Unpacker,
    v1::{
        Ack, Batch, StreamRequest, StreamResponse, Welcome,
        ingest_server::{Ingest, IngestServer},
        stream_request, stream_response,
    },
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::watch,
};
use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming, transport::Server};

/// What a scorer remembers; outlives its process when the test wants it to.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) last: HashMap<String, u64>,
    pub(super) batches: Vec<Batch>,
    /// Refuse every Hello with this.
    pub(super) refuse: Option<Code>,
    pub(super) refused: u32,
    /// Take batches without a word.
    pub(super) silent: bool,
    /// Take plain batches only.
    pub(super) plain: bool,
    pub(super) packed: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Scorer {
    taken: Arc<Mutex<Taken>>,
    changed: watch::Sender<()>,
}

impl Scorer {
    pub(super) fn new() -> Self {
        Self { taken: Arc::default(), changed: watch::Sender::new(()) }
    }

    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Taken) -> T) -> T {
        work(&mut self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until `done` is true of what was taken.
    pub(super) async fn until(&self, done: impl Fn(&Taken) -> bool) {
        let mut changes = self.changed.subscribe();
        while !self.with(|t| done(t)) {
            changes.changed().await.expect("the scorer lives");
        }
    }

    pub(super) async fn serve(&self, at: Option<SocketAddr>) -> Running {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let service = IngestServer::new(self.clone());
        // A runtime of its own dies with all its connections, as a process does.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let serving = runtime.spawn(async move {
            let listener = loop {
                // The port of a scorer that was just killed may take a moment.
                match TcpListener::bind(at.unwrap_or(any)).await {
                    Ok(listener) => break listener,
                    Err(_) => tokio::task::yield_now().await,
                }
            };
            let address = listener.local_addr().expect("bound");
            let incoming = TcpListenerStream::new(listener);
            tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
            address
        });
        Running { address: serving.await.expect("no panic"), runtime }
    }
}

pub(super) struct Running {
    pub(super) address: SocketAddr,
    runtime: Runtime,
}

impl Running {
    pub(super) fn kill(self) -> SocketAddr {
        self.runtime.shutdown_background();
        self.address
    }
}

#[tonic::async_trait]
impl Ingest for Scorer {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<StreamResponse, Status>> + Send>>;

    async fn stream(&self, request: Request<Streaming<StreamRequest>>) -> Result<Response<Self::StreamStream>, Status> {
        let mut inbound = request.into_inner();
        let Some(StreamRequest { message: Some(stream_request::Message::Hello(hello)) }) = inbound.message().await? else {
            return Err(Status::invalid_argument("no hello"));
        };
        if let Some(code) = self.with(|t| t.refuse) {
            self.with(|t| t.refused += 1);
            self.changed.send_replace(());
            return Err(Status::new(code, "not you"));
        }
        let (last_sequence, takes_packed) = self.with(|t| (t.last.get(&hello.instance).copied().unwrap_or(0), !t.plain));
        let welcome = stream_response::Message::Welcome(Welcome { last_sequence, scorer_version: "test".into(), takes_packed });
        let scorer = self.clone();
        let mut unpacker = Unpacker::new(4 << 20);
        let acks = inbound.filter_map(move |item| {
            let batch = match item {
                Ok(StreamRequest { message: Some(stream_request::Message::Batch(batch)) }) if !takes_packed => batch,
                Ok(StreamRequest { message: Some(stream_request::Message::Packed(packed)) }) if takes_packed => {
                    scorer.with(|t| t.packed += 1);
                    unpacker.unpack(&packed).expect("the next block")
                }
                Ok(_) => return Some(Err(Status::invalid_argument("no batch"))),
                Err(status) => return Some(Err(status)),
            };
            let sequence = batch.sequence;
            let silent = scorer.with(|t| {
                let last = t.last.entry(hello.instance.clone()).or_default();
                if sequence > *last {
                    *last = sequence;
                    t.batches.push(batch);
                }
                t.silent
            });
            scorer.changed.send_replace(());
            (!silent).then_some(Ok(stream_response::Message::Ack(Ack { sequence })))
        });
        let out = tokio_stream::once(Ok(welcome)).chain(acks);
        Ok(Response::new(Box::pin(out.map(|m| m.map(|message| StreamResponse { message: Some(message) })))))
    }
}
