//! An agent, played.

use crate::load::WORKLOAD;
use std::time::{SystemTime, UNIX_EPOCH};
use surprisal_proto::token::{ABI, LAYOUT, Token};
use surprisal_proto::v1::{self, ingest_client::IngestClient, stream_request::Message as Say, stream_response::Message as Hear};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Status, Streaming};

pub(crate) struct Agent {
    say: mpsc::Sender<v1::StreamRequest>,
    hear: Streaming<v1::StreamResponse>,
    pub(crate) welcome: v1::Welcome,
    pub(crate) sequence: u64,
}

pub(crate) fn hello(instance: &str) -> v1::Hello {
    v1::Hello {
        node: "node-1".into(),
        instance: instance.into(),
        agent_version: "test".into(),
        token_layout: LAYOUT,
        abi: ABI.into(),
        names_left_out: false,
    }
}

pub(crate) fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}

pub(crate) fn birth(id: &str) -> v1::Birth {
    let container = v1::Container {
        id: id.into(),
        node: "node-1".into(),
        namespace: "shop".into(),
        pod: "cache-0".into(),
        name: "redis".into(),
        workload: WORKLOAD.into(),
        kind: v1::container::Kind::Container.into(),
        ..v1::Container::default()
    };
    v1::Birth { container: Some(container) }
}

pub(crate) fn calls(id: &str, pid: u32, process: &str, first_sequence: u64, tokens: &[Token]) -> v1::Calls {
    v1::Calls {
        container_id: id.into(),
        tgid: pid,
        tid: pid,
        process: process.into(),
        first_sequence,
        started_ns: now_ns(),
        tokens: tokens.iter().flat_map(|t| t.0.to_le_bytes()).collect(),
        gap: 0,
        last: false,
        by_exec: false,
    }
}

/// Opens a stream and says something first.
pub(crate) async fn open(
    url: &str,
    first: Option<Say>,
) -> Result<(mpsc::Sender<v1::StreamRequest>, Streaming<v1::StreamResponse>), Status> {
    let mut client = IngestClient::connect(url.to_owned())
        .await
        .expect("connects")
        .send_compressed(CompressionEncoding::Zstd)
        .accept_compressed(CompressionEncoding::Zstd);
    let (say, said) = mpsc::channel(16);
    say.send(v1::StreamRequest { message: first }).await.expect("open");
    let hear = client.stream(ReceiverStream::new(said)).await?.into_inner();
    Ok((say, hear))
}

impl Agent {
    pub(crate) async fn connect(url: &str, instance: &str) -> Self {
        Self::of_node(url, "node-1", instance).await
    }

    pub(crate) async fn of_node(url: &str, node: &str, instance: &str) -> Self {
        let hello = v1::Hello { node: node.into(), ..hello(instance) };
        let (say, mut hear) = open(url, Some(Say::Hello(hello))).await.expect("a stream");
        let Some(Hear::Welcome(welcome)) = hear.message().await.expect("an answer").and_then(|m| m.message) else {
            panic!("no welcome");
        };
        Self { say, hear, sequence: welcome.last_sequence, welcome }
    }

    /// Sends a batch under its own sequence, and waits until it is taken.
    pub(crate) async fn send_as(&mut self, batch: v1::Batch) -> u64 {
        self.say.send(v1::StreamRequest { message: Some(Say::Batch(batch)) }).await.expect("open");
        let Some(Hear::Ack(ack)) = self.hear.message().await.expect("an answer").and_then(|m| m.message) else {
            panic!("no acknowledgement");
        };
        ack.sequence
    }

    /// Says anything; the scorer's answer.
    pub(crate) async fn says(&mut self, message: Say) -> Result<u64, Code> {
        // A stream that has ended takes nothing more.
        let _ = self.say.send(v1::StreamRequest { message: Some(message) }).await;
        match self.hear.message().await {
            Ok(Some(v1::StreamResponse { message: Some(Hear::Ack(ack)) })) => Ok(ack.sequence),
            Ok(_) => Err(Code::Unknown),
            Err(status) => Err(status.code()),
        }
    }

    /// Sends the next batch.
    pub(crate) async fn send(&mut self, batch: v1::Batch) {
        self.sequence += 1;
        let acknowledged = self.send_as(v1::Batch { sequence: self.sequence, ..batch }).await;
        assert_eq!(acknowledged, self.sequence);
    }

    /// A container and its server's loop.
    pub(crate) async fn serves(&mut self, id: &str, seed: u64, n: usize) {
        self.send(v1::Batch { births: vec![birth(id)], ..v1::Batch::default() }).await;
        let all = [crate::load::start(), crate::load::serve(seed, n)].concat();
        for (i, part) in all.chunks(1000).enumerate() {
            self.send(v1::Batch { calls: vec![calls(id, 10, "redis-server", i as u64 * 1000, part)], ..v1::Batch::default() })
                .await;
        }
    }

    /// A shell in it.
    pub(crate) async fn attacks(&mut self, id: &str) {
        let shell = v1::Calls { last: false, ..calls(id, 666, "sh", 0, &crate::load::shell()) };
        self.send(v1::Batch { calls: vec![shell], ..v1::Batch::default() }).await;
    }
}
