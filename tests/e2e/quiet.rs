//! The harness of `xtask experiment quiet`, with two servers for a minute and a half: both are learned and judged, and what is done to them is really done.
//!
//! Never: how many false alarms there are. A minute cannot say.

use anyhow::Result;
use std::{collections::BTreeSet, time::Duration};
use surprisal_e2e::quiet::{Fleet, instance::Event};

#[test]
fn servers_are_learned_and_watched() -> Result<()> {
    const WATCHED: Duration = Duration::from_secs(15);
    let fleet = Fleet::start(2, 1, &|text| println!("{text}"))?;
    assert_eq!(fleet.ids(), [("redis", "redis-0".to_owned()), ("nginx", "nginx-0".to_owned())]);
    let profiles = fleet.learn(Duration::from_secs(45))?;
    let deeds = fleet.deeds();
    let again: BTreeSet<_> = deeds.iter().map(|d| (d.id.as_str(), d.event.name())).collect();
    let restart = Event::Restart.name();
    assert_eq!(again, BTreeSet::from([("redis-0", restart), ("nginx-0", restart)]), "{deeds:?}");
    assert!(deeds.iter().all(|d| d.failed.is_none()), "{deeds:?}");

    let mut watch = fleet.watch(&profiles)?;
    watch.rest(WATCHED)?;
    let accounts = watch.accounts();
    // One of the two is busy at a time; the other may make no call until then, and has no score.
    let scored: Duration = accounts.values().map(|a| a.scored).sum();
    assert!(scored >= WATCHED && accounts.values().any(|a| a.threshold > 0.0), "{accounts:?}");
    drop(watch);
    fleet.end()
}
