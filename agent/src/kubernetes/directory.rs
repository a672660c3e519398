//! This node's pods, for whoever wants to know who a container is.
//!
//! In: pods and namespaces as they change. Out: a container's names with what Kubernetes says of them, and which pods have changed
//! since they were last asked for. Never: waits for the API server.

use super::pod::PodFacts;
use crate::container::{ContainerInfo, Names, Watch, workload};
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Pods remembered, at most: several times what a node runs.
pub const PODS_MAX: usize = 1024;

/// Namespaces remembered, at most: only those that say whether their pods are followed.
pub const NAMESPACES_MAX: usize = 4096;

/// Namespace and name of a pod.
pub(super) type PodName = (String, String);

/// How far the API server answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nobody is asked: owners are guessed.
    #[default]
    Off,
    /// It has not answered yet.
    Asking,
    /// It answers.
    Answering,
    /// It does not answer, or refuses; what it said before is still used.
    Failing(String),
}

/// How it goes with the API server, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// "off", "asking", "answering" or "failing".
    pub state: String,
    /// Why it fails; empty: it does not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// Pods known now.
    pub pods: u64,
    /// Answers that did not come or were refusals, since the start.
    pub failures: u64,
    /// Pods and namespaces for which there was no room, since the start.
    pub refused: u64,
}

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    Pods,
    Namespaces,
}

/// The pods; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Directory(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    known: Mutex<Known>,
    listed: Notify,
}

#[derive(Debug, Default)]
struct Known {
    asked: bool,
    pods: HashMap<PodName, Arc<PodFacts>>,
    namespaces: HashMap<String, bool>,
    changed: HashSet<PodName>,
    /// For pods and for namespaces: the first list is complete; why there is none now.
    listed: [bool; 2],
    errors: [Option<String>; 2],
    failures: u64,
    refused: u64,
}

impl Directory {
    /// Whether an API server is asked at all.
    pub fn is_asked(&self) -> bool {
        self.known().asked
    }

    /// How far it answers.
    pub fn state(&self) -> State {
        let known = self.known();
        match known.errors.iter().flatten().next() {
            _ if !known.asked => State::Off,
            Some(error) => State::Failing(error.clone()),
            None if known.listed == [true; 2] => State::Answering,
            None => State::Asking,
        }
    }

    /// How it goes with the API server.
    pub fn report(&self) -> Report {
        let (state, error) = match self.state() {
            State::Off => ("off", String::new()),
            State::Asking => ("asking", String::new()),
            State::Answering => ("answering", String::new()),
            State::Failing(error) => ("failing", error),
        };
        let known = self.known();
        Report { state: state.to_owned(), error, pods: known.pods.len() as u64, failures: known.failures, refused: known.refused }
    }

    /// Comes back when the first lists are complete; at once if nobody is asked.
    pub async fn first_lists(&self) {
        loop {
            let listed = self.0.listed.notified();
            {
                let known = self.known();
                if !known.asked || known.listed == [true; 2] {
                    return;
                }
            }
            listed.await;
        }
    }

    /// The container with what Kubernetes says of it now. Without its pod, as it was.
    pub fn dress(&self, info: &Arc<ContainerInfo>) -> Arc<ContainerInfo> {
        let names = &info.names;
        if names.pod.is_empty() {
            return Arc::clone(info);
        }
        let (pod, namespace) = {
            let known = self.known();
            let pod = known.pods.get(&(names.namespace.clone(), names.pod.clone())).filter(|pod| pod.is(&names.pod_uid)).cloned();
            (pod, known.namespaces.get(&names.namespace).copied())
        };
        let Some(pod) = pod else { return Arc::clone(info) };
        let container = pod.container(&names.name);
        let bare = Names { workload: String::new(), owner_kind: String::new(), ..names.clone() };
        let (owner_kind, workload) = match &pod.owner {
            Some(owner) => (owner.kind.clone(), workload::owned(&bare, &owner.name)),
            None => (String::new(), workload::guess(&bare, &info.id, &info.node)),
        };
        let names = Names {
            workload,
            owner_kind,
            image_digest: container.map(|c| c.digest.clone()).unwrap_or_default(),
            role: container.map(|c| c.role).unwrap_or_default(),
            restarts: container.and_then(|c| c.restarts),
            labels: pod.labels.clone(),
            ..bare
        };
        let watch = if pod.watch.or(namespace).unwrap_or(true) { Watch::Wanted } else { Watch::OptedOut };
        Arc::new(ContainerInfo { names, watch, ..(**info).clone() })
    }

    /// Pods of which something has changed since this was last asked.
    pub fn take_changed(&self) -> HashSet<PodName> {
        std::mem::take(&mut self.known().changed)
    }

    /// An API server is asked from now on.
    pub(super) fn asked(&self) {
        self.known().asked = true;
    }

    /// A pod is there, or is another than before.
    pub(super) fn put(&self, name: PodName, facts: PodFacts) {
        let mut known = self.known();
        if known.pods.get(&name).is_some_and(|old| **old == facts) {
            return;
        }
        if known.pods.len() >= PODS_MAX && !known.pods.contains_key(&name) {
            known.refused += 1;
            return;
        }
        known.pods.insert(name.clone(), Arc::new(facts));
        known.changed.insert(name);
    }

    /// A pod is gone. Its containers keep their names while they last.
    pub(super) fn remove(&self, name: &PodName) {
        let mut known = self.known();
        known.pods.remove(name);
        known.changed.remove(name);
    }

    /// Those that are not in a complete list are gone.
    pub(super) fn keep_pods(&self, listed: &HashSet<PodName>) {
        let mut known = self.known();
        known.pods.retain(|name, _| listed.contains(name));
        known.changed.retain(|name| listed.contains(name));
    }

    /// What a namespace says of its pods; `None`: nothing, or it is gone.
    pub(super) fn put_namespace(&self, name: &str, watch: Option<bool>) {
        let mut known = self.known();
        let old = match watch {
            Some(_) if known.namespaces.len() >= NAMESPACES_MAX && !known.namespaces.contains_key(name) => {
                known.refused += 1;
                return;
            }
            Some(watch) => known.namespaces.insert(name.to_owned(), watch),
            None => known.namespaces.remove(name),
        };
        if old != watch {
            let Known { pods, changed, .. } = &mut *known;
            changed.extend(pods.keys().filter(|(namespace, _)| namespace == name).cloned());
        }
    }

    /// Namespaces that are not in a complete list are gone.
    pub(super) fn keep_namespaces(&self, listed: &HashSet<String>) {
        let gone: Vec<_> = self.known().namespaces.keys().filter(|name| !listed.contains(*name)).cloned().collect();
        for name in gone {
            self.put_namespace(&name, None);
        }
    }

    /// A list is complete.
    pub(super) fn listed(&self, watched: Watched) {
        self.known().listed[watched as usize] = true;
        self.0.listed.notify_waiters();
    }

    /// It answered. True: it had not before.
    pub(super) fn answered(&self, watched: Watched) -> bool {
        self.known().errors[watched as usize].take().is_some()
    }

    /// It did not. True: it had before.
    pub(super) fn failed(&self, watched: Watched, error: String) -> bool {
        let mut known = self.known();
        known.failures += 1;
        known.errors[watched as usize].replace(error).is_none()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every change is whole when the lock is given back: a panic elsewhere leaves no half of one.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
