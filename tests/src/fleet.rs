//! Many agents, played: what a scorer gets from a thousand nodes, over real gRPC, each on a connection of its own.
//!
//! In: a recording, how many agents with how many containers make how many calls. Out: what was sent and acknowledged, and how
//! late. Never: a call that was not recorded; what it costs the scorer is for others to measure ([`measure`]).
//!
//! Each container runs through the recording's threads in their order, from a place of its own, in stretches: it makes calls for one
//! [`PERIOD`] out of every few, and is then silent, so that both full windows and those that silence cuts come about. One container
//! in [`BUSY_OF`] makes [`BUSY`] times the calls of each other one. Runs are as long as the kernel's buffers, batches as frequent as
//! an agent's.
//!
//! The machine is the scorer's: batches are packed beforehand, in a few variants that agents share (a scorer cannot tell, since
//! container ids are the nodes' own), and one thread sends them all.

pub mod measure;
mod plan;
pub mod script;

pub use plan::{BUSY, BUSY_OF, PERIOD, Plan};

use anyhow::{Context as _, Result, ensure};
use script::{Script, Send};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use surprisal_proto::{token, v1};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use v1::{ingest_client::IngestClient, stream_request::Message, stream_response};

/// Batches on their way at once, as an agent has it.
const IN_FLIGHT: usize = 64;
/// Connections that are opened in one second: all at once is another test.
const CONNECTS: u64 = 400;

/// What was done in one step, by all agents.
#[derive(Debug, Default)]
pub struct Tally {
    /// Calls sent.
    pub sent: AtomicU64,
    /// Calls acknowledged.
    pub acknowledged: AtomicU64,
    /// Batches sent.
    pub batches: AtomicU64,
    /// Bytes of packed batches.
    pub bytes: AtomicU64,
    /// Longest that a batch was sent after its time, milliseconds.
    pub late_ms: AtomicU64,
    /// Streams that the scorer ended.
    pub ended: AtomicU64,
}

/// The agents, connected.
pub struct Fleet {
    scripts: Vec<Arc<Script>>,
    lines: Vec<Line>,
}

/// One agent's stream.
struct Line {
    requests: mpsc::Sender<v1::StreamRequest>,
    answers: tonic::Streaming<v1::StreamResponse>,
    /// Sequence of the last batch sent, and of the last one acknowledged.
    sent: u64,
    acknowledged: u64,
}

impl Fleet {
    /// Connects all agents, and announces all containers.
    pub async fn connect(url: &str, plan: &Plan, scripts: Vec<Script>) -> Result<Self> {
        ensure!(!scripts.is_empty(), "there is nothing to play");
        let scripts: Vec<_> = scripts.into_iter().map(Arc::new).collect();
        let mut fleet = Self { lines: Vec::with_capacity(plan.agents), scripts };
        let begin = Instant::now();
        for n in 0..plan.agents {
            let births = fleet.script(n).births.clone();
            let line = Line::connect(url, n, births).await.with_context(|| format!("agent {n} of {}", plan.agents))?;
            fleet.lines.push(line);
            tokio::time::sleep_until(begin + Duration::from_micros(1_000_000 / CONNECTS * (n as u64 + 1))).await;
        }
        Ok(fleet)
    }

    fn script(&self, n: usize) -> &Arc<Script> {
        &self.scripts[n % self.scripts.len()]
    }

    /// Plays one step of all scripts; ends when all that was sent is acknowledged, or `grace` after the step.
    pub async fn play(&mut self, step: usize, plan: &Plan, grace: Duration) -> Result<Arc<Tally>> {
        let tally = Arc::new(Tally::default());
        let begin = Instant::now() + Duration::from_millis(100);
        let deadline = begin + plan.step + grace;
        let mut playing = JoinSet::new();
        let agents = self.lines.len();
        for (n, line) in std::mem::take(&mut self.lines).into_iter().enumerate() {
            let script = Arc::clone(&self.scripts[n % self.scripts.len()]);
            // No two agents in step.
            let begin = begin + plan.flush.mul_f64(n as f64 / agents as f64);
            let (flush, tally) = (plan.flush, Arc::clone(&tally));
            playing.spawn(async move { (n, line.play(&script.steps[step], begin, flush, deadline, &tally).await) });
        }
        let mut lines: Vec<_> = (0..agents).map(|_| None).collect();
        while let Some(played) = playing.join_next().await {
            let (n, line) = played?;
            lines[n] = Some(line);
        }
        self.lines = lines.into_iter().flatten().collect();
        Ok(tally)
    }
}

