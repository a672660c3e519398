//! What happens to servers: phases of load, and events between them.
//!
//! In: instances, a seed, which stage it is. Out: servers whose load changes, and a list of what was done to them ([`Deed`]). Never: more
//! than a sixth of the servers busy at once: two cores would not do it; the others are left alone meanwhile, as most servers are.

use super::instance::{Event, Instance, check};
use crate::{Container, attacks::said::lock};
use anyhow::{Result, anyhow};
use fastrand::Rng;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// One of so many servers is busy at a time.
const BUSY_OF: usize = 6;
/// One of so many replicas has a health check.
const CHECKED_OF: usize = 10;
/// Between health checks.
const CHECKS: Duration = Duration::from_secs(10);
/// Between an event and the next, of one server, on average: a phase lasts 60 s on average.
const PHASES_PER_EVENT: u32 = 8;

/// What goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// For so long: load changes, and each is started again once.
    Learning(Duration),
    /// Load changes.
    Between,
    /// Load changes, and everything else happens.
    Watched,
    /// It is over.
    Ending,
}

/// An event that was done to a server.
#[derive(Clone, Debug)]
pub struct Deed {
    /// When it began.
    pub at: Instant,
    /// When it was done.
    pub end: Instant,
    /// The server's container.
    pub id: String,
    /// What.
    pub event: Event,
    /// Why it was not done; none: it was.
    pub failed: Option<String>,
}

/// One thread for each server, and one for each health check.
#[derive(Debug)]
pub struct Driver {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stage: Mutex<(Stage, Instant)>,
    deeds: Mutex<Vec<Deed>>,
    checks: AtomicUsize,
    checks_failed: AtomicUsize,
    busy: AtomicUsize,
    most_busy: usize,
}

impl Driver {
    /// Starts them.
    pub fn start(instances: Vec<Instance>, seed: u64) -> Self {
        let most_busy = instances.len().div_ceil(BUSY_OF);
        let shared = Arc::new(Shared {
            stage: Mutex::new((Stage::Between, Instant::now())),
            deeds: Mutex::default(),
            checks: AtomicUsize::new(0),
            checks_failed: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            most_busy,
        });
        let mut threads = Vec::new();
        for (n, instance) in instances.into_iter().enumerate() {
            // The server's container now: whoever checks it must not wait for whoever drives it.
            let current: Current = Arc::new(Mutex::new(instance.server().ok()));
            let (kind, replica) = (instance.kind(), instance.id().rsplit('-').next().and_then(|n| n.parse::<usize>().ok()));
            if replica.is_some_and(|n| n % CHECKED_OF == 0) {
                let (shared, current) = (Arc::clone(&shared), Arc::clone(&current));
                threads.push(thread::spawn(move || {
                    while shared.sleep(CHECKS) {
                        let server = lock(&current).clone();
                        let Some(server) = server else { continue };
                        shared.checks.fetch_add(1, Ordering::Relaxed);
                        if check(kind, &server).is_err() {
                            shared.checks_failed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }));
            }
            let shared = Arc::clone(&shared);
            let random = Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(n as u64));
            threads.push(thread::spawn(move || shared.drive(instance, &current, random)));
        }
        Self { shared, threads }
    }

    /// From now on it is `stage`.
    pub fn enter(&self, stage: Stage) {
        *lock(&self.shared.stage) = (stage, Instant::now());
    }

    /// What was done so far.
    pub fn deeds(&self) -> Vec<Deed> {
        lock(&self.shared.deeds).clone()
    }

    /// Health checks so far, and how many of them failed.
    pub fn checks(&self) -> (usize, usize) {
        (self.shared.checks.load(Ordering::Relaxed), self.shared.checks_failed.load(Ordering::Relaxed))
    }

    /// Ends all, within the length of what is being done.
    pub fn end(self) -> Result<()> {
        self.enter(Stage::Ending);
        let panicked = self.threads.into_iter().map(JoinHandle::join).filter(Result::is_err).count();
        if panicked > 0 { Err(anyhow!("{panicked} drivers of servers have panicked")) } else { Ok(()) }
    }
}

type Current = Arc<Mutex<Option<Container>>>;

impl Shared {
    fn stage(&self) -> (Stage, Instant) {
        *lock(&self.stage)
    }

    /// Sleeps; `false` when it is over.
    fn sleep(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if self.stage().0 == Stage::Ending {
                return false;
            }
            thread::sleep(Duration::from_millis(200));
        }
        self.stage().0 != Stage::Ending
    }

    /// Phases and events, until it is over.
    fn drive(&self, mut instance: Instance, current: &Current, mut random: Rng) {
        // A share of the time to learn at which it is started again; none: it was.
        let mut share = Some(random.u32(10..50));
        while self.phase(&mut instance, &mut random, share) {
            let event = match self.stage().0 {
                _ if self.is_due(share) => {
                    share = None;
                    Some(Event::Restart)
                }
                Stage::Watched if random.u32(0..PHASES_PER_EVENT) == 0 => {
                    let all: Vec<_> = Event::ALL.into_iter().filter(|e| e.is_for(instance.kind())).collect();
                    random.choice(all)
                }
                _ => None,
            };
            if let Some(event) = event {
                let at = Instant::now();
                if event == Event::Restart {
                    *lock(current) = None;
                }
                let failed = instance.event(event).err().map(|error| format!("{error:#}"));
                *lock(current) = instance.server().ok();
                let deed = Deed { at, end: Instant::now(), id: instance.id().to_owned(), event, failed };
                lock(&self.deeds).push(deed);
            }
        }
    }

    /// It is time to start a server again that shall be at this share of the time to learn, percent.
    fn is_due(&self, share: Option<u32>) -> bool {
        let (stage, since) = self.stage();
        matches!((stage, share), (Stage::Learning(time), Some(share)) if since.elapsed() * 100 >= time * share)
    }

    /// A phase; ends early when a start is due. `false` when all is over.
    fn phase(&self, instance: &mut Instance, random: &mut Rng, share: Option<u32>) -> bool {
        // While it is learned phases are short: each server has several, and a start.
        let seconds = if matches!(self.stage().0, Stage::Learning(_)) { random.u64(10..30) } else { random.u64(30..90) };
        let end = Instant::now() + Duration::from_secs(seconds);
        let got = self.busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < self.most_busy).then_some(n + 1)).is_ok();
        let bursts = random.bool();
        let mut go_on = true;
        while go_on && Instant::now() < end && !self.is_due(share) {
            // A freeze that failed is tried again in the next turn.
            let _ = instance.freeze(!got);
            let slice = if got && bursts { Duration::from_secs(random.u64(3..8)) } else { Duration::from_secs(5) };
            go_on = self.sleep(slice.min(end.saturating_duration_since(Instant::now())));
            if got && bursts && go_on {
                let _ = instance.freeze(true);
                go_on = self.sleep(slice.min(end.saturating_duration_since(Instant::now())));
            }
        }
        if got {
            self.busy.fetch_sub(1, Ordering::Relaxed);
        }
        go_on
    }
}
