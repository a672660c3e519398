//! The connection to the scorer: kept up, and everything sent on it until it is acknowledged.
//!
//! In: closed batches from the queue. Out: a gRPC stream, its batches packed where the scorer takes that (`wire`).
//! Never: gives up before it is told to stop: a scorer that is away, refuses or falls silent is tried again, with growing
//! pauses.
//!
//! A connection whose other end is gone without a word (half open) is found out by HTTP/2's keep-alive, [`KEEP_ALIVE`]
//! and [`KEEP_ALIVE_TIMEOUT`], 15 s in all; until then the queue holds what is not acknowledged.

use super::{
    Options, Shared,
    backoff::Backoff,
    meter::Contents,
    wire::{self, Form},
};
use crate::logging::chain;
use jiff::Timestamp;
use prost::Message as _;
use std::{future, sync::Arc, time::Duration};
use surprisal_proto::{
    packed::PackError,
    token,
    v1::{
        Ack, Batch, Hello, StreamRequest, StreamResponse, Welcome, ingest_client::IngestClient, stream_request, stream_response,
    },
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, transport::Endpoint};
use tracing::{error, info, warn};

/// For a connection, and for the scorer's welcome on it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A silent connection is asked whether it lives.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// And is given up without an answer.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Batches between the queue and the connection; the queue itself does the waiting.
const OUTBOUND: usize = 4;

/// What is no scorer's address.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no address of a scorer: give http://HOST:PORT")]
pub struct BadAddress(String);

/// What was still here when the time to stop came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undelivered {
    /// Calls not acknowledged.
    pub calls: u64,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
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

/// The end that runs in a task.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    options: Options,
    instance: String,
    shared: Arc<Shared>,
}

impl Client {
    pub(super) fn new(options: Options, shared: Arc<Shared>) -> Result<Self, BadAddress> {
        let endpoint = check(&options.scorer)?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let instance = format!("{:032x}", rand::random::<u128>());
        Ok(Self { endpoint, options, instance, shared })
    }

    /// Keeps a connection up until `stop`; then delivers what is left, for at most `grace`.
    pub async fn run(self, stop: CancellationToken, grace: Duration) -> Undelivered {
        let given_up = async {
            stop.cancelled().await;
            sleep(grace).await;
        };
        tokio::select! {
            () = self.keep_up(&stop) => {}
            () = given_up => {}
        }
        self.shared.metrics.connected.set(0);
        let left = Undelivered { calls: self.shared.lock().queue.counts().waiting };
        if left.calls > 0 {
            error!(calls = left.calls, scorer = self.options.scorer, "stopping with calls that the scorer did not take");
        }
        left
    }

    /// Ends when it was stopped and everything is delivered.
    async fn keep_up(&self, stop: &CancellationToken) {
        let mut backoff = Backoff::default();
        let mut complained = false;
        loop {
            let lost = match self.session(stop, &mut backoff, &mut complained).await {
                Ok(()) => return,
                Err(lost) => lost,
            };
            self.shared.metrics.connected.set(0);
            if stop.is_cancelled() && self.shared.lock().queue.is_empty() {
                return;
            }
            let refused = matches!(&lost, Lost::Status(s) if matches!(s.code(), Code::FailedPrecondition | Code::Unimplemented | Code::InvalidArgument));
            let cause = chain(&lost);
            let scorer = &self.options.scorer;
            if refused {
                error!(scorer, cause, "the scorer refuses this agent: are both of one version?");
            } else if !complained {
                warn!(scorer, cause, "no connection to the scorer; keeping what it misses, as far as the queue holds");
            }
            // Once an outage; the metrics tell the rest.
            complained = true;
            sleep(backoff.next(rand::random())).await;
        }
    }

    /// One connection, from Hello to its end. `Ok`: stopped, and everything is delivered.
    async fn session(&self, stop: &CancellationToken, backoff: &mut Backoff, complained: &mut bool) -> Result<(), Lost> {
        let channel = wire::connect(&self.endpoint, &self.shared.metrics.bytes_on_the_wire).await.map_err(Lost::Connect)?;
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
                    match self.shared.with(super::queue::Queue::take) {
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
                            super::look(queue, gate, now);
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
            instance: self.instance.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            token_layout: token::LAYOUT,
            abi: token::ABI.to_owned(),
        }
    }
}

