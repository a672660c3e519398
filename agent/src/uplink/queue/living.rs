//! Containers that the scorer must know of. Pure.
//!
//! In: births, ends, calls that were dropped or left out. Out: what to announce, and totals for accounts. Never: forgets a
//! container whose end the scorer has not acknowledged.

use std::collections::{BTreeMap, HashSet};
use surprisal_proto::v1;

/// Containers to announce again after a reconnect: those that live, and those whose end waits in the queue.
#[derive(Debug, Default)]
pub(super) struct Living {
    containers: BTreeMap<String, Container>,
    /// Those of them whose birth was never sent.
    unannounced: HashSet<String>,
}

#[derive(Debug)]
struct Container {
    named: v1::Container,
    ending: bool,
    /// Its calls that were dropped here.
    dropped: u64,
    /// Its calls that were left out.
    left_out: u64,
    /// Its calls' names that were dropped here.
    names_dropped: u64,
    /// The share of time in which its calls are sent. `None`: they all are.
    observed: Option<f64>,
}

impl Living {
    /// It was born, its names have come, or its id is used again.
    pub(super) fn born(&mut self, named: v1::Container) {
        let id = named.id.clone();
        let container = if let Some(old) = self.containers.remove(&id) {
            Container { named, ending: false, observed: old.observed.filter(|_| !old.ending), ..old }
        } else {
            self.unannounced.insert(id.clone());
            Container { named, ending: false, dropped: 0, left_out: 0, names_dropped: 0, observed: None }
        };
        self.containers.insert(id, container);
    }

    /// Its end is in the queue.
    pub(super) fn ends(&mut self, id: &str) {
        if let Some(container) = self.containers.get_mut(id) {
            container.ending = true;
        }
    }

    /// The scorer knows of its end, or never will. Its id may be in use again.
    pub(super) fn ended(&mut self, id: &str) {
        if self.containers.get(id).is_some_and(|c| c.ending) {
            self.containers.remove(id);
        }
    }

    /// Takes note of the share of time in which its calls are sent. False: it does not live.
    pub(super) fn observe(&mut self, id: &str, ratio: f64) -> bool {
        let Some(container) = self.containers.get_mut(id).filter(|c| !c.ending) else { return false };
        container.observed = (ratio < 1.0).then_some(ratio);
        true
    }

    /// So many of its calls were dropped.
    pub(super) fn dropped(&mut self, id: &str, calls: u64) {
        if let Some(container) = self.containers.get_mut(id) {
            container.dropped += calls;
        }
    }

    /// So many of its calls' names were dropped.
    pub(super) fn names_dropped(&mut self, id: &str, names: u64) {
        if let Some(container) = self.containers.get_mut(id) {
            container.names_dropped += names;
        }
    }

    /// So many of its calls were left out.
    pub(super) fn left_out(&mut self, id: &str, calls: u64) {
        if let Some(container) = self.containers.get_mut(id) {
            container.left_out += calls;
        }
    }

    /// The totals of its calls that are not sent, into its account.
    pub(super) fn fill(&self, account: &mut v1::Account) {
        if let Some(container) = self.containers.get(&account.container_id) {
            account.dropped_queue = container.dropped;
            account.dropped_budget = container.left_out;
            account.names_dropped = container.names_dropped;
        }
    }

    /// Its birth is sent.
    pub(super) fn announced(&mut self, id: &str) {
        self.unannounced.remove(id);
    }

    /// Containers whose birth was never sent.
    pub(super) fn unannounced(&self) -> &HashSet<String> {
        &self.unannounced
    }

    /// Its birth and its death were both dropped.
    pub(super) fn unheard(&mut self, id: &str) {
        self.announced(id);
        self.ended(id);
    }

    /// There are none.
    pub(super) fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }

    /// All of them, by id.
    pub(super) fn named(&self) -> BTreeMap<String, v1::Container> {
        self.containers.iter().map(|(id, c)| (id.clone(), c.named.clone())).collect()
    }

    /// Those that live and are sent in turns, with their shares of time.
    pub(super) fn observed(&self) -> Vec<v1::Observed> {
        let living = self.containers.iter().filter(|(_, c)| !c.ending);
        living.filter_map(|(id, c)| c.observed.map(|ratio| v1::Observed { container_id: id.clone(), ratio })).collect()
    }
}

#[cfg(test)]
impl Living {
    /// How many.
    pub(super) fn len(&self) -> usize {
        self.containers.len()
    }

    /// Each with its share of time.
    pub(super) fn shares(&self) -> impl Iterator<Item = (&String, Option<f64>)> {
        self.containers.iter().map(|(id, c)| (id, c.observed))
    }
}
