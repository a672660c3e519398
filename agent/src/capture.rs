//! The capture thread: ring buffer → decode → attribute → sinks, and what keeps them fed.
//!
//! In: [`Settings`], a [`Kernel`], sinks. Out: every [`Record`], to every sink, in order. Never: waits for a network or a
//! name.
//!
//! A slow sink is back-pressure on this thread: then calls are lost in one place only, the kernel's ring buffer, where each
//! is counted. One thread owns all of it. It wakes when the ring is filled to a quarter, at a birth or an end, and every
//! `WAKE_MS`: then it looks at sleeping threads, counters, new names and the stop signal.

mod error;
pub mod listing;
mod naming;
mod remotes;
mod seeding;
mod sink;
pub mod stats;

pub use error::Error;
pub use sink::{Sink, SinkError};

use crate::{
    attribute::Attribution,
    bpf::{Kernel, KernelLog},
    container::{ContainerInfo, ContainerKey, Membership, Selection},
    decode::{self, monotonic_ns},
    identity::Resolver,
    kubernetes::Directory,
    procfs::{Procfs, walk::Walker},
    record::Record,
};
use aya::maps::{MapData, RingBuf};
use listing::Listing;
use naming::Naming;
use rustix::event::{PollFd, PollFlags, poll};
use seeding::Seeding;
use stats::Stats;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use surprisal_proto::v1;

/// How often the thread wakes by itself, milliseconds: records wait no longer than this in the ring.
const WAKE_MS: i64 = 50;
/// How often sleeping threads are looked at, nanoseconds.
const PEEK_NS: u64 = 250_000_000;
/// How often counters are read, nanoseconds.
const COUNTERS_NS: u64 = 1_000_000_000;
/// Records taken from the ring before anything else gets its turn.
const DRAIN_MAX: usize = 4096;

/// How to capture.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's name.
    pub node: Arc<str>,
    /// Which containers.
    pub selection: Selection,
    /// How containers are keyed.
    pub membership: Membership,
    /// Where processes are looked up, and what monitors are called.
    pub procfs: Procfs,
    /// What Kubernetes says.
    pub directory: Directory,
}

/// The capture thread's state.
pub struct Capture {
    kernel: Kernel,
    ring: RingBuf<MapData>,
    log: Option<KernelLog>,
    attribution: Attribution,
    procfs: Procfs,
    resolver: Arc<Resolver>,
    naming: Naming,
    directory: Directory,
    seeding: Seeding,
    sinks: Vec<Box<dyn Sink>>,
    stats: stats::Shared,
    listing: Listing,
    now: Stats,
    out: Vec<Record>,
}

impl Capture {
    /// Attaches the programs and finds what already runs.
    pub fn start(mut kernel: Kernel, settings: &Settings, sinks: Vec<Box<dyn Sink>>) -> Result<Self, Error> {
        let procfs = settings.procfs.clone();
        let ring = kernel.take_ring()?;
        let log = kernel.take_log().map_err(|error| tracing::warn!(%error, "the kernel side's log will not be shown")).ok();
        let resolver = Arc::new(Resolver::new(&settings.node, procfs.clone()));
        let naming = Naming::start(&resolver).map_err(Error::Thread)?;
        let mut attribution = Attribution::new(Arc::clone(&settings.node), settings.selection.clone(), Kernel::epoch_offset_ns());
        // First whatever is born from now on, then what is there already.
        kernel.attach_lifecycle()?;
        let mut seeding = Seeding::new(Walker::new(procfs.clone(), settings.membership), &mut kernel)?;
        seeding.all(&mut kernel, |sighting| attribution.found(sighting, monotonic_ns()))?;
        kernel.attach_calls()?;
        Ok(Self {
            kernel,
            ring,
            log,
            attribution,
            procfs,
            resolver,
            naming,
            directory: settings.directory.clone(),
            seeding,
            sinks,
            stats: stats::Shared::default(),
            listing: Listing::default(),
            now: Stats::default(),
            out: Vec::new(),
        })
    }

    /// Where the counts can be read while [`Capture::run`] runs.
    pub fn stats(&self) -> stats::Shared {
        self.stats.clone()
    }

    /// Where its containers can be read while [`Capture::run`] runs.
    pub fn listing(&self) -> Listing {
        self.listing.clone()
    }

    /// The kernel side.
    pub fn kernel(&mut self) -> &mut Kernel {
        &mut self.kernel
    }

