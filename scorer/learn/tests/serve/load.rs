//! Calls as a server and as a shell make them: structured, random in their order, the same for a seed.

use jiff::Timestamp;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::path::Path;
use surprisal_proto::names;
use surprisal_proto::token::Token;
use surprisal_proto::{
    container::{Container, Names},
    recording::{Calls, Header, Line, Writer},
};

/// The workload of everything here.
pub(crate) const WORKLOAD: &str = "shop/cache/redis";

fn spell(text: &str) -> Vec<Token> {
    text.split_whitespace().map(|name| names::parse(name).expect("a call")).collect()
}

/// A server's start.
pub(crate) fn start() -> Vec<Token> {
    let library = "openat:1 read newfstatat mmap:2 mmap:6 mmap:4 close ";
    spell(&format!(
        "execve brk {}mprotect:2 arch_prctl set_tid_address socket:5 bind listen epoll_create1 epoll_ctl",
        library.repeat(6)
    ))
}

/// A server's loop: requests of some clients, sometimes a connection, sometimes a file.
pub(crate) fn serve(seed: u64, calls: usize) -> Vec<Token> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut tokens = Vec::new();
    while tokens.len() < calls {
        tokens.extend(spell("epoll_wait"));
        let clients = rng.random_range(1..6);
        for _ in 0..clients {
            tokens.extend(spell("read"));
        }
        for _ in 0..clients {
            tokens.extend(spell("write"));
        }
        if rng.random_bool(0.1) {
            tokens.extend(spell("accept4 fcntl:5 setsockopt epoll_ctl"));
        }
        if rng.random_bool(0.05) {
            tokens.extend(spell("openat:1 fstat read close"));
        }
    }
    tokens.truncate(calls);
    tokens
}

/// What a shell out of the server does: it looks around, and connects its standard streams to somebody.
pub(crate) fn shell() -> Vec<Token> {
    spell(
        "execve brk mmap:4 access openat:1 newfstatat mmap:2 close openat:1 read pread64 mmap:2 mmap:6 close mprotect:2 getuid getgid \
         getpid rt_sigaction:0 rt_sigaction getppid newfstatat pipe2 clone:1 wait4 read close dup2:1 execve openat:17 getdents64 \
         getdents64 close openat:1 read write close socket:5 connect dup2:1 dup2:2 dup2:3 execve ioctl:1 poll read"
            .replace(":0", "")
            .as_str(),
    )
}

/// A recording of normal behaviour: two replicas for some minutes, each a start and then its loop.
pub(crate) fn record(path: &Path, label: Option<&str>, calls: usize) {
    let file = std::fs::File::create(path).expect("creates");
    let mut out =
        Writer::new(std::io::BufWriter::new(file), &Header::new("node-1", label, Timestamp::UNIX_EPOCH)).expect("writes");
    for (container, seed) in [("a", 11), ("b", 12)] {
        let about = Container {
            id: container.repeat(64),
            node: "node-1".into(),
            names: Names { workload: WORKLOAD.into(), image: "redis:7".into(), ..Names::default() },
            ..Container::default()
        };
        out.write(&Line::Container(about)).expect("writes");
        let all = [start(), serve(seed, calls)].concat();
        for (n, part) in all.chunks(200).enumerate() {
            let run = Calls {
                at: Timestamp::from_millisecond(n as i64 * 250).expect("in range"),
                node: "node-1".into(),
                container: container.repeat(64),
                pod: String::new(),
                pid: 100,
                tid: 100,
                process: "redis-server".into(),
                seq: n as u64 * 200,
                gap: 0,
                calls: part.to_vec(),
                last: false,
                by_exec: false,
            };
            out.write(&Line::Calls(run)).expect("writes");
        }
    }
    out.finish().expect("writes");
}
