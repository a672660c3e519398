//! `replay`: what an agent would send, from a recording; for machines on which no agent can run.
//!
//! In: a recording (or one packed with zstd, for `unpack`). Out: the same births, calls, accounts and deaths on a
//! scorer's Ingest stream, as far apart as they were, with today's times. Never: changes a call or its place.

use anyhow::{Context as _, Result, bail, ensure};
use std::{env, fs::File, io::BufReader, path::Path, process::ExitCode, time::Duration};
use surprisal_proto::{
    recording::{Calls, Line, Reader},
    token, v1,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use v1::{ingest_client::IngestClient, stream_request::Message, stream_response};

const USAGE: &str = "usage: replay unpack RECORDING.zst RECORDING | replay send RECORDING http://HOST:PORT";
/// What happens within this time goes in one batch.
const BATCH: Duration = Duration::from_millis(250);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let result = match *args {
        ["unpack", from, to] => unpack(Path::new(from), Path::new(to)),
        ["send", recording, url] => send(Path::new(recording), url).await,
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("replay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn unpack(from: &Path, to: &Path) -> Result<()> {
    let input = File::open(from).with_context(|| format!("opening {}", from.display()))?;
    let output = File::create(to).with_context(|| format!("creating {}", to.display()))?;
    zstd::stream::copy_decode(input, output).with_context(|| format!("unpacking {}", from.display()))
}

async fn send(path: &Path, url: &str) -> Result<()> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let reader = Reader::new(BufReader::new(file)).with_context(|| format!("reading {}", path.display()))?;
    let node = reader.header.node.clone();
    let mut lines = reader.collect::<Result<Vec<_>, _>>().with_context(|| format!("reading {}", path.display()))?;
    // Threads' runs are written when they are heard, not when they began: what is sent is ordered by time.
    lines.sort_by_key(|line| at(line).unwrap_or(0));
    let first = lines.iter().find_map(at).context("there are no calls in it")?;

    let (requests, receiver) = mpsc::channel(4);
    let hello = v1::Hello {
        node,
        instance: format!("replay-{}", std::process::id()),
        agent_version: "replay".to_owned(),
        token_layout: token::LAYOUT,
        abi: token::ABI.to_owned(),
        names_left_out: false,
    };
    requests.send(v1::StreamRequest { message: Some(Message::Hello(hello)) }).await?;
    let mut client = IngestClient::connect(url.to_owned()).await.with_context(|| format!("connecting to {url}"))?;
    let mut answers = client.stream(ReceiverStream::new(receiver)).await.context("opening the stream")?.into_inner();
    let welcome = answers.message().await?.and_then(|answer| answer.message);
    ensure!(matches!(welcome, Some(stream_response::Message::Welcome(_))), "the scorer did not say welcome");

    let (start, shift) = (Instant::now(), now_ns()? - first);
    let (mut batch, mut sequence, mut closes) = (v1::Batch::default(), 0, BATCH);
    for line in lines {
        let due = Duration::from_nanos((at(&line).unwrap_or(first) - first).max(0) as u64);
        if due > closes {
            sequence += 1;
            tokio::time::sleep_until(start + closes).await;
            push(&requests, &mut answers, std::mem::take(&mut batch), sequence).await?;
            closes = due + BATCH;
        }
        add(&mut batch, line, shift)?;
    }
    push(&requests, &mut answers, batch, sequence + 1).await
}

/// Sends a batch and waits until the scorer has it.
async fn push(
    requests: &mpsc::Sender<v1::StreamRequest>,
    answers: &mut tonic::Streaming<v1::StreamResponse>,
    mut batch: v1::Batch,
    sequence: u64,
) -> Result<()> {
    batch.sequence = sequence;
    batch.closed_at = Some(timestamp(now_ns()?));
    requests.send(v1::StreamRequest { message: Some(Message::Batch(batch)) }).await.context("the stream is closed")?;
    loop {
        match answers.message().await?.and_then(|answer| answer.message) {
            Some(stream_response::Message::Ack(ack)) if ack.sequence >= sequence => return Ok(()),
            Some(_) => {}
            None => bail!("the scorer has closed the stream"),
        }
    }
}

/// When a line's calls were made, nanoseconds since the epoch.
fn at(line: &Line) -> Option<i64> {
    match line {
        Line::Calls(calls) => i64::try_from(calls.at.as_nanosecond()).ok(),
        Line::Death(death) => i64::try_from(death.at.as_nanosecond()).ok(),
        _ => None,
    }
}

fn add(batch: &mut v1::Batch, line: Line, shift: i64) -> Result<()> {
    let when = at(&line).unwrap_or_default() + shift;
    match line {
        Line::Container(container) => batch.births.push(v1::Birth { container: Some(container.into()) }),
        Line::Calls(calls) => batch.calls.push(run(calls, when)?),
        Line::Account(account) => {
            batch.accounts.retain(|a| a.container_id != account.container);
            batch.accounts.push(v1::Account {
                container_id: account.container,
                issued: account.issued,
                delivered: account.delivered,
                lost_ring: account.lost,
                threads_untracked: account.threads_untracked,
                dropped_queue: 0,
                dropped_budget: 0,
                names_untold: account.names_untold,
                names_unread: account.names_unread,
                names_dropped: 0,
            });
        }
        Line::Death(death) => {
            batch.deaths.push(v1::Death { container_id: death.container, ended_at: Some(timestamp(when)) });
        }
        Line::Name(name) => batch.names.push(v1::Name {
            container_id: name.container,
            tgid: name.pid,
            tid: name.tid,
            sequence: name.seq,
            token: u32::from(name.call.0),
            text: name.name,
            argv0: name.argv0,
            relative: name.relative,
            truncated: name.truncated,
            late: name.late,
        }),
        Line::Header(_) | Line::End(_) => {}
    }
    Ok(())
}

fn run(calls: Calls, when: i64) -> Result<v1::Calls> {
    Ok(v1::Calls {
        container_id: calls.container,
        tgid: calls.pid,
        tid: calls.tid,
        process: calls.process,
        first_sequence: calls.seq,
        started_ns: when.try_into().context("a time before 1970")?,
        tokens: calls.calls.iter().flat_map(|token| token.0.to_le_bytes()).collect(),
        gap: calls.gap,
        last: calls.last,
        by_exec: calls.by_exec,
    })
}

fn now_ns() -> Result<i64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(i64::try_from(now.as_nanos())?)
}

fn timestamp(ns: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: ns.div_euclid(1_000_000_000), nanos: ns.rem_euclid(1_000_000_000) as i32 }
}
