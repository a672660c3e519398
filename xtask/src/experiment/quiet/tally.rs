//! Accounts of containers, by kind of server. *Pure.*
//!
//! In: accounts, and what was done to whom. Out: a [`Kind`] each, whose alarms say what was done before. Never: leaves out an alarm
//! because something was done: a reload that alarms is a false alarm.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use surprisal_e2e::quiet::{Account, Alarm, Deed, KINDS};

/// What was done so long before an alarm may have caused it: a score looks back 30 s.
const SHORTLY: Duration = Duration::from_secs(40);

/// An alarm of a container.
pub(super) struct Placed {
    /// Its container.
    pub(super) id: String,
    /// It.
    pub(super) alarm: Alarm,
    /// What was done shortly before, in words.
    pub(super) after: String,
}

/// All containers of a kind.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) containers: usize,
    /// Container-time with a score.
    pub(super) scored: Duration,
    pub(super) alarms: Vec<Placed>,
    pub(super) highest: f64,
    /// Process and call.
    pub(super) highest_call: String,
    pub(super) threshold: f64,
    pub(super) ceiling: Option<f64>,
}

impl Kind {
    /// Threshold over ceiling.
    pub(super) fn share(&self) -> Option<f64> {
        self.ceiling.map(|ceiling| self.threshold / ceiling)
    }
}

/// Accounts by kind, in the order of [`KINDS`]. `began`: when accounts' times begin.
pub(super) fn kinds(
    ids: &[(&'static str, String)],
    accounts: &BTreeMap<String, Account>,
    deeds: &[Deed],
    began: Instant,
    ceiling: impl Fn(&str) -> Option<f64>,
) -> Vec<Kind> {
    let of = |name: &'static str| {
        let mut kind = Kind {
            name,
            containers: 0,
            scored: Duration::ZERO,
            alarms: Vec::new(),
            highest: 0.0,
            highest_call: String::new(),
            threshold: 0.0,
            ceiling: ceiling(name),
        };
        for (_, id) in ids.iter().filter(|(kind, _)| *kind == name) {
            kind.containers += 1;
            let Some(account) = accounts.get(id) else { continue };
            kind.scored += account.scored;
            kind.threshold = kind.threshold.max(account.threshold);
            if account.highest > kind.highest {
                kind.highest = account.highest;
                let (process, call) = account.highest_of.clone().unwrap_or_default();
                kind.highest_call = format!("{process}: {call}");
            }
            let place =
                |alarm: &Alarm| Placed { id: id.clone(), alarm: alarm.clone(), after: after(deeds, id, began + alarm.at) };
            kind.alarms.extend(account.alarms.iter().map(place));
        }
        kind
    };
    KINDS.into_iter().map(of).filter(|kind| kind.containers > 0).collect()
}

/// What was being done to `id` at `at`, or shortly before.
fn after(deeds: &[Deed], id: &str, at: Instant) -> String {
    let mut before = deeds.iter().filter(|d| d.id == id && d.at <= at && d.end + SHORTLY >= at);
    before.next_back().map_or("nothing was done to it".to_owned(), |deed| {
        format!("{:.0} s after: {}", (at - deed.at).as_secs_f64(), deed.event.name())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use surprisal_e2e::quiet::instance::Event;

    #[test]
    fn what_was_done_before() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let deed = |from, to, event| Deed { at: at(from), end: at(to), id: "redis-0".to_owned(), event, failed: None };
        let deeds = [deed(10, 20, Event::Backup), deed(100, 101, Event::Restart)];
        let table = [
            (5, "nothing was done to it"),
            (15, "5 s after: backup"),
            (60, "50 s after: backup"),
            (61, "nothing was done to it"),
            (141, "41 s after: restart"),
        ];
        for (second, expected) in table {
            assert_eq!(after(&deeds, "redis-0", at(second)), expected, "{second}");
            assert_eq!(after(&deeds, "redis-1", at(second)), "nothing was done to it");
        }
    }
}
