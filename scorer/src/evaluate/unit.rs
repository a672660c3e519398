//! What is counted as one: an item, or all that a container did in a second. *Pure.*
//!
//! In: items with their scores, when attacks went on. Out: [`Unit`]s. Never: a threshold.

use crate::evaluate::data::{Attack, Item};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is counted as one.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Its score.
    pub score: f64,
    /// What attack it is; `None`: normal.
    pub family: Option<Arc<str>>,
    /// Recording, container and second; `None` for traces and windows.
    pub slot: Option<(u32, u32, u64)>,
    /// When the first of its windows that has its score began, nanoseconds since the Unix epoch; 0 for traces.
    pub at_ns: u64,
}

/// Each item by itself.
pub fn each(items: &[&Item], scores: &[f64], _: &[Attack]) -> Vec<Unit> {
    let unit = |(item, score): (&&Item, &f64)| Unit {
        score: *score,
        family: item.family.clone(),
        slot: None,
        at_ns: item.place.map_or(0, |p| p.started_ns),
    };
    items.iter().zip(scores).map(unit).collect()
}

/// Windows joined to slots, in the order of recording, container and second. Items without a place are left out.
pub fn slots(items: &[&Item], scores: &[f64], attacks: &[Attack]) -> Vec<Unit> {
    let mut slots: BTreeMap<(u32, u32, u64), (f64, u64)> = BTreeMap::new();
    for (item, score) in items.iter().zip(scores) {
        let Some(place) = item.place else { continue };
        let key = (place.recording, place.container, place.started_ns / 1_000_000_000);
        let highest = slots.entry(key).or_insert((*score, place.started_ns));
        if (*score, highest.1) > (highest.0, place.started_ns) {
            *highest = (*score, place.started_ns);
        }
    }
    let unit = |(key, (score, at_ns)): ((u32, u32, u64), (f64, u64))| {
        let (recording, container, second) = key;
        let attack = attacks.iter().find(|a| a.in_second(recording, container, second));
        Unit { score, family: attack.map(|a| a.family.clone()), slot: Some(key), at_ns }
    };
    slots.into_iter().map(unit).collect()
}
