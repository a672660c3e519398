//! The capture thread: ring buffer → decode → attribute → sinks, and what keeps them fed.
//!
//! In: [`Settings`], a [`Kernel`], sinks. Out: every [`Record`], to every sink, in order. Never: sleeps on a
//! network or a name; a slow sink holds up this thread, so that the one place where calls are lost for lack of
//! room is the kernel's ring buffer, where each is counted.
//!
//! One thread owns all of it. What can wake it: records in the ring (a good part of it full, or a birth or end),
//! names that have come, or its own clock: a look at sleeping threads, counters, the stop signal.

use crate::{
    attribute::Attribution,
    bpf::{
        Kernel, LoadError,
        loader::KernelLog,
        seeding::{Ancestor, Member, Seeder},
    },
    container::{ContainerInfo, ContainerKey, Membership, Selection},
    decode::{self, monotonic_ns},
    identity::{Resolver, Sighting},
    procfs::{Procfs, walk::Walker},
    record::Record,
};
use aya::maps::{MapData, RingBuf};
use rustix::event::{PollFd, PollFlags, poll};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel},
    },
    thread,
    time::Duration,
};
use surprisal_agent_ebpf::abi::{NetState, REMOTE_WORDS};
use surprisal_proto::v1;

pub mod stats;

use stats::Stats;

/// How often the thread wakes by itself, milliseconds: records wait no longer than this in the ring.
const WAKE_MS: i64 = 50;
/// How often sleeping threads are looked at, nanoseconds.
const PEEK_NS: u64 = 250_000_000;
/// How often counters are read, nanoseconds.
const COUNTERS_NS: u64 = 1_000_000_000;
/// Records taken from the ring before anything else gets its turn.
const DRAIN_MAX: usize = 4096;
/// Containers that wait for a free naming thread.
const NAMING_MAX: usize = 4096;
/// Naming threads: a try may sleep, and a pod's containers come together.
const NAMERS: usize = 4;
/// Walks at the start: each but the last found somebody new.
const WALKS_MAX: usize = 20;

/// Where records go. Called from the capture thread only.
pub trait Sink: Send {
    /// Takes one record. An error ends the agent: a sink that can go on without it counts and returns `Ok`.
    fn take(&mut self, record: &Record) -> Result<(), SinkError>;
    /// Called when there is nothing more to take for now.
    fn idle(&mut self) -> Result<(), SinkError>;
    /// Called once, last.
    fn finish(&mut self) -> Result<(), SinkError>;
}

/// Why a sink cannot go on.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// How to capture.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's name.
    pub node: Arc<str>,
    /// Which containers.
    pub selection: Selection,
    /// How containers are keyed.
    pub membership: Membership,
}

