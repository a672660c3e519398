//! A slow scorer, and a connection of which one end is gone without a word.

use super::{SOON, containerd, metric, more_calls, page, score, start_agent, steady};
use anyhow::{Context as _, Result, ensure};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use surprisal_e2e::{Recording, Run, Scorer, wait_for};
use surprisal_proto::{
    status,
    v1::{
        Ack, StreamRequest, StreamResponse, Welcome,
        ingest_server::{Ingest, IngestServer},
        stream_request, stream_response,
    },
};
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

/// *Slow*: a scorer that takes a second for each batch. Capture goes on untouched, the queue stays within its bound and
/// counts what it drops, and every hop of the agent balances.
#[test]
fn a_slow_scorer_costs_only_what_is_counted() -> Result<()> {
    const QUEUE: u64 = 1 << 20;
    let (containerd, busybox) = containerd()?;
    let slow = Slow::serve(Duration::from_secs(1))?;
    let file = containerd.scratch().path().join("calls.jsonl");
    let queue = QUEUE.to_string();
    let flags = ["--queue-bytes", &queue, "--byte-budget", "0", "--jsonl", file.to_str().context("UTF-8")?];
    let flags = [&flags[..], &["--jsonl-max-bytes", "1000000000"]].concat();
    let mut agent = start_agent(&containerd, &slow.url(), &flags)?;
    wait_for("a connection", SOON, || metric(&agent, "surprisal_agent_uplink_connected").ok().filter(|n| *n == 1));
    let before = agent.anonymous_bytes();
    containerd.run_to_end(&Run::new("busy", &busybox, &["workload", "calls", "2000000", "1", "1"]))?;
    let recording = wait_for("all of it in the file beside", SOON, || {
        Recording::read_so_far(&file).ok().filter(|r| r.deaths.contains(&"busy".to_owned()))
    });
    let account = recording.accounts.get("busy").context("its account")?;
    ensure!(account.lost == 0 && account.issued >= 2_000_000, "capture suffered: {account:?}");
    let grown = agent.anonymous_bytes().saturating_sub(before);
    // The queue, what is decoded and written meanwhile, and what an allocator keeps of that.
    ensure!(grown < QUEUE + (32 << 20), "the agent has grown by {grown} bytes");
    let dropped = metric(&agent, "surprisal_agent_uplink_dropped_calls_total")?;
    ensure!(dropped > 0, "{} calls in a queue of {QUEUE} bytes", account.delivered);
    wait_for("every hop to balance", SOON, || {
        let text = page(&agent, "/status").ok()?;
        let answer = status::parse(text.split("\r\n\r\n").nth(1)?).ok()?;
        (!answer.hops.is_empty() && answer.hops.iter().all(|hop| status::imbalance(hop) == 0)).then_some(())
    });
    ensure!(slow.taken.load(Ordering::Relaxed) > 0, "the scorer was to take something");
    agent.kill()?;
    Ok(())
}

/// *Half open*: bytes go nowhere, and nobody says so. The agent finds out by its keep-alive (15 s) and reconnects, every call
/// arrives once, and the scorer lets go of the dead stream by its own keep-alive (50 s).
#[test]
fn a_half_open_connection_is_given_up_by_both_ends() -> Result<()> {
    let (containerd, busybox) = containerd()?;
    let profiles = containerd.scratch().path().join("profiles");
    let scorer = Scorer::serve(containerd.scratch(), &profiles, &["--admin", "127.0.0.1:0"])?;
    let proxy = Proxy::start(scorer.address())?;
    let file = containerd.scratch().path().join("calls.jsonl");
    let flags = ["--jsonl", file.to_str().context("UTF-8")?, "--jsonl-max-bytes", "1000000000"];
    let url = scorer.url();
    let mut agent = start_agent(&containerd, &format!("http://{}", proxy.address), &flags)?;
    let container = steady(&containerd, &busybox, "steady")?;
    let seen = more_calls(&url, "steady", 500);
    proxy.freeze();
    wait_for("a second connection", SOON, || metric(&agent, "surprisal_agent_uplink_connections_total").ok().filter(|n| *n == 2));
    more_calls(&url, "steady", seen + 1000);
    container.signal("KILL")?;
    let last = wait_for("its end", SOON, || score(&url, "steady").filter(|s| s["ended"] == true));
    wait_for("the scorer to have one stream again", Duration::from_secs(90), || {
        metric(&scorer.daemon, "surprisal_scorer_ingest_streams").ok().filter(|n| *n == 1)
    });
    ensure!(agent.terminate(SOON)?.success(), "{}", agent.log());
    let delivered = Recording::read(&file)?.delivered("steady");
    ensure!(super::calls(&last) == delivered, "{delivered} calls captured, {} arrived", super::calls(&last));
    ensure!(last["loss_ratio"] == 0.0, "{last:#}");
    Ok(())
}

