//! The thread that owns the detector, and with it the models.
//!
//! In: [`Command`]s through a bounded queue; full: who sends waits. Out: each job's finding, in any order. Never: a tensor
//! anywhere else: tensors are not `Sync`.
//!
//! Windows of all containers wait up to [`PATIENCE`] for each other and are judged together, by workload.

use crate::cause::chain;
use crate::containers::job::Job;
use crate::detect::detector::{Detector, Finding};
use crate::detect::window::Window;
use crate::metrics::Metrics;
use crate::profile::archive::Profile;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How long a window waits for others.
pub const PATIENCE: Duration = Duration::from_millis(50);
/// Windows judged together, about.
const BATCH: usize = 256;
/// Commands that may wait. A batch of calls makes one command.
pub const QUEUE: usize = 64;

/// What the thread is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Judge with this from now on.
    Install(Arc<Profile>),
    /// Judge this workload no more.
    Remove(String),
    /// Judge these.
    Judge(Vec<Job>),
}

/// Takes what was said of a job; `None`: it could not be judged.
pub type Reply = Box<dyn FnMut(&Job, Option<Finding>) + Send>;

/// The thread could not be started.
#[derive(Debug, thiserror::Error)]
#[error("starting the inference thread")]
pub struct StartError(#[from] std::io::Error);

/// Starts the thread; it ends when all senders are gone. `detector` is called on it: what it makes never leaves the thread.
pub fn start<D: Detector<Part = Window>>(
    detector: impl FnOnce() -> D + Send + 'static,
    reply: Reply,
    metrics: Metrics,
) -> Result<(mpsc::Sender<Command>, std::thread::JoinHandle<()>), StartError> {
    let (tx, rx) = mpsc::channel(QUEUE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let own = move || {
        let owner = Owner { detector: detector(), reply, metrics };
        runtime.block_on(owner.run(rx));
    };
    let thread = std::thread::Builder::new().name("inference".into()).spawn(own)?;
    Ok((tx, thread))
}

struct Owner<D> {
    detector: D,
    reply: Reply,
    metrics: Metrics,
}

impl<D: Detector<Part = Window>> Owner<D> {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut waiting: Vec<Job> = Vec::new();
        while let Some(command) = commands.recv().await {
            self.take(command, &mut waiting);
            let deadline = tokio::time::Instant::now() + PATIENCE;
            while !waiting.is_empty() && waiting.len() < BATCH {
                match tokio::time::timeout_at(deadline, commands.recv()).await {
                    Ok(Some(command)) => self.take(command, &mut waiting),
                    Ok(None) | Err(_) => break,
                }
            }
            self.judge(std::mem::take(&mut waiting));
        }
    }

    fn take(&mut self, command: Command, waiting: &mut Vec<Job>) {
        match command {
            Command::Judge(jobs) => waiting.extend(jobs),
            Command::Remove(workload) => {
                self.judge(std::mem::take(waiting));
                self.detector.remove(&workload);
            }
            Command::Install(profile) => {
                // What waits was meant for the models that are there now.
                self.judge(std::mem::take(waiting));
                let workload = profile.metadata.workload.clone();
                if let Err(error) = self.detector.install(profile) {
                    tracing::error!(workload, error = chain(&error), "model refused: its containers are not judged");
                }
            }
        }
    }

    fn judge(&mut self, jobs: Vec<Job>) {
        let mut by_workload: BTreeMap<Arc<str>, Vec<Job>> = BTreeMap::new();
        for job in jobs {
            by_workload.entry(Arc::clone(&job.workload)).or_default().push(job);
        }
        for (workload, jobs) in by_workload {
            for part in jobs.chunks(BATCH) {
                let begun = Instant::now();
                let windows: Vec<_> = part.iter().map(|job| &job.window).collect();
                let Some(findings) = self.detector.judge(&workload, &windows) else {
                    self.answer(part, Vec::new());
                    continue;
                };
                self.metrics.batch_seconds.observe(begun.elapsed().as_secs_f64());
                let findings = findings.unwrap_or_else(|error| {
                    tracing::error!(workload = %workload, windows = part.len(), error = chain(&error), "windows could not be judged");
                    Vec::new()
                });
                self.answer(part, findings);
            }
        }
    }

    /// Every job is answered, with its finding or with none.
    fn answer(&mut self, jobs: &[Job], findings: Vec<Finding>) {
        let mut findings = findings.into_iter();
        for job in jobs {
            (self.reply)(job, findings.next());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::{job::Key, thread::ThreadId};
    use crate::detect::model::{Encoded, Judged, LanguageModel, ModelError};
    use crate::detect::surprisal::{Loader, Surprisal};
    use crate::profile::archive::tests::profile;
    use std::sync::Mutex;
    use surprisal_proto::token::Token;

    /// Says one nat for each call, and remembers how many windows came at once.
    struct Fake(Arc<Mutex<Vec<usize>>>);

    impl LanguageModel for Fake {
        fn judge(&self, windows: &[Encoded]) -> Result<Vec<Judged>, ModelError> {
            self.0.lock().expect("not poisoned").push(windows.len());
            if windows.iter().any(|w| w.inputs.len() == 7) {
                return Err(ModelError::Compute("seven".into()));
            }
            Ok(windows.iter().map(|w| Judged { nll: vec![1.0; w.scored().len()], top: Vec::new() }).collect())
        }
    }

    fn job(workload: &str, tid: u32, calls: usize) -> Job {
        Job {
            key: Key { node: "n".into(), id: "c".try_into().expect("an id") },
            thread: ThreadId { tgid: 1, tid },
            process: "p".into(),
            by_exec: false,
            workload: workload.into(),
            window: Window { first_sequence: 0, started_ns: 0, from_start: true, context: vec![], calls: vec![Token(0); calls] },
            cut_at: Duration::ZERO,
        }
    }

    fn run(commands: Vec<Command>) -> (Vec<String>, Vec<usize>) {
        let (sizes, said) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let (seen, say) = (Arc::clone(&sizes), Arc::clone(&said));
        let loader: Loader = Box::new(move |p| {
            if p.metadata.workload == "bad" {
                Err(ModelError::Weights("bad".into()))
            } else {
                Ok(Box::new(Fake(Arc::clone(&seen))))
            }
        });
        let reply: Reply = Box::new(move |job, verdict| {
            let score = verdict.map_or("none".into(), |v| format!("{:.2}", v.score.nats()));
            say.lock().expect("not poisoned").push(format!("{}/{} {score}", job.workload, job.thread.tid));
        });
        let (tx, thread) = start(|| Surprisal::new(loader, Metrics::default()), reply, Metrics::default()).expect("starts");
        for command in commands {
            tx.blocking_send(command).expect("listening");
        }
        drop(tx);
        thread.join().expect("no panic");
        let mut said = said.lock().expect("not poisoned").clone();
        said.sort();
        let sizes = sizes.lock().expect("not poisoned").clone();
        (said, sizes)
    }

    fn install(workload: &str) -> Command {
        Command::Install(Arc::new(profile(workload)))
    }

    #[test]
    fn every_job_is_answered_and_a_workload_is_judged_at_once() {
        let jobs = vec![job("a", 1, 64), job("a", 2, 64), job("a", 3, 8), job("b", 4, 64), job("x", 5, 64)];
        let (said, sizes) = run(vec![install("a"), install("b"), Command::Judge(jobs)]);
        // The model says one nat a call, of which the 64 turns of one call weigh 2 + 1 + 1/2 + … + 1/62 = 6.71, over 16; that the
        // one call was made without the other makes each more surprising by 3 (1 - √½) = 0.88.
        assert_eq!(said, ["a/1 0.79", "a/2 0.79", "a/3 0.52", "b/4 0.79", "x/5 none"]);
        assert_eq!(sizes, [3, 1]);
    }

    #[test]
    fn failures_answer_too() {
        let (said, _) = run(vec![
            install("bad"),
            install("a"),
            Command::Judge(vec![job("bad", 1, 3), job("a", 2, 7)]),
            Command::Remove("a".into()),
            Command::Judge(vec![job("a", 3, 3)]),
        ]);
        assert_eq!(said, ["a/2 none", "a/3 none", "bad/1 none"]);
    }
}