/// Why capture stopped or never began.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel side.
    #[error(transparent)]
    Kernel(#[from] LoadError),
    /// The start-up walk.
    #[error("looking for running containers")]
    Walk(#[from] crate::procfs::Error),
    /// A sink.
    #[error("writing records")]
    Sink(#[source] SinkError),
    /// A thread.
    #[error("starting a thread")]
    Thread(#[source] std::io::Error),
    /// The ring.
    #[error("waiting for the ring buffer")]
    Poll(#[source] std::io::Error),
}

/// The capture thread's state.
pub struct Capture {
    kernel: Kernel,
    ring: RingBuf<MapData>,
    log: Option<KernelLog>,
    attribution: Attribution,
    procfs: Procfs,
    resolver: Arc<Resolver>,
    to_namers: SyncSender<Sighting>,
    names: Receiver<Arc<ContainerInfo>>,
    sinks: Vec<Box<dyn Sink>>,
    stats: stats::Shared,
    now: Stats,
    out: Vec<Record>,
}

impl Capture {
    /// Attaches the programs and finds what already runs.
    pub fn start(mut kernel: Kernel, settings: &Settings, sinks: Vec<Box<dyn Sink>>) -> Result<Self, Error> {
        let procfs = Procfs::default();
        let ring = kernel.take_ring()?;
        let log = kernel.take_log().map_err(|error| tracing::warn!(%error, "the kernel side's log will not be shown")).ok();
        let (to_namers, names, resolver) = start_namers(&settings.node, &procfs)?;
        let mut attribution = Attribution::new(Arc::clone(&settings.node), settings.selection.clone(), Kernel::epoch_offset_ns());
        // First whatever is born from now on, then what is there already.
        kernel.attach_lifecycle()?;
        let mut walker = Walker::new(procfs.clone(), settings.membership);
        let mut seeder = Seeder::new(&mut kernel)?;
        for _ in 0..WALKS_MAX {
            let found = seed(&mut walker, &mut seeder, &mut kernel)?;
            for sighting in found.0 {
                attribution.found(sighting, monotonic_ns());
            }
            if !found.1 {
                break;
            }
        }
        seeder.finish();
        kernel.attach_calls()?;
        Ok(Self {
            kernel,
            ring,
            log,
            attribution,
            procfs,
            resolver,
            to_namers,
            names,
            sinks,
            stats: stats::Shared::default(),
            now: Stats::default(),
            out: Vec::new(),
        })
    }

    /// Where the counts can be read while [`Capture::run`] runs.
    pub fn stats(&self) -> stats::Shared {
        self.stats.clone()
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
        while let Ok(info) = self.names.try_recv() {
            self.attribution.named(&info, now, &mut self.out);
        }
        let mut waiting = std::mem::take(&mut self.attribution.to_name).into_iter();
        while let Some(sighting) = waiting.next() {
            if let Err(TrySendError::Full(sighting) | TrySendError::Disconnected(sighting)) = self.to_namers.try_send(sighting) {
                self.attribution.to_name.push(sighting);
                self.attribution.to_name.extend(waiting);
                break;
            }
        }
        for key in std::mem::take(&mut self.attribution.to_ignore) {
            if let Err(error) = self.kernel.ignore(key.0) {
                tracing::warn!(%error, key = key.0, "cannot let go of a container that is not selected: its calls cost a little more");
            }
        }
        for key in std::mem::take(&mut self.attribution.to_forget) {
            self.kernel.forget(key.0);
            self.resolver.forget(key);
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
        self.attribution.sweep(now);
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
            distinct_remotes: distinct_remotes(&tcp),
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
        self.attribution.finish(&mut self.out);
        self.hand_on(false)?;
        self.publish();
        for sink in &mut self.sinks {
            sink.finish().map_err(Error::Sink)?;
        }
        Ok(())
    }
}

/// One walk. Who is new, and whether another walk is needed.
fn seed(walker: &mut Walker, seeder: &mut Seeder, kernel: &mut Kernel) -> Result<(Vec<Sighting>, bool), Error> {
    let walk = walker.walk()?;
    let shim = |tgid: u32| walk.shims.iter().find(|s| s.tgid == tgid);
    let ancestor = |tgid: u32, shim_tgid: u32| {
        shim(shim_tgid).map(|s| Ancestor { tgid, cgroup_id: s.cgroup_id, mnt_ns: s.mnt_ns, shim_tgid })
    };
    let shims = walk.shims.iter().filter_map(|s| ancestor(s.tgid, s.tgid));
    let runtime = walk.runtime.iter().filter_map(|r| ancestor(r.tgid, r.shim_tgid));
    let ancestors: Vec<_> = shims.chain(runtime).collect();
    let member =
        |m: &crate::procfs::walk::Member| Member { tgid: m.tgid, key: m.key.0, cgroup_id: m.cgroup_id, mnt_ns: m.mnt_ns };
    let members: Vec<_> = walk.members.iter().map(member).collect();
    let (born, any) = seeder.seed(kernel, &ancestors, &members)?;
    let sighting = |key: u64| {
        walk.members.iter().find(|m| m.key.0 == key).map(|m| Sighting {
            key: m.key,
            cgroup_name: m.container_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            tgid: m.tgid,
            shim_tgid: m.shim_tgid,
            started_at: None,
        })
    };
    Ok((born.into_iter().filter_map(sighting).collect(), any))
}

type Namers = (SyncSender<Sighting>, Receiver<Arc<ContainerInfo>>, Arc<Resolver>);

/// Threads that look up names: a try may sleep. They end when the capture thread drops its end.
fn start_namers(node: &Arc<str>, procfs: &Procfs) -> Result<Namers, Error> {
    let resolver = Arc::new(Resolver::new(node, procfs.clone()));
    let (to_namers, sightings) = sync_channel::<Sighting>(NAMING_MAX);
    // At most as many answers as questions are under way.
    let (answers, names): (Sender<Arc<ContainerInfo>>, _) = channel();
    let sightings = Arc::new(Mutex::new(sightings));
    for n in 0..NAMERS {
        let (sightings, answers, resolver) = (Arc::clone(&sightings), answers.clone(), Arc::clone(&resolver));
        let work = move || {
            loop {
                let next = sightings.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(sighting) = next else { return };
                if answers.send(resolver.resolve(&sighting)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name(format!("naming-{n}")).spawn(work).map_err(Error::Thread)?;
    }
    Ok((to_namers, names, resolver))
}

/// Distinct addresses behind a linear-counting bitmap: −m ln(share of zeros) (Whang et al. 1990).
///
/// A full bitmap says "at least m ln m", 7,098.
fn distinct_remotes(state: &NetState) -> u64 {
    let m = (64 * REMOTE_WORDS) as f64;
    let zeros: u32 = state.remotes.iter().map(|w| w.count_zeros()).sum();
    (m * (m / f64::from(zeros.max(1))).ln()).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_addresses_are_estimated_within_a_few_percent() {
        for n in [0u64, 1, 5, 100, 1000, 2000] {
            let mut state = NetState::default();
            let mut x = 0x9e37_79b9_7f4a_7c15_u64;
            for _ in 0..n {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let hash = x >> 40;
                state.remotes[(hash >> 6) as usize % REMOTE_WORDS] |= 1 << (hash & 63);
            }
            let estimate = distinct_remotes(&state);
            assert!(estimate.abs_diff(n) <= n / 8 + 1, "{n} addresses were estimated as {estimate}");
        }
        assert_eq!(distinct_remotes(&NetState { remotes: [u64::MAX; REMOTE_WORDS], ..NetState::default() }), 7098);
    }
}
