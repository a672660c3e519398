//! `status` and `containers`: ask a running agent how it goes.
//!
//! In: the address of its admin endpoint. Out: its answer, as it came or as a table. Never: takes something
//! else's answer for an agent's; waits more than [`PATIENCE`] for any part of one.

use super::{agent::Agent, containers::Row};
use std::{
    fmt::Write as _,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};
use surprisal_proto::status;

/// Where `status` looks for an agent. `run` serves there, or anywhere, only when it is told to.
pub const DEFAULT_ADMIN: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 7677));
/// For a connection, and for each read of the answer.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer: thousands of sampled containers.
const ANSWER_MAX: u64 = 4 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens, or nobody answers.
    #[error("cannot ask an agent at {address}: is one running there with --admin {address} (or SURPRISAL_ADMIN)?")]
    Unreachable {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something else answers.
    #[error("what answers at {address} is no agent of this version: {reason}")]
    NotAnAgent {
        /// Where.
        address: SocketAddr,
        /// What is wrong with the answer.
        reason: String,
    },
}

/// An agent's answer.
#[derive(Debug)]
pub struct Answer {
    text: String,
    status: surprisal_proto::v1::GetStatusResponse,
    agent: Agent,
}

/// Asks.
pub fn ask(address: SocketAddr) -> Result<Answer, Error> {
    let answer = get(address, "/status").map_err(|source| Error::Unreachable { address, source })?;
    let bad = |reason: String| Error::NotAnAgent { address, reason };
    let body = body(&answer).map_err(bad)?;
    let status = status::parse(body).map_err(|e| bad(e.to_string()))?;
    let mut value: serde_json::Value = serde_json::from_str(body).map_err(|e| bad(e.to_string()))?;
    let agent = serde_json::from_value(value["agent"].take()).map_err(|e| bad(e.to_string()))?;
    Ok(Answer { text: body.to_owned(), status, agent })
}

/// Asks for its containers: as they came, and as rows.
pub fn containers(address: SocketAddr) -> Result<(String, Vec<Row>), Error> {
    let answer = get(address, "/containers").map_err(|source| Error::Unreachable { address, source })?;
    let bad = |reason: String| Error::NotAnAgent { address, reason };
    let body = body(&answer).map_err(bad)?;
    let rows = serde_json::from_str(body).map_err(|e| bad(e.to_string()))?;
    Ok((body.to_owned(), rows))
}

fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // In one write: a server that answers the first part of a request and closes would reset the connection.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The body of an HTTP answer that is a success.
fn body(answer: &str) -> Result<&str, String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("it does not speak HTTP")?;
    let first = head.lines().next().unwrap_or_default();
    if first.split(' ').nth(1) != Some("200") {
        return Err(format!("it says {first:?}"));
    }
    Ok(body)
}

impl Answer {
    /// As it came: one JSON object.
    pub fn json(&self) -> &str {
        &self.text
    }

    /// For people. Ends with a line break.
    pub fn table(&self) -> String {
        let a = &self.agent;
        let mut text = status::table(&self.status);
        let _infallible = writeln!(text, "\n\nnode {}: {} containers, {} threads", a.node, a.containers, a.threads);
        let k = &a.kubernetes;
        let state = if k.error.is_empty() { k.state.clone() } else { format!("{}: {}", k.state, k.error) };
        let _infallible = writeln!(text, "kubernetes: {state}, {} pods known", k.pods);
        if let Some(line) = &a.line {
            let price = line.bytes_per_call.map_or_else(|| "-".to_owned(), |b| format!("{b:.3}"));
            let budget = match line.byte_budget {
                0 => "no byte budget".to_owned(),
                n => format!("budget {:.1} KiB/s, {} containers sampled", kib(n as f64), line.sampled.len()),
            };
            let _infallible = writeln!(
                text,
                "line: {}, {} bytes sent, {price} bytes per call; now {:.1} KiB/s, {budget}",
                if line.connected { "connected" } else { "not connected" },
                line.sent_bytes,
                kib(line.bytes_per_second),
            );
            for (id, ratio) in &line.sampled {
                let _infallible = writeln!(text, "  {id}: {:.0} % of the time", 100.0 * ratio);
            }
        }
        for p in &a.programs {
            let mean = if p.runs > 0 { p.nanoseconds as f64 / p.runs as f64 } else { 0.0 };
            let _infallible = writeln!(text, "program {}: {} runs, {mean:.0} ns each", p.name, p.runs);
        }
        let b = &a.bounds;
        let _infallible = writeln!(
            text,
            "memory bounds: {} containers of {} KiB, {} threads of {} B, in all at most {} MiB",
            b.containers,
            b.container_bytes >> 10,
            b.threads,
            b.thread_bytes,
            b.total_bytes >> 20
        );
        text
    }
}