    /// Captures until `stop` is set, then hands on what is still there.
    pub fn run(mut self, stop: &AtomicBool) -> Result<(), Error> {
        let (mut peeked, mut counted) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            self.wait()?;
            let more = self.drain();
            self.take_names();
            if let Some(log) = &mut self.log {
                log();
            }
            let now = monotonic_ns();
            if now.saturating_sub(peeked) >= PEEK_NS {
                peeked = now;
                self.kernel.peek()?;
            }
            if now.saturating_sub(counted) >= COUNTERS_NS {
                counted = now;
                self.counters(now);
            }
            self.hand_on(!more)?;
        }
        self.finish()
    }

    fn wait(&mut self) -> Result<(), Error> {
        let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: WAKE_MS * 1_000_000 };
        match poll(&mut [PollFd::new(&self.ring, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(Error::Poll(e.into())),
        }
    }

    /// Takes what is in the ring. True: there is more.
    fn drain(&mut self) -> bool {
        let now = monotonic_ns();
        for _ in 0..DRAIN_MAX {
            let Some(record) = self.ring.next() else { return false };
            self.now.records += 1;
            match decode::decode(&record) {
                Ok(event) => self.attribution.event(event, now, &mut self.out),
                Err(error) => {
                    self.now.damaged += 1;
                    tracing::error!(%error, "a record of the kernel side is damaged; it is counted and skipped");
                }
            }
        }
        true
    }

    fn take_names(&mut self) {
        let now = monotonic_ns();
        while let Some(info) = self.naming.answer() {
            self.attribution.named(&self.directory.dress(&info), now, &mut self.out);
        }
        self.correct_names(now);
        let waiting = std::mem::take(&mut self.attribution.to_name);
        self.attribution.to_name = self.naming.ask(waiting);
        for key in std::mem::take(&mut self.attribution.to_ignore) {
            if let Err(error) = self.kernel.ignore(key.0) {
                tracing::warn!(%error, key = key.0, "cannot let go of a container that is not selected: its calls cost a little more");
            }
        }
        for key in std::mem::take(&mut self.attribution.to_forget) {
            self.kernel.forget(key.0);
            self.resolver.forget(key);
        }
        self.follow_again();
    }

    /// Kubernetes has said something new of these pods.
    fn correct_names(&mut self, now: u64) {
        let changed = self.directory.take_changed();
        if changed.is_empty() {
            return;
        }
        let of_those = |info: &&Arc<ContainerInfo>| changed.contains(&(info.names.namespace.clone(), info.names.pod.clone()));
        let infos: Vec<_> = self.attribution.infos().filter(of_those).map(Arc::clone).collect();
        for old in infos {
            let new = self.directory.dress(&old);
            if new != old {
                self.attribution.named(&new, now, &mut self.out);
            }
        }
    }

    /// Containers that were let go of and are wanted again.
    fn follow_again(&mut self) {
        let keys = std::mem::take(&mut self.attribution.to_follow);
        if keys.is_empty() {
            return;
        }
        for key in &keys {
            self.kernel.heed(key.0);
            self.attribution.follows_again(*key, self.kernel.container(key.0));
        }
        if let Err(error) = self.seeding.again(&mut self.kernel, &keys) {
            tracing::warn!(%error, "containers that are wanted again are followed from their next new process on");
        }
    }

    fn counters(&mut self, now: u64) {
        let living: Vec<_> = self.attribution.living().collect();
        for (key, tgid, shim) in living {
            let state = self.kernel.container(key.0);
            self.attribution.counters(key, state, now, &mut self.out);
            if self.attribution.is_named(key) {
                let counters = self.network(key, tgid, shim);
                self.attribution.network(key, counters, &mut self.out);
            }
        }
        let unfollowed: Vec<_> = self.attribution.unfollowed_containers().collect();
        for (key, tgid, shim) in unfollowed {
            if !self.procfs.is_below(tgid, shim) {
                self.attribution.gone(key, now, &mut self.out);
            }
        }
        self.attribution.sweep(now, &mut self.out);
        let totals = self.kernel.totals();
        self.now.containers_untracked = totals.containers_untracked;
        self.now.lineage_lost = totals.lineage_lost;
        self.now.peeks_refused = totals.peeks_refused;
        self.now.lifecycle_lost = totals.lifecycle_lost;
        self.now.kernel_containers = self.kernel.container_keys().len();
        self.publish();
    }

    fn publish(&mut self) {
        self.now.attribution = self.attribution.totals;
        self.now.balance = self.attribution.balance();
        self.now.held = self.attribution.held();
        self.now.runs = self.kernel.runs();
        self.now.containers = self.attribution.len();
        self.now.threads = self.attribution.threads();
        self.stats.publish(self.now);
        self.listing.publish(self.attribution.list());
    }

    fn network(&self, key: ContainerKey, tgid: u32, shim: u32) -> v1::Network {
        let tcp = self.kernel.network(key.0).unwrap_or_default();
        let dev = self.procfs.network(tgid, (shim != 0).then_some(shim));
        v1::Network {
            container_id: String::new(),
            rx_bytes: dev.map(|d| d.rx_bytes),
            tx_bytes: dev.map(|d| d.tx_bytes),
            rx_packets: dev.map(|d| d.rx_packets),
            tx_packets: dev.map(|d| d.tx_packets),
            connects_attempted: tcp.attempted,
            connects_established: tcp.established,
            connects_failed: tcp.failed,
            accepts: tcp.accepted,
            distinct_remotes: remotes::distinct(&tcp),
        }
    }

    fn hand_on(&mut self, idle: bool) -> Result<(), Error> {
        for sink in &mut self.sinks {
            for record in &self.out {
                sink.take(record).map_err(Error::Sink)?;
            }
            if idle {
                sink.idle().map_err(Error::Sink)?;
            }
        }
        self.out.clear();
        Ok(())
    }

    /// What threads still hold, what the ring still holds, who is still nameless.
    fn finish(mut self) -> Result<(), Error> {
        // A peek takes what has waited for a while: let it.
        thread::sleep(Duration::from_nanos(PEEK_NS));
        self.kernel.peek()?;
        while self.drain() {
            self.hand_on(false)?;
        }
        self.take_names();
        self.counters(monotonic_ns());
        self.attribution.finish(monotonic_ns(), &mut self.out);
        self.hand_on(false)?;
        self.publish();
        for sink in &mut self.sinks {
            sink.finish().map_err(Error::Sink)?;
        }
        Ok(())
    }
}