/// Is it a scorer's address?
pub fn check(scorer: &str) -> Result<Endpoint, BadAddress> {
    let bad = || BadAddress(scorer.to_owned());
    let endpoint = Endpoint::from_shared(scorer.to_owned()).map_err(|_not_a_uri| bad())?;
    let uri = endpoint.uri();
    if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
        return Err(bad());
    }
    Ok(endpoint)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        container::{ContainerInfo, Kind, Names},
        procfs::ContainerKey,
        record::{Record, Run},
        uplink::{Counts, Sender, uplink},
    };
    use prometheus_client::registry::Registry;
    use std::{
        collections::HashMap,
        net::SocketAddr,
        pin::Pin,
        sync::{Mutex, PoisonError},
    };
    use surprisal_proto::{
        packed::Unpacker,
        v1::ingest_server::{Ingest, IngestServer},
    };
    use tokio::{
        net::TcpListener,
        runtime::{Builder, Runtime},
        sync::watch,
        task::JoinHandle,
    };
    use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};
    use tonic::{Request, Response, Streaming, transport::Server};

    /// What a scorer remembers; outlives its process when the test wants it to.
    #[derive(Debug, Default)]
    struct Taken {
        last: HashMap<String, u64>,
        batches: Vec<Batch>,
        /// Refuse every Hello with this.
        refuse: Option<Code>,
        refused: u32,
        /// Take batches without a word.
        silent: bool,
        /// Take plain batches only.
        plain: bool,
        packed: u64,
    }

    #[derive(Clone, Debug)]
    struct Scorer {
        taken: Arc<Mutex<Taken>>,
        changed: watch::Sender<()>,
    }

    impl Scorer {
        fn new() -> Self {
            Self { taken: Arc::default(), changed: watch::Sender::new(()) }
        }

        fn with<T>(&self, work: impl FnOnce(&mut Taken) -> T) -> T {
            work(&mut self.taken.lock().unwrap_or_else(PoisonError::into_inner))
        }

        /// Waits until `done` is true of what was taken.
        async fn until(&self, done: impl Fn(&Taken) -> bool) {
            let mut changes = self.changed.subscribe();
            while !self.with(|t| done(t)) {
                changes.changed().await.expect("the scorer lives");
            }
        }

        async fn serve(&self, at: Option<SocketAddr>) -> Running {
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

    struct Running {
        address: SocketAddr,
        runtime: Runtime,
    }

    impl Running {
        fn kill(self) -> SocketAddr {
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
            let welcome =
                stream_response::Message::Welcome(Welcome { last_sequence, scorer_version: "test".into(), takes_packed });
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

    fn info() -> Arc<ContainerInfo> {
        let names = Names { kind: Kind::Container, ..Names::default() };
        Arc::new(ContainerInfo::named(ContainerKey(1), "n".into(), "c1".parse().expect("an id"), names, None))
    }

    fn calls(seq: u64, n: u64) -> Record {
        let tokens = (seq..seq + n).map(|t| t as u16).collect();
        let run = Run {
            tgid: 1,
            tid: 1,
            process: "p".into(),
            first_seq: seq,
            started: Timestamp::UNIX_EPOCH,
            gap: 0,
            tokens,
            last: false,
        };
        Record::Calls { container: info(), run }
    }

    struct Agent {
        sender: Sender,
        stop: CancellationToken,
        task: JoinHandle<Undelivered>,
    }

    impl Agent {
        fn start(address: SocketAddr, queue_bytes: usize) -> Self {
            Self::with_budget(address, queue_bytes, 0)
        }

        fn with_budget(address: SocketAddr, queue_bytes: usize, byte_budget: u64) -> Self {
            let options = Options {
                scorer: format!("http://{address}"),
                node: "n".into(),
                queue_bytes,
                flush_interval: Duration::from_millis(5),
                byte_budget,
            };
            let (sender, client) = uplink(options, &mut Registry::default()).expect("an address");
            let stop = CancellationToken::new();
            let task = tokio::spawn(client.run(stop.clone(), Duration::from_mins(1)));
            Self { sender, stop, task }
        }

        async fn stop(self) -> (Undelivered, Counts) {
            self.stop.cancel();
            (self.task.await.expect("no panic"), self.sender.counts())
        }
    }

    /// Every call that was taken, in the order it was taken in.
    fn tokens(taken: &Taken) -> Vec<u16> {
        let bytes = taken.batches.iter().flat_map(|b| &b.calls).flat_map(|c| c.tokens.chunks_exact(2));
        bytes.map(|b| u16::from_le_bytes([b[0], b[1]])).collect()
    }

    fn dropped(taken: &Taken) -> u64 {
        taken.batches.iter().map(|b| b.dropped_before).sum()
    }

    #[tokio::test]
    async fn everything_arrives_in_order_and_the_agent_stops_clean() {
        let scorer = Scorer::new();
        let running = scorer.serve(None).await;
        let agent = Agent::start(running.address, 1 << 20);
        agent.sender.push(&Record::Birth(info()));
        for n in 0..100 {
            agent.sender.push(&calls(n * 10, 10));
        }
        assert_eq!(
            agent.stop().await,
            (Undelivered::default(), Counts { pushed: 1000, acknowledged: 1000, ..Counts::default() })
        );
        scorer.with(|t| {
            assert_eq!(tokens(t), (0..1000).collect::<Vec<u16>>());
            assert_eq!(t.batches[0].births[0].container.as_ref().map(|c| c.id.as_str()), Some("c1"));
        });
        running.kill();
    }

    #[tokio::test]
    async fn batches_are_packed_where_the_scorer_takes_that_and_their_bytes_are_counted() {
        let mut sent = Vec::new();
        for plain in [true, false] {
            let scorer = Scorer::new();
            scorer.with(|t| t.plain = plain);
            let running = scorer.serve(None).await;
            let agent = Agent::start(running.address, 16 << 20);
            agent.sender.push(&Record::Birth(info()));
            for n in 0..200 {
                // The same 250 calls, over and over.
                let Record::Calls { container, mut run } = calls(0, 250) else { unreachable!("they are calls") };
                run.first_seq = n * 250;
                agent.sender.push(&Record::Calls { container, run });
            }
            scorer.until(|t| tokens(t).len() == 50_000).await;
            let bytes = agent.sender.shared.metrics.bytes_on_the_wire.clone();
            assert_eq!(agent.stop().await.0.calls, 0);
            assert_eq!(scorer.with(|t| t.packed > 0), !plain);
            assert!(bytes.received.get() > 0);
            sent.push(bytes.sent.get());
            running.kill();
        }
        assert!(sent[0] > 100_000 && sent[1] < sent[0] / 20, "{sent:?} bytes, plain and packed");
    }

    #[tokio::test]
    async fn a_scorer_that_comes_late_gets_what_the_queue_held_and_is_told_the_rest() {
        // A port that nobody listens on.
        let address = Scorer::new().serve(None).await.kill();
        let agent = Agent::start(address, 0);
        agent.sender.push(&Record::Birth(info()));
        let total = 200_000;
        for n in 0..total / 1000 {
            agent.sender.push(&calls(n * 1000, 1000));
        }
        let before = agent.sender.counts();
        assert_eq!(before.pushed, total);
        assert!(before.dropped > 0, "the queue is too small for this");

        let scorer = Scorer::new();
        let running = scorer.serve(Some(address)).await;
        let (left, counts) = agent.stop().await;
        assert_eq!((left.calls, counts.waiting), (0, 0));
        scorer.with(|t| {
            let tokens = tokens(t);
            assert_eq!(tokens.len() as u64, counts.acknowledged);
            assert_eq!(dropped(t), counts.dropped);
            assert_eq!(tokens.len() as u64 + dropped(t), total);
            let newest: Vec<u16> = (counts.dropped..total).map(|t| t as u16).collect();
            assert_eq!(tokens, newest, "the newest, in order");
            assert_eq!(t.batches[0].births.len(), 1, "its name survived the drop");
        });
        running.kill();
    }

    #[tokio::test]
    async fn a_scorer_that_restarts_gets_each_batch_once() {
        let scorer = Scorer::new();
        let mut running = scorer.serve(None).await;
        let agent = Agent::start(running.address, 16 << 20);
        agent.sender.push(&Record::Birth(info()));
        let mut sent = 0;
        for round in 0..3u64 {
            // The last round before each kill is taken without an acknowledgement: it comes again.
            scorer.with(|t| t.silent = false);
            for silent in [false, true] {
                scorer.with(|t| t.silent = silent);
                for _ in 0..50 {
                    agent.sender.push(&calls(sent, 20));
                    sent += 20;
                }
                scorer.until(|t| tokens(t).len() as u64 >= sent).await;
            }
            let address = running.kill();
            agent.sender.push(&calls(sent, 7));
            sent += 7;
            scorer.with(|t| {
                t.silent = false;
                // The scorer's own memory of batches may be gone, too; then what was not acknowledged comes twice.
                assert_eq!(tokens(t).len() as u64, sent - 7, "round {round}");
            });
            running = scorer.serve(Some(address)).await;
            scorer.until(|t| tokens(t).len() as u64 >= sent).await;
        }
        let (left, counts) = agent.stop().await;
        assert_eq!((left.calls, counts), (0, Counts { pushed: sent, acknowledged: sent, ..Counts::default() }));
        scorer.with(|t| {
            assert_eq!(tokens(t), (0..sent).map(|t| t as u16).collect::<Vec<_>>(), "in order, none twice");
            let births = t.batches.iter().filter(|b| !b.births.is_empty()).count();
            assert_eq!(births, 4, "named at first and after each restart");
        });
        running.kill();
    }

    /// A load that is many times the budget, then one within it: all is counted, announced, and whole again.
    #[tokio::test]
    async fn over_the_byte_budget_containers_take_turns_and_the_line_recovers() {
        const QUIET: Duration = Duration::from_millis(20);
        let scorer = Scorer::new();
        let running = scorer.serve(None).await;
        let agent = Agent::with_budget(running.address, 16 << 20, 20_000);
        let [a, b] = ["a", "b"].map(|id| {
            let names = Names { kind: Kind::Container, ..Names::default() };
            Arc::new(ContainerInfo::named(ContainerKey(1), "n".into(), id.parse().expect("an id"), names, None))
        });
        for container in [&a, &b] {
            agent.sender.push(&Record::Birth(container.clone()));
        }
        let mut seq = 0;
        let mut push = |n: u64, noise: &mut dyn FnMut() -> u16| {
            for container in [&a, &b] {
                let Record::Calls { mut run, .. } = calls(seq, n) else { unreachable!("they are calls") };
                run.tokens.iter_mut().for_each(|t| *t = noise());
                agent.sender.push(&Record::Calls { container: container.clone(), run });
            }
            seq += n;
        };
        let ratios = |t: &Taken| {
            let told = t.batches.iter().flat_map(|b| &b.observed);
            told.map(|o| (o.container_id.clone(), o.ratio)).collect::<HashMap<_, _>>()
        };
        // Noise cannot be packed: some 100 KB a second of each.
        let begun = tokio::time::Instant::now();
        while scorer.with(|t| ratios(t).values().filter(|r| **r < 1.0).count()) < 2 || agent.sender.counts().left_out == 0 {
            assert!(begun.elapsed() < Duration::from_mins(1), "nobody is sampled");
            push(1000, &mut || rand::random());
            sleep(QUIET).await;
        }
        // And now next to nothing.
        let begun = tokio::time::Instant::now();
        while scorer.with(|t| ratios(t).values().any(|r| *r < 1.0)) {
            assert!(begun.elapsed() < Duration::from_mins(1), "they are not whole again");
            push(1, &mut || 7);
            sleep(QUIET).await;
        }
        let left_out = agent.sender.counts().left_out;
        push(5, &mut || 7);
        assert_eq!(agent.sender.counts().left_out, left_out, "all is sent again");
        for container in [&a, &b] {
            let container = container.clone();
            agent.sender.push(&Record::Account { container, issued: 0, delivered: 0, lost_ring: 0, threads_untracked: 0 });
        }
        let (left, counts) = agent.stop().await;
        assert_eq!((left.calls, counts.dropped, counts.pushed), (0, 0, counts.acknowledged + counts.left_out));
        scorer.with(|t| {
            assert_eq!(tokens(t).len() as u64, counts.acknowledged);
            let told: u64 = t.batches.iter().flat_map(|b| &b.accounts).map(|a| a.dropped_budget).sum();
            assert_eq!(told, counts.left_out, "each container's account says what was left out of it");
        });
        running.kill();
    }

    #[tokio::test]
    async fn a_refusal_is_tried_again_and_nothing_is_lost() {
        let scorer = Scorer::new();
        scorer.with(|t| t.refuse = Some(Code::FailedPrecondition));
        let running = scorer.serve(None).await;
        let agent = Agent::start(running.address, 1 << 20);
        agent.sender.push(&calls(0, 5));
        scorer.until(|t| t.refused >= 2).await;
        scorer.with(|t| t.refuse = None);
        scorer.until(|t| tokens(t).len() == 5).await;
        assert_eq!(agent.stop().await.0.calls, 0);
        running.kill();
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_scorer_the_grace_period_ends_it() {
        let options = Options {
            // Discard, on loopback: nobody answers, at once.
            scorer: "http://127.0.0.1:9".into(),
            node: "n".into(),
            queue_bytes: 0,
            flush_interval: Duration::from_millis(200),
            byte_budget: 0,
        };
        let (sender, client) = uplink(options, &mut Registry::default()).expect("an address");
        sender.push(&calls(0, 3));
        let stop = CancellationToken::new();
        stop.cancel();
        assert_eq!(client.run(stop, Duration::from_hours(1)).await, Undelivered { calls: 3 });
    }

    #[test]
    fn addresses() {
        for (scorer, good) in [
            ("http://127.0.0.1:7676", true),
            ("http://scorer.surprisal.svc:7676", true),
            ("http://[::1]:7676", true),
            ("127.0.0.1:7676", false),
            ("https://scorer:7676", false),
            ("http://", false),
            ("", false),
            ("not an address", false),
        ] {
            let options = Options {
                scorer: scorer.into(),
                node: "n".into(),
                queue_bytes: 0,
                flush_interval: Duration::ZERO,
                byte_budget: 0,
            };
            assert_eq!(uplink(options, &mut Registry::default()).is_ok(), good, "{scorer:?}");
        }
    }
}
