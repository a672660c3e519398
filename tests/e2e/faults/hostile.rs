//! An agent that means harm: whoever reaches the scorer's port can speak the protocol.

use super::{SOON, containerd, metric, more_calls, score, start_agent, steady};
use anyhow::{Context as _, Result, bail, ensure};
use surprisal_e2e::{Scorer, wait_for};
use surprisal_proto::{
    token,
    v1::{
        Batch, Birth, Calls, Container, Hello, StreamRequest, StreamResponse, ingest_client::IngestClient,
        stream_request::Message, stream_response,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

/// Container ids made up, and how many go into a batch.
const IDS: u64 = 1_000_000;
const IDS_A_BATCH: u64 = 4_000;
/// What the scorer may grow by: bounded tables of one node, batches under way, and what an allocator keeps of them.
const GROWS: u64 = 256 << 20;

/// Oversized, malformed, replayed and out-of-order batches, and a million container ids: the scorer's memory stays, nothing is
/// counted twice, and the containers of an honest agent are followed on.
#[test]
fn a_hostile_agent_harms_nobody_else() -> Result<()> {
    let (containerd, busybox) = containerd()?;
    let profiles = containerd.scratch().path().join("profiles");
    let mut scorer = Scorer::serve(containerd.scratch(), &profiles, &["--admin", "127.0.0.1:0"])?;
    let url = scorer.url();
    let mut agent = start_agent(&containerd, &url, &[])?;
    let container = steady(&containerd, &busybox, "honest")?;
    more_calls(&url, "honest", 500);
    let before = scorer.daemon.resident_bytes();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        refused(&url).await?;
        replayed(&url).await?;
        many_ids(&url).await
    })?;
    // 10 calls of the first batch and 10 of the third; the second came too late, the others were repeated.
    let counted = wait_for("the replayed calls", SOON, || score(&url, "replayed").map(|s| super::calls(&s)).filter(|n| *n > 0));
    ensure!(counted == 20, "{counted} calls");
    let grown = scorer.daemon.resident_bytes().saturating_sub(before);
    ensure!(grown < GROWS, "the scorer has grown by {} MB", grown >> 20);
    let known = metric(&scorer.daemon, "surprisal_scorer_containers")?;
    ensure!(known < IDS / 10, "{known} containers are known");
    let refused = metric(&scorer.daemon, "surprisal_scorer_dropped_total")?;
    ensure!(refused > IDS / 2, "{refused} things dropped, of {IDS} containers");
    let seen = score(&url, "honest").map_or(0, |s| super::calls(&s));
    more_calls(&url, "honest", seen + 1000);
    let honest = score(&url, "honest").context("the honest agent's container")?;
    ensure!(honest["ended"] != true && honest["loss_ratio"] == 0.0, "{honest:#}");
    ensure!(!scorer.daemon.log().contains("panicked"), "{}", scorer.daemon.log());
    eprintln!("{IDS} ids: the scorer has grown by {} MB and knows {known} containers", grown >> 20);
    drop(container);
    ensure!(agent.terminate(SOON)?.success(), "{}", agent.log());
    ensure!(scorer.daemon.terminate(SOON)?.success(), "{}", scorer.daemon.log());
    Ok(())
}

/// What no agent sends ends the stream with a reason, and nothing else.
async fn refused(url: &str) -> Result<()> {
    let huge = Batch { sequence: 1, calls: vec![calls("huge", 0, 4 << 20)], ..Batch::default() };
    let crowd = Batch { sequence: 1, deaths: vec![surprisal_proto::v1::Death::default(); 70_000], ..Batch::default() };
    for (what, message, codes) in [
        ("oversized", Message::Batch(huge), &[Code::OutOfRange, Code::ResourceExhausted][..]),
        ("without a number", Message::Batch(Batch::default()), &[Code::InvalidArgument]),
        ("with too many things", Message::Batch(crowd), &[Code::InvalidArgument]),
        ("packed garbage", Message::Packed(vec![0xff; 1000]), &[Code::InvalidArgument]),
        ("a second hello", Message::Hello(hello("evil")), &[Code::InvalidArgument]),
    ] {
        let mut line = Line::open(url, hello("evil")).await?;
        line.send(message).await?;
        match line.answers.message().await {
            Err(status) if codes.contains(&status.code()) => {}
            other => bail!("a batch {what} was answered with {other:?}"),
        }
    }
    for (what, hello) in [("no name", hello("")), ("another layout", Hello { token_layout: 99, ..hello("evil") })] {
        ensure!(Line::open(url, hello).await.is_err(), "a hello with {what} was welcomed");
    }
    Ok(())
}

