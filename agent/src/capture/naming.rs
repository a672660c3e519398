//! Threads that look up names.
//!
//! In: [`Sighting`]s, at most [`NAMING_MAX`] of them waiting. Out: who they are, as it becomes known. Never: blocks whoever
//! asks or takes an answer.
//!
//! A look-up may sleep, and a pod's containers come together: hence threads. They end when [`Naming`] is dropped.

use crate::{
    container::ContainerInfo,
    identity::{Resolver, Sighting},
};
use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel},
    },
    thread,
};

/// Containers that wait for a free thread.
const NAMING_MAX: usize = 4096;
/// Threads.
const THREADS: usize = 4;

/// The threads, from the capture thread's side.
#[derive(Debug)]
pub(super) struct Naming {
    questions: SyncSender<Sighting>,
    answers: Receiver<Arc<ContainerInfo>>,
}

impl Naming {
    /// Starts the threads.
    pub(super) fn start(resolver: &Arc<Resolver>) -> io::Result<Self> {
        let (questions, sightings) = sync_channel::<Sighting>(NAMING_MAX);
        // At most as many answers as questions are under way.
        let (answers, names): (Sender<Arc<ContainerInfo>>, _) = channel();
        let sightings = Arc::new(Mutex::new(sightings));
        for n in 0..THREADS {
            let (sightings, answers, resolver) = (Arc::clone(&sightings), answers.clone(), Arc::clone(resolver));
            let work = move || {
                loop {
                    let next = sightings.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(sighting) = next else { return };
                    if answers.send(resolver.resolve(&sighting)).is_err() {
                        return;
                    }
                }
            };
            thread::Builder::new().name(format!("naming-{n}")).spawn(work)?;
        }
        Ok(Self { questions, answers: names })
    }

    /// Asks who they are. Gives back those for whom there is no room now.
    pub(super) fn ask(&self, sightings: Vec<Sighting>) -> Vec<Sighting> {
        let mut waiting = sightings.into_iter();
        while let Some(sighting) = waiting.next() {
            if let Err(TrySendError::Full(sighting) | TrySendError::Disconnected(sighting)) = self.questions.try_send(sighting) {
                return std::iter::once(sighting).chain(waiting).collect();
            }
        }
        Vec::new()
    }

    /// The next answer that is there.
    pub(super) fn answer(&self) -> Option<Arc<ContainerInfo>> {
        self.answers.try_recv().ok()
    }
}
