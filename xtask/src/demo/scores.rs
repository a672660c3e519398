//! A container's score, as `surprisal-scorer scores watch -o json` tells it.
//!
//! In: its lines. Out: the latest [`Score`]. Never: a connection of its own; the demo asks as anybody would.

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};
use surprisal_e2e::scorer;

/// A score, as far as the demo shows it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Score {
    pub(super) verdict: String,
    pub(super) unscored_reason: String,
    /// Nats a call.
    #[serde(rename = "score")]
    pub(super) value: Option<f64>,
    pub(super) threshold: Option<f64>,
    pub(super) evidence: Vec<Window>,
    /// What it did for the first time.
    pub(super) first_times: Vec<FirstTime>,
}

/// A surprising window.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Window {
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) process: String,
    pub(super) score: f64,
    pub(super) surprises: Vec<Surprise>,
    /// What its calls were about for the first time.
    pub(super) new_names: Vec<NewName>,
}

/// Something that the workload's calls were never about in training.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct NewName {
    pub(super) did: String,
    pub(super) name: String,
    /// Its surprisal.
    pub(super) nats: f64,
}

/// Something done for the first time, and by whom.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct FirstTime {
    #[serde(flatten)]
    pub(super) new: NewName,
    pub(super) process: String,
    pub(super) pid: u32,
}

/// A surprising call.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Surprise {
    pub(super) call: String,
    pub(super) probability: f64,
    pub(super) surprisal: f64,
    pub(super) after: Vec<String>,
    pub(super) expected: Vec<Expected>,
    pub(super) never_seen: bool,
    /// What the call was about.
    pub(super) name: String,
}

/// What was expected instead.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Expected {
    pub(super) call: String,
    pub(super) probability: f64,
}

impl Score {
    pub(super) fn is_anomalous(&self) -> bool {
        self.verdict == "anomalous"
    }

    pub(super) fn is_normal(&self) -> bool {
        self.verdict == "normal"
    }
}

/// A running `scores watch`; dropping it ends it.
pub(super) struct Watch {
    child: Mutex<Child>,
    latest: Arc<Mutex<Option<Score>>>,
    /// A line that was no score.
    error: Arc<Mutex<Option<String>>>,
}

impl Watch {
    /// Watches container `id` on the scorer at `url`.
    pub(super) fn start(url: &str, id: &str) -> Result<Self> {
        let mut command = scorer::command(&["scores", "watch", "--scorer", url, "--id", id, "-o", "json"])?;
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("starting surprisal-scorer scores watch")?;
        let lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let (latest, error) = (Arc::default(), Arc::default());
        let watch = Self { child: Mutex::new(child), latest: Arc::clone(&latest), error: Arc::clone(&error) };
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                match serde_json::from_str(&line) {
                    Ok(score) => *lock(&latest) = Some(score),
                    Err(e) => *lock(&error) = Some(format!("{e} in {line}")),
                }
            }
        });
        Ok(watch)
    }

    /// The latest score.
    pub(super) fn latest(&self) -> Option<Score> {
        lock(&self.latest).clone()
    }

    /// It still runs and understands what it gets.
    pub(super) fn check(&self) -> Result<()> {
        if let Some(error) = lock(&self.error).take() {
            bail!("surprisal-scorer scores watch: {error}");
        }
        if let Some(status) = lock(&self.child).try_wait()? {
            bail!("surprisal-scorer scores watch ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// What a panicking thread left is a value like any other.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