impl Line {
    async fn connect(url: &str, n: usize, births: Vec<u8>) -> Result<Self> {
        let channel = tonic::transport::Endpoint::from_shared(url.to_owned())?.tcp_nodelay(true).connect().await?;
        let (requests, receiver) = mpsc::channel(4);
        let hello = v1::Hello {
            node: format!("node-{n}"),
            instance: format!("fleet-{}-{n}", std::process::id()),
            agent_version: "fleet".to_owned(),
            token_layout: token::LAYOUT,
            abi: token::ABI.to_owned(),
            names_left_out: false,
        };
        requests.send(v1::StreamRequest { message: Some(Message::Hello(hello)) }).await?;
        let mut answers = IngestClient::new(channel).stream(ReceiverStream::new(receiver)).await?.into_inner();
        let welcome = answers.message().await?.and_then(|answer| answer.message);
        let takes = matches!(welcome, Some(stream_response::Message::Welcome(v1::Welcome { takes_packed: true, .. })));
        ensure!(takes, "the scorer does not take packed batches");
        let mut line = Self { requests, answers, sent: 0, acknowledged: 0 };
        line.send(births).await?;
        line.hear().await?;
        Ok(line)
    }

    async fn send(&mut self, packed: Vec<u8>) -> Result<()> {
        let message = Some(Message::Packed(packed));
        self.requests.send(v1::StreamRequest { message }).await.context("the stream is closed")?;
        self.sent += 1;
        Ok(())
    }

    async fn hear(&mut self) -> Result<()> {
        match self.answers.message().await?.and_then(|answer| answer.message) {
            Some(stream_response::Message::Ack(ack)) => self.acknowledged = ack.sequence,
            Some(_) => {}
            None => anyhow::bail!("the scorer has closed the stream"),
        }
        Ok(())
    }

    /// Sends each batch at its time, while at most [`IN_FLIGHT`] are not acknowledged; what is not sent by `deadline` is not sent. A
    /// stream that the scorer ends stays ended.
    async fn play(mut self, sends: &[Send], begin: Instant, flush: Duration, deadline: Instant, tally: &Tally) -> Self {
        let base = self.sent;
        let mut told = 0;
        let mut next = 0;
        let count = |line: &Self, told: &mut usize| {
            while (*told as u64) < line.acknowledged.saturating_sub(base) {
                tally.acknowledged.fetch_add(sends.get(*told).map_or(0, |s| s.calls), Ordering::Relaxed);
                *told += 1;
            }
        };
        let end = loop {
            let due = begin + flush * u32::try_from(sends.get(next).map_or(0, |s| s.at)).unwrap_or(u32::MAX);
            let may_send = next < sends.len() && ((self.sent - self.acknowledged) as usize) < IN_FLIGHT;
            if next == sends.len() && self.acknowledged == self.sent {
                break Ok(());
            }
            let heard = tokio::select! {
                () = tokio::time::sleep_until(due), if may_send => {
                    let late = due.elapsed().as_millis() as u64;
                    tally.late_ms.fetch_max(late, Ordering::Relaxed);
                    tally.sent.fetch_add(sends[next].calls, Ordering::Relaxed);
                    tally.batches.fetch_add(1, Ordering::Relaxed);
                    tally.bytes.fetch_add(sends[next].packed.len() as u64, Ordering::Relaxed);
                    next += 1;
                    self.send(sends[next - 1].packed.clone()).await
                }
                heard = self.hear() => heard,
                () = tokio::time::sleep_until(deadline) => break Ok(()),
            };
            count(&self, &mut told);
            if heard.is_err() {
                break heard;
            }
        };
        if end.is_err() {
            tally.ended.fetch_add(1, Ordering::Relaxed);
        }
        self
    }
}