fn kib(bytes: f64) -> f64 {
    bytes / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::TcpListener, thread};

    /// Asks something that answers with `answer` and closes.
    fn asked(answer: &'static str) -> Result<Answer, Error> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let answering = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a whole request");
                request.extend(byte);
            }
            stream.write_all(answer.as_bytes()).expect("open");
        });
        let result = ask(address);
        answering.join().expect("no panic");
        result
    }

    const BOUNDS: &str = r#"{"containers":1,"container_bytes":2048,"threads":3,"thread_bytes":96,"held_bytes":5,"ring_bytes":6,"queue_bytes":7,"packer_bytes":8,"total_bytes":9437184}"#;

    #[test]
    fn what_is_no_agent_is_said_to_be_none() {
        for (answer, expect) in [
            ("", "does not speak HTTP"),
            ("HTTP/1.1 404 Not Found\r\n\r\n", "404"),
            ("HTTP/1.1 200 OK\r\n\r\nhello", "not the JSON of a status"),
            ("HTTP/1.1 200 OK\r\n\r\n{\"version\":\"1\",\"hops\":[]}", "invalid type: null"),
        ] {
            let error = asked(answer).expect_err("no agent").to_string();
            assert!(error.contains(expect), "{error}");
        }
        let closed = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).expect("a port");
        let error = ask(closed).expect_err("nobody");
        assert!(matches!(error, Error::Unreachable { .. }) && error.to_string().contains("--admin"), "{error}");
    }

    #[test]
    fn the_table_says_what_a_call_costs_and_who_is_sampled() {
        let line = r#"{"connected":true,"counts":{"pushed":1,"acknowledged":1,"dropped":0,"left_out":0,"waiting":0,"in_flight":0},"queue_bytes":0,"queue_capacity_bytes":1,"sent_bytes":2048,"received_bytes":1,"bytes_per_call":0.1234,"bytes_per_second":1024.0,"byte_budget":262144,"sampled":[["c1",0.4]]}"#;
        let answer = format!(
            "HTTP/1.1 200 OK\r\n\r\n{{\"version\":\"1\",\"hops\":[],\"agent\":{{\"node\":\"n\",\"containers\":2,\"threads\":3,\"line\":{line},\"programs\":[{{\"name\":\"sys_enter\",\"runs\":10,\"nanoseconds\":450}}],\"bounds\":{BOUNDS}}}}}"
        );
        let table = asked(answer.leak()).expect("an agent").table();
        for expect in [
            "node n: 2 containers, 3 threads",
            "line: connected, 2048 bytes sent, 0.123 bytes per call; now 1.0 KiB/s, budget 256.0 KiB/s, 1 containers sampled",
            "  c1: 40 % of the time",
            "program sys_enter: 10 runs, 45 ns each",
            "memory bounds: 1 containers of 2 KiB, 3 threads of 96 B, in all at most 9 MiB",
        ] {
            assert!(table.lines().any(|l| l == expect), "{expect:?} is not in\n{table}");
        }
    }
}
