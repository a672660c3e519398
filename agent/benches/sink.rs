//! A scorer that only acknowledges: what the agent's uplink talks to while the agent's cost is measured.
//!
//! In: an address to listen on. Out: `listening` on stdout, then an acknowledgement for each batch. Never: reads a batch
//! (a packed one stays packed: an agent numbers its batches 1, 2, 3 …, and they are counted), part of the product;
//! `cargo xtask bench overhead` starts it.

use anyhow::{Context as _, Result};
use std::pin::Pin;
use surprisal_proto::v1::{
    Ack, StreamRequest, StreamResponse, Welcome,
    ingest_server::{Ingest, IngestServer},
    stream_request, stream_response,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::{
    Stream,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Request, Response, Status, Streaming, codec::CompressionEncoding, transport::Server};

/// Answers on their way to an agent.
const ANSWERS: usize = 16;

struct Sink;

#[tonic::async_trait]
impl Ingest for Sink {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<StreamResponse, Status>> + Send>>;

    async fn stream(&self, request: Request<Streaming<StreamRequest>>) -> Result<Response<Self::StreamStream>, Status> {
        let (out, answers) = mpsc::channel(ANSWERS);
        tokio::spawn(answer(request.into_inner(), out));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

/// Until one side has left.
async fn answer(mut requests: Streaming<StreamRequest>, out: mpsc::Sender<Result<StreamResponse, Status>>) {
    let mut counted = 0;
    while let Ok(Some(request)) = requests.message().await {
        let message = match request.message {
            Some(stream_request::Message::Hello(_)) => stream_response::Message::Welcome(Welcome {
                last_sequence: 0,
                scorer_version: "sink".to_owned(),
                takes_packed: true,
            }),
            Some(stream_request::Message::Batch(batch)) => {
                counted = batch.sequence;
                stream_response::Message::Ack(Ack { sequence: counted })
            }
            Some(stream_request::Message::Packed(_)) => {
                counted += 1;
                stream_response::Message::Ack(Ack { sequence: counted })
            }
            None => return,
        };
        if out.send(Ok(StreamResponse { message: Some(message) })).await.is_err() {
            return;
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let address = std::env::args().nth(1).context("an address to listen on is missing")?;
    let listener = TcpListener::bind(&address).await.with_context(|| format!("listening on {address}"))?;
    println!("listening");
    let service = IngestServer::new(Sink).accept_compressed(CompressionEncoding::Zstd).send_compressed(CompressionEncoding::Zstd);
    Ok(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)).await?)
}
