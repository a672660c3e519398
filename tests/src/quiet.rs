//! Servers that nobody attacks, for hours: how often is there an alarm all the same?
//!
//! In: how many containers, how long they are learned and watched, a seed. Out: each container's [`Account`], and what was
//! done to the servers ([`Deed`]). Never: an attack; anything but what people see: recordings by `surprisal-agent record`,
//! profiles by `surprisal-scorer train`, scores by `scores watch`; traffic outside network namespaces that have nothing but loopback.
//!
//! - Eight kinds of server, as many replicas of each as there is room for. Replicas share a profile, as pods do.
//! - Each is under a load that changes ([`phases`]): still, busy, in bursts, with new connections. One of ten has a health
//!   check by exec every 10 s. While it is learned each is started again once: a profile is to know a start.
//! - Once learned, other things happen to it too, each at a time of its own: a backup, a reload, a rotated log, clients of
//!   another kind. They were never learned.
//! - An alarm is a verdict that turns. The same cause within five minutes is the same alarm ([`account`]).

pub mod account;
pub mod instance;
pub mod phases;

use crate::{Containerd, Daemon, Scorer, agent, attacks::range, attacks::said, wait::try_wait_for};
pub use account::{Account, Alarm};
use anyhow::{Context as _, Result, bail, ensure};
pub use instance::{Instance, KINDS};
pub use phases::{Deed, Driver, Stage};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Child,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_mins(1);

/// Servers with their drivers.
#[derive(Debug)]
pub struct Fleet {
    containerd: Containerd,
    driver: Driver,
    ids: Vec<(&'static str, String)>,
}

impl Fleet {
    /// Starts `containers` servers, of [`KINDS`] in turns. `say` hears how far it is.
    pub fn start(containers: usize, seed: u64, say: &dyn Fn(&str)) -> Result<Self> {
        let containerd = Containerd::start()?.in_pods();
        let mut instances: Vec<Instance> = Vec::new();
        for n in 0..containers {
            let kind = KINDS[n % KINDS.len()];
            let id = format!("{kind}-{}", n / KINDS.len());
            instances.push(Instance::start(kind, &id, &containerd).with_context(|| format!("starting {id}"))?);
            if (n + 1) % 16 == 0 {
                say(&format!("{} of {containers} servers run", n + 1));
            }
        }
        let ids = instances.iter().map(|i| (i.kind(), i.id().to_owned())).collect();
        let driver = Driver::start(instances, seed);
        Ok(Self { containerd, driver, ids })
    }

    /// Kind and id of each container.
    pub fn ids(&self) -> &[(&'static str, String)] {
        &self.ids
    }

    /// What was done to whom so far, in the order of time.
    pub fn deeds(&self) -> Vec<Deed> {
        self.driver.deeds()
    }

    /// Health checks so far, and how many of them failed: those of a server that is just being started do.
    pub fn checks(&self) -> (usize, usize) {
        self.driver.checks()
    }

    /// Its directory.
    pub fn scratch(&self) -> &Path {
        self.containerd.scratch().path()
    }

    fn selects(&self) -> Vec<String> {
        let mut kinds: Vec<_> = self.ids.iter().map(|(kind, _)| *kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds.iter().map(|kind| format!("workload={}", self.containerd.workload_of(kind))).collect()
    }

    /// Records all for `time`, while their load changes and each is started again once, and makes their profiles.
    pub fn learn(&self, time: Duration) -> Result<PathBuf> {
        let recording = self.scratch().join("normal.jsonl");
        self.driver.enter(Stage::Learning(time));
        range::record_selected(&self.containerd, &self.selects(), time, &recording)?;
        self.driver.enter(Stage::Between);
        let profiles = self.scratch().join("profiles");
        range::train(&profiles, &recording)?;
        Ok(profiles)
    }

    /// Serves `profiles` and watches all; returns when the first has a verdict.
    pub fn watch(&self, profiles: &Path) -> Result<Watch> {
        let scratch = self.containerd.scratch();
        let scorer = Scorer::serve(scratch, profiles, &[])?;
        let url = scorer.url();
        let accounts: Accounts = Arc::default();
        let began = Instant::now();
        let into = Arc::clone(&accounts);
        let follower = said::follow(&url, move |id, at, score| {
            said::lock(&into).entry(id).or_default().take(at - began, &score);
        })?;
        scratch.owns_process(follower.id())?;
        let selects = self.selects();
        let mut args = vec!["run", "--scorer", &url];
        args.extend(selects.iter().flat_map(|s| ["--select", s]));
        let agent = agent::start(scratch, &args)?;
        let watch = Watch { agent, follower, accounts, began, _scorer: scorer };
        // Not each: one whose clients rest may make no calls for a while, and its time begins with its first score.
        let judged = || said::lock(&watch.accounts).values().any(Account::is_scored).then_some(());
        try_wait_for(SOON, judged).with_context(|| format!("no verdict on any server within {SOON:?}"))?;
        self.driver.enter(Stage::Watched);
        Ok(watch)
    }

    /// Stops all load, and everything.
    pub fn end(self) -> Result<()> {
        self.driver.end()
    }
}

type Accounts = Arc<Mutex<BTreeMap<String, Account>>>;

/// Agent and scorer at work.
#[derive(Debug)]
pub struct Watch {
    agent: Daemon,
    follower: Child,
    accounts: Accounts,
    began: Instant,
    /// Ended last.
    _scorer: Scorer,
}

impl Watch {
    /// When it began: accounts' times count from here.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Lets all be for `time`; an error when agent or scorer have ended.
    pub fn rest(&mut self, time: Duration) -> Result<()> {
        thread::sleep(time);
        ensure!(self.agent.is_running(), "the agent has ended; its log:\n{}", self.agent.log());
        if let Some(status) = self.follower.try_wait()? {
            bail!("surprisal-scorer scores watch ended with {status}");
        }
        Ok(())
    }

    /// Each container's account until now, by id.
    pub fn accounts(&self) -> BTreeMap<String, Account> {
        let mut accounts = said::lock(&self.accounts).clone();
        for account in accounts.values_mut() {
            account.end(self.began.elapsed());
        }
        accounts
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.follower.kill();
        let _ = self.follower.wait();
    }
}
