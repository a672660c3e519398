//! Containers that are born, make calls, and die.
//!
//! In: a containerd, how many live at once. Out: counts. Never: more of them at once; one that stays.

use anyhow::{Context as _, Result, anyhow};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use surprisal_e2e::{Containerd, Run, images::Archive};

/// Workloads that the containers are replicas of.
const WORKLOADS: [&str; 4] = ["shop", "blog", "search", "mail"];
/// Processes and threads come and go too, until the first process ends, and with it the rest.
const LIFE: &str = "while :; do workload calls 2000 1 2; cat /proc/self/stat >/dev/null; usleep 20000; done & sleep $0";
/// A container that has to end gets this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Goes on until it is ended or dropped.
pub(super) struct Churn {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    born: AtomicU64,
    alive: AtomicU64,
    failed: Mutex<Option<anyhow::Error>>,
}

impl Churn {
    /// `alive` containers at once, each followed by the next.
    pub(super) fn start(containerd: &Containerd, image: &Archive, alive: u32) -> Self {
        let shared = Arc::new(Shared::default());
        let threads = (0..alive)
            .map(|slot| {
                let (shared, containerd, image) = (Arc::clone(&shared), containerd.clone(), image.clone());
                thread::spawn(move || {
                    // Not all in step.
                    thread::sleep(Duration::from_millis(400) * slot);
                    while !shared.stop.load(Ordering::Relaxed) {
                        if let Err(error) = live(&containerd, &image, &shared) {
                            shared.stop.store(true, Ordering::Relaxed);
                            *shared.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        }
                    }
                })
            })
            .collect();
        Self { shared, threads }
    }

    /// Containers born so far.
    pub(super) fn born(&self) -> u64 {
        self.shared.born.load(Ordering::Relaxed)
    }

    /// Containers alive now.
    pub(super) fn alive(&self) -> u64 {
        self.shared.alive.load(Ordering::Relaxed)
    }

    /// An error when a container could not be started or removed.
    pub(super) fn check(&self) -> Result<()> {
        match self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Lets the last ones die; how many there were.
    pub(super) fn end(mut self) -> Result<u64> {
        self.stop()?;
        self.check()?;
        Ok(self.born())
    }

    fn stop(&mut self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_panic| anyhow!("a thread that starts containers panicked"))?;
        }
        Ok(())
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        // Their containerd goes next; what they say of it then is of no interest.
        let _ = self.stop();
    }
}

/// One container's life: one to three seconds.
fn live(containerd: &Containerd, image: &Archive, shared: &Shared) -> Result<()> {
    let number = shared.born.fetch_add(1, Ordering::Relaxed);
    let (workload, seconds) = (WORKLOADS[number as usize % WORKLOADS.len()], (1 + number % 3).to_string());
    let command = ["sh", "-c", LIFE, &seconds];
    let run = Run::new(&format!("soak-{number}"), image, &command)
        .annotation("io.kubernetes.cri.container-type", "container")
        .annotation("io.kubernetes.cri.container-name", "main")
        .annotation("io.kubernetes.cri.sandbox-namespace", containerd.namespace())
        .annotation("io.kubernetes.cri.sandbox-name", &format!("{workload}-{number}"));
    let container = containerd.run(&run).with_context(|| format!("container {number}"))?;
    shared.alive.fetch_add(1, Ordering::Relaxed);
    let ended = surprisal_e2e::wait::try_wait_for(PATIENCE, || (!container.is_running()).then_some(()));
    let removed = container.remove();
    shared.alive.fetch_sub(1, Ordering::Relaxed);
    ended.with_context(|| format!("container {number} did not end"))?;
    removed.with_context(|| format!("removing container {number}"))
}
