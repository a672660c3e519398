//! The attacker's own machine: sockets in the network namespace of whom it attacks, and what it has ready there.
//!
//! In: a namespace, requests, what to serve. Out: answers, and what came in. Never: a packet outside that namespace,
//! which has nothing but loopback; a wait without a bound.

use crate::{Netns, wait::try_wait_for};
use anyhow::{Context as _, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::{
    fs::File,
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::{fd::AsFd as _, unix::net::UnixListener},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the attacker's services keep of what comes in, bytes.
const KEPT: usize = 1 << 20;

/// Runs `f` on a thread that is in `network`; sockets made there stay there.
fn inside<T: Send>(network: &Netns, f: impl FnOnce() -> std::io::Result<T> + Send) -> Result<T> {
    let path = network.path();
    let namespace = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    let run = move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        f()
    };
    let result = thread::scope(|scope| scope.spawn(run).join());
    match result {
        Ok(result) => result.with_context(|| format!("in the network namespace {}", path.display())),
        Err(_) => bail!("a thread in {} panicked", path.display()),
    }
}

/// A connection to `port` in `network`; reads wait for 30 s at most.
pub fn connect(network: &Netns, port: u16) -> Result<TcpStream> {
    let stream = inside(network, || TcpStream::connect((Ipv4Addr::LOCALHOST, port)))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends `request` to `port` and returns all that comes until the other side closes.
pub fn ask(network: &Netns, port: u16, request: &[u8]) -> Result<String> {
    let mut stream = connect(network, port)?;
    stream.write_all(request).with_context(|| format!("asking port {port}"))?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        // A server that dies of the request says nothing more; that may be what is wanted.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => return Err(error).with_context(|| format!("waiting for port {port}'s answer")),
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// An HTTP request for `path` with `headers`, each ended by CR LF; the answer with its head.
pub fn http(network: &Netns, port: u16, method: &str, path: &str, headers: &str, body: &str) -> Result<String> {
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
    ask(network, port, request.as_bytes())
}

/// `text` as the value of a query's parameter.
pub fn urlencode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// `bytes` in base 64, as `base64 -d` takes it.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (i, b)| word | u32::from(*b) << (16 - 8 * i));
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// What the attacker's service does with a connection.
#[derive(Clone, Debug)]
pub enum Talk {
    /// Gives these bytes, and closes.
    Give(Vec<u8>),
    /// Takes what comes.
    Take,
    /// Types these lines, one every so often, and reads on until the other side has closed.
    Type(Vec<String>, Duration),
    /// Answers each piece with a job, as a mining pool does.
    Pool,
}

/// A service of the attacker's; it ends with this value.
#[derive(Debug)]
pub struct Service {
    taken: Arc<Mutex<Vec<u8>>>,
    stop: Arc<AtomicBool>,
    busy: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Listens on `port` of loopback in `network`; connections are served one after the other.
    pub fn start(network: &Netns, port: u16, talk: Talk) -> Result<Self> {
        let listener = inside(network, || TcpListener::bind((Ipv4Addr::LOCALHOST, port)))?;
        listener.set_nonblocking(true)?;
        let (taken, stop, busy) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (into, stopped, is_busy) = (Arc::clone(&taken), Arc::clone(&stop), Arc::clone(&busy));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        is_busy.store(true, Ordering::Relaxed);
                        // What the other side does wrong shows in what was taken.
                        let _ = serve(stream, &talk, &into, &stopped);
                        is_busy.store(false, Ordering::Relaxed);
                    }
                    Err(_) => thread::sleep(Duration::from_millis(10)),
                }
            }
        });
        Ok(Self { taken, stop, busy, thread: Some(thread) })
    }

    /// Takes datagrams on `port` of loopback in `network`.
    pub fn datagrams(network: &Netns, port: u16) -> Result<Self> {
        let socket = inside(network, || UdpSocket::bind((Ipv4Addr::LOCALHOST, port)))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Self::polled(move |taken| {
            let mut buffer = [0; 2048];
            if let Ok(n) = socket.recv(&mut buffer) {
                keep(taken, &buffer[..n]);
            }
        }))
    }

    /// Answers at the socket `path` as a container engine without containers does: a stand-in.
    pub fn engine(path: &Path) -> Result<Self> {
        let listener = UnixListener::bind(path).with_context(|| format!("listening at {}", path.display()))?;
        listener.set_nonblocking(true)?;
        Ok(Self::polled(move |taken| match listener.accept() {
            Ok((mut stream, _)) => {
                let mut buffer = [0; 2048];
                let asked = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.read(&mut buffer));
                keep(taken, &buffer[..asked.unwrap_or(0)]);
                // Who asked may be gone.
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n[]\n");
            }
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }))
    }

    /// Does `once` again and again until it is dropped.
    fn polled(mut once: impl FnMut(&Mutex<Vec<u8>>) + Send + 'static) -> Self {
        let (taken, stop) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<AtomicBool>::default());
        let (into, stopped) = (Arc::clone(&taken), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                once(&into);
            }
        });
        Self { taken, stop, busy: Arc::default(), thread: Some(thread) }
    }

    /// What has come in so far.
    pub fn taken(&self) -> String {
        String::from_utf8_lossy(&self.taken.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Waits until a first connection came and the last one is over, for so long at most; what has come in.
    pub fn finish(&self, timeout: Duration) -> String {
        let over = || (!self.busy.load(Ordering::Relaxed) && !self.taken().is_empty()).then_some(());
        let _ = try_wait_for(timeout, over);
        self.taken()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn keep(taken: &Mutex<Vec<u8>>, bytes: &[u8]) {
    let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
    let room = KEPT.saturating_sub(taken.len()).min(bytes.len());
    taken.extend_from_slice(&bytes[..room]);
}

fn serve(mut stream: TcpStream, talk: &Talk, taken: &Mutex<Vec<u8>>, stop: &AtomicBool) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut typist = None;
    match talk {
        Talk::Give(bytes) => return stream.write_all(bytes),
        Talk::Type(lines, pause) => {
            let (mut keyboard, lines, pause) = (stream.try_clone()?, lines.clone(), *pause);
            typist = Some(thread::spawn(move || {
                for line in lines {
                    thread::sleep(pause);
                    if writeln!(keyboard, "{line}").is_err() {
                        return;
                    }
                }
            }));
        }
        Talk::Take | Talk::Pool => {}
    }
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                keep(taken, &buffer[..n]);
                if matches!(talk, Talk::Pool) {
                    stream.write_all(b"{\"method\":\"job\",\"params\":{\"blob\":\"0e0e\",\"target\":\"b88d0600\"}}\n")?;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    drop(stream);
    if let Some(typist) = typist {
        let _ = typist.join();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_what_the_shell_takes() {
        for (bytes, expect) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("id >&2\n", "aWQgPiYyCg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), expect, "{bytes:?}");
        }
    }

    #[test]
    fn only_what_is_safe_in_a_query_stays() {
        assert_eq!(urlencode("../a b|c+d&e"), "..%2Fa%20b%7Cc%2Bd%26e");
    }
}
