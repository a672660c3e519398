//! The socket to the scorer: its bytes counted, and batches packed for it.
//!
//! In: an address; batches. Out: a connection whose every byte is counted; messages to send on it. Never: decides
//! what is sent.
//!
//! A scorer that says so gets each batch as the next block of the connection's one zstd stream
//! ([`surprisal_proto::packed`]), which compresses what repeats from batch to batch; gRPC's own compression begins anew
//! with each message and is not used on top of it. Another scorer gets plain batches.
//!
//! Bytes are counted where they are written to the socket: HTTP/2's and gRPC's framing are in them, TCP's and IP's headers
//! and retransmissions are not.

use hyper_util::rt::TokioIo;
use prometheus_client::metrics::counter::Counter;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};
use surprisal_proto::{
    packed::{PackError, Packer},
    v1::{Batch, StreamRequest, stream_request::Message},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tonic::transport::{Channel, Endpoint, Uri};

/// Where HTTP is spoken when an address names no port.
const HTTP: u16 = 80;

/// Bytes on sockets to the scorer, all connections together.
#[derive(Clone, Debug, Default)]
pub(super) struct Bytes {
    pub(super) sent: Counter,
    pub(super) received: Counter,
}

/// Connects, and counts from then on. The endpoint's timeouts hold.
pub(super) async fn connect(endpoint: &Endpoint, bytes: &Bytes) -> Result<Channel, tonic::transport::Error> {
    let bytes = bytes.clone();
    let connector = tower::service_fn(move |uri: Uri| {
        let bytes = bytes.clone();
        async move {
            let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
            let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(HTTP))).await?;
            // A batch is a message of its own: nothing is gained by waiting for more.
            stream.set_nodelay(true)?;
            Ok::<_, io::Error>(TokioIo::new(Counted { stream, bytes }))
        }
    });
    endpoint.connect_with_connector(connector).await
}

/// How batches travel on one connection.
#[derive(Debug)]
pub(super) enum Form {
    Plain,
    Packed(Packer),
}

impl Form {
    /// For a new connection.
    pub(super) fn new(takes_packed: bool) -> Self {
        if takes_packed { Self::Packed(Packer::new()) } else { Self::Plain }
    }

    /// A batch as the next message. An error ends the connection: what follows could not be read.
    pub(super) fn message(&mut self, batch: Batch) -> Result<StreamRequest, PackError> {
        let message = match self {
            Self::Plain => Message::Batch(batch),
            Self::Packed(packer) => Message::Packed(packer.pack(&batch)?),
        };
        Ok(StreamRequest { message: Some(message) })
    }
}

/// A socket whose bytes are counted.
struct Counted {
    stream: TcpStream,
    bytes: Bytes,
}

impl Counted {
    fn sent(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(n)) = result {
            self.bytes.sent.inc_by(n as u64);
        }
        result
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.bytes.received.inc_by((buf.filled().len() - before) as u64);
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.sent(result)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.sent(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