/// A stand-in for a scorer: it takes its time for each batch, and takes them one by one.
struct Slow {
    address: SocketAddr,
    taken: Arc<AtomicU64>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Slow {
    fn serve(pause: Duration) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let taken = Arc::new(AtomicU64::new(0));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let service = IngestServer::new(Late { pause, taken: Arc::clone(&taken) });
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        runtime.spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        Ok(Self { address, taken, runtime: Some(runtime) })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Late {
    pause: Duration,
    taken: Arc<AtomicU64>,
}

#[tonic::async_trait]
impl Ingest for Late {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<StreamResponse, Status>> + Send>>;

    async fn stream(&self, request: Request<Streaming<StreamRequest>>) -> Result<Response<Self::StreamStream>, Status> {
        let mut messages = request.into_inner();
        let (out, answers) = mpsc::channel(1);
        let (pause, taken) = (self.pause, Arc::clone(&self.taken));
        tokio::spawn(async move {
            while let Ok(Some(request)) = messages.message().await {
                let answer = match request.message {
                    Some(stream_request::Message::Hello(_)) => {
                        let scorer_version = "slow".to_owned();
                        stream_response::Message::Welcome(Welcome { scorer_version, ..Welcome::default() })
                    }
                    Some(stream_request::Message::Batch(batch)) => {
                        tokio::time::sleep(pause).await;
                        taken.fetch_add(1, Ordering::Relaxed);
                        stream_response::Message::Ack(Ack { sequence: batch.sequence })
                    }
                    // It never said that it takes them.
                    Some(stream_request::Message::Packed(_)) | None => return,
                };
                if out.send(Ok(StreamResponse { message: Some(answer) })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

/// A way to the scorer that can stop forwarding without closing anything.
struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Connections accepted before this many are frozen.
    frozen: AtomicU64,
    accepted: AtomicU64,
    over: AtomicBool,
}

impl Proxy {
    fn start(to: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for from in listener.incoming().flatten() {
                if shared.over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(to) = TcpStream::connect(to) else { continue };
                let number = shared.accepted.fetch_add(1, Ordering::Relaxed);
                let (Ok(from2), Ok(to2)) = (from.try_clone(), to.try_clone()) else { continue };
                for (source, sink) in [(from, to), (to2, from2)] {
                    let state = Arc::clone(&shared);
                    thread::spawn(move || pump(source, sink, number, &state));
                }
            }
        });
        Ok(Self { address, state })
    }

    /// Nothing goes through the connections that there are, and nobody is told.
    fn freeze(&self) {
        self.state.frozen.store(self.state.accepted.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        // Wakes the one that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

/// Forwards one direction, until its connection is frozen; then it holds both ends and does nothing.
fn pump(mut source: TcpStream, mut sink: TcpStream, number: u64, state: &State) {
    let _ = source.set_read_timeout(Some(Duration::from_millis(100)));
    let mut buffer = vec![0; 64 << 10];
    loop {
        if state.over.load(Ordering::Relaxed) {
            return;
        }
        if number < state.frozen.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(100));
            continue;
        }
        match source.read(&mut buffer) {
            Ok(0) => return drop(sink.shutdown(std::net::Shutdown::Write)),
            Ok(n) if sink.write_all(&buffer[..n]).is_ok() => {}
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            _ => return,
        }
    }
}