/// Each number counts once, and what comes after a later one does not count; all are acknowledged.
async fn replayed(url: &str) -> Result<()> {
    let mut line = Line::open(url, hello("replays")).await?;
    for (sequence, first) in [(1, 0), (1, 0), (3, 10), (2, 20), (3, 10), (1, 0)] {
        let batch =
            Batch { sequence, births: vec![birth("replayed")], calls: vec![calls("replayed", first, 10)], ..Batch::default() };
        line.batch(batch).await?;
    }
    Ok(())
}

/// A million containers, by one node; every tenth makes calls too.
async fn many_ids(url: &str) -> Result<()> {
    let mut line = Line::open(url, hello("crowded")).await?;
    for (n, from) in (0..IDS).step_by(IDS_A_BATCH as usize).enumerate() {
        let ids: Vec<_> = (from..from + IDS_A_BATCH).map(|id| format!("made-up-{id:08}")).collect();
        let births = ids.iter().map(|id| birth(id)).collect();
        let calls = ids.iter().step_by(10).map(|id| calls(id, 0, 4)).collect();
        line.batch(Batch { sequence: n as u64 + 1, births, calls, ..Batch::default() }).await?;
    }
    Ok(())
}

fn hello(node: &str) -> Hello {
    Hello {
        node: node.to_owned(),
        instance: "hostile".to_owned(),
        agent_version: "0".to_owned(),
        token_layout: token::LAYOUT,
        abi: token::ABI.to_owned(),
        names_left_out: false,
    }
}

fn birth(id: &str) -> Birth {
    let workload = format!("evil/-/{id}");
    Birth { container: Some(Container { id: id.to_owned(), node: "evil".to_owned(), workload, ..Container::default() }) }
}

fn calls(id: &str, first: u64, n: usize) -> Calls {
    let started_ns = 1_790_000_000_000_000_000;
    Calls {
        container_id: id.to_owned(),
        tgid: 7,
        tid: 7,
        process: "evil".to_owned(),
        first_sequence: first,
        started_ns,
        tokens: vec![0; 2 * n],
        ..Calls::default()
    }
}

/// A stream that was welcomed.
struct Line {
    requests: mpsc::Sender<StreamRequest>,
    answers: Streaming<StreamResponse>,
}

impl Line {
    async fn open(url: &str, hello: Hello) -> Result<Self> {
        let (requests, receiver) = mpsc::channel(4);
        requests.send(StreamRequest { message: Some(Message::Hello(hello)) }).await?;
        let mut client = IngestClient::connect(url.to_owned()).await?;
        let mut answers = client.stream(ReceiverStream::new(receiver)).await?.into_inner();
        match answers.message().await?.and_then(|a| a.message) {
            Some(stream_response::Message::Welcome(_)) => Ok(Self { requests, answers }),
            other => bail!("no welcome but {other:?}"),
        }
    }

    async fn send(&self, message: Message) -> Result<()> {
        self.requests.send(StreamRequest { message: Some(message) }).await.context("the stream is closed")
    }

    /// Sends a batch and waits until it is acknowledged.
    async fn batch(&mut self, batch: Batch) -> Result<()> {
        let sequence = batch.sequence;
        self.send(Message::Batch(batch)).await?;
        match self.answers.message().await?.and_then(|a| a.message) {
            Some(stream_response::Message::Ack(ack)) if ack.sequence == sequence => Ok(()),
            other => bail!("batch {sequence} was answered with {other:?}"),
        }
    }
}
