//! A batch that waits, and what it hands on when it is dropped. Pure.
//!
//! In: what records became on the wire. Out: batches with their calls counted and their memory estimated. Never: counts a
//! drop: the queue does.

use std::{
    collections::{BTreeMap, HashSet},
    mem,
};
use surprisal_proto::v1;

/// A batch, and what the queue must know of it.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) batch: v1::Batch,
    pub(super) calls: u64,
    /// Memory, by estimate.
    pub(super) bytes: usize,
    /// Its calls by container, once the calls themselves are held no longer.
    pub(super) whose: BTreeMap<String, u64>,
    /// Its names by container, likewise.
    pub(super) names: BTreeMap<String, u64>,
}

impl Pending {
    /// There is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        let b = &self.batch;
        b.births.is_empty()
            && b.names.is_empty()
            && b.calls.is_empty()
            && b.network.is_empty()
            && b.accounts.is_empty()
            && b.deaths.is_empty()
            && b.observed.is_empty()
    }

    /// Takes over the parts of a dropped older batch that must not be lost. Returns the containers whose birth and death
    /// were both dropped: the scorer never hears of them.
    pub(super) fn inherit(&mut self, older: v1::Batch, unannounced: &HashSet<String>) -> HashSet<String> {
        let ids = |deaths: &[v1::Death]| deaths.iter().map(|d| d.container_id.clone()).collect::<HashSet<_>>();
        let mine = mem::take(&mut self.batch);
        let born_again: HashSet<String> = mine.births.iter().map(|b| id_of(b).to_owned()).collect();
        // Deaths come last: what is observed in the same batch is of the life that ended with it.
        let ended = ids(&older.deaths);
        let mut observed = older.observed;
        observed.retain(|o| !ended.contains(&o.container_id));
        // An id that lives again here goes on, as far as the scorer can see; and it is whole.
        let (again, dead): (Vec<_>, Vec<_>) = older.deaths.into_iter().partition(|d| born_again.contains(&d.container_id));
        observed.extend(again.into_iter().map(|d| v1::Observed { container_id: d.container_id, ratio: 1.0 }));
        let (unheard, dead): (Vec<_>, Vec<_>) = dead.into_iter().partition(|d| unannounced.contains(&d.container_id));
        let unheard = ids(&unheard);
        self.batch = v1::Batch {
            births: older.births.into_iter().filter(|b| !unheard.contains(id_of(b))).chain(mine.births).collect(),
            network: newest(older.network, mine.network, |n| &n.container_id, &unheard),
            accounts: newest(older.accounts, mine.accounts, |a| &a.container_id, &unheard),
            observed: newest(observed, mine.observed, |o| &o.container_id, &unheard),
            deaths: dead.into_iter().chain(mine.deaths).collect(),
            ..mine
        };
        unheard
    }

    /// Estimates its bytes anew.
    pub(super) fn weigh(&mut self) {
        let b = &self.batch;
        self.bytes = b.births.iter().map(weight_of_birth).sum::<usize>()
            + b.names.iter().map(weight_of_name).sum::<usize>()
            + b.calls.iter().map(weight_of_calls).sum::<usize>()
            + b.network.iter().map(|n| size_of::<v1::Network>() + n.container_id.len()).sum::<usize>()
            + b.accounts.iter().map(|a| size_of::<v1::Account>() + a.container_id.len()).sum::<usize>()
            + b.observed.iter().map(|o| size_of::<v1::Observed>() + o.container_id.len()).sum::<usize>()
            + b.deaths.iter().map(|d| size_of::<v1::Death>() + d.container_id.len()).sum::<usize>();
    }
}

/// Calls by container.
pub(super) fn whose(runs: &[v1::Calls]) -> BTreeMap<String, u64> {
    let mut whose = BTreeMap::new();
    for run in runs {
        *whose.entry(run.container_id.clone()).or_default() += run.tokens.len() as u64 / 2;
    }
    whose
}

/// Names by container.
pub(super) fn names_of(names: &[v1::Name]) -> BTreeMap<String, u64> {
    let mut of = BTreeMap::new();
    for name in names {
        *of.entry(name.container_id.clone()).or_default() += 1;
    }
    of
}

/// The id of the container that was born.
pub(super) fn id_of(birth: &v1::Birth) -> &str {
    birth.container.as_ref().map_or("", |c| &c.id)
}

/// Bytes of memory, by estimate.
pub(super) fn weight_of_calls(calls: &v1::Calls) -> usize {
    size_of::<v1::Calls>() + calls.container_id.len() + calls.process.len() + calls.tokens.len()
}

/// Bytes of memory, by estimate.
pub(super) fn weight_of_name(name: &v1::Name) -> usize {
    size_of::<v1::Name>() + name.container_id.len() + name.text.len() + name.argv0.len()
}

/// Bytes of memory, by estimate.
pub(super) fn weight_of_birth(birth: &v1::Birth) -> usize {
    let text = birth.container.as_ref().map_or(0, |c| {
        let names = [&c.id, &c.node, &c.namespace, &c.pod, &c.pod_uid, &c.name, &c.image, &c.runtime_namespace, &c.workload];
        let more = [&c.owner_kind, &c.image_digest];
        let labels = c.labels.iter().flat_map(|(name, value)| [name, value]);
        names.into_iter().chain(more).chain(labels).map(String::len).sum::<usize>()
    });
    size_of::<v1::Birth>() + text
}

/// Puts a container's cumulative entry, in place of its older one; returns the bytes added.
pub(super) fn put<T>(entries: &mut Vec<T>, entry: T, id: impl Fn(&T) -> &String) -> usize {
    if let Some(old) = entries.iter_mut().find(|old| id(old) == id(&entry)) {
        *old = entry;
        return 0;
    }
    let bytes = size_of::<T>() + id(&entry).len();
    entries.push(entry);
    bytes
}

/// The newer entry of each container, without those of `unheard`.
pub(super) fn newest<T>(older: Vec<T>, newer: Vec<T>, id: impl Fn(&T) -> &String, unheard: &HashSet<String>) -> Vec<T> {
    let known: HashSet<String> = newer.iter().map(|n| id(n).clone()).collect();
    older.into_iter().filter(|o| !known.contains(id(o)) && !unheard.contains(id(o))).chain(newer).collect()
}
