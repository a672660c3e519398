//! The alerts that serving would have raised, counted in past scores. *Pure.*
//!
//! In: the scores of one container's windows, in the order of time. Out: [`Episode`]s. Never: a model, a clock.
//!
//! A container's score is the highest window of the last [`RECENT`]; it is anomalous while that is at or above the threshold.
//! One alert is one stretch of being anomalous: windows above the threshold that come within half a minute of each
//! other are one alert. As in [`crate::detect::score::Recent`], time counts in whole seconds.

use crate::detect::score::{RECENT, Score};
use crate::judge::threshold::Threshold;
use std::time::Duration;

/// One alert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Episode {
    /// When the first window came that was at or above the threshold.
    pub from: Duration,
    /// When the last one came; the verdict stays for [`RECENT`] after it.
    pub last: Duration,
    /// How many there were.
    pub windows: u64,
    /// The highest score.
    pub highest: Score,
}

/// The alerts among a container's windows, each with when it was scored (time since any fixed point), ascending.
pub fn episodes(windows: &[(Duration, Score)], threshold: Threshold) -> Vec<Episode> {
    let mut found: Vec<Episode> = Vec::new();
    for (at, score) in windows.iter().filter(|(_, score)| score.nats() >= threshold.nats()) {
        match found.last_mut() {
            Some(episode) if at.as_secs() <= episode.last.as_secs() + RECENT.as_secs() => {
                episode.last = *at;
                episode.windows += 1;
                if *score > episode.highest {
                    episode.highest = *score;
                }
            }
            _ => found.push(Episode { from: *at, last: *at, windows: 1, highest: *score }),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::score::Recent;
    use proptest::prelude::*;

    fn threshold(nats: f64) -> Threshold {
        Threshold::try_from(nats).expect("positive")
    }

    fn windows(list: &[(u64, f64)]) -> Vec<(Duration, Score)> {
        list.iter().map(|(ms, nats)| (Duration::from_millis(*ms), Score::new(*nats))).collect()
    }

    #[test]
    fn half_a_minute_makes_two_alerts_of_one() {
        let check = |list: &[(u64, f64)], expect: &[(u64, u64, u64, f64)]| {
            let found = episodes(&windows(list), threshold(2.0));
            let shown: Vec<_> = found
                .iter()
                .map(|e| (e.from.as_millis() as u64, e.last.as_millis() as u64, e.windows, e.highest.nats()))
                .collect();
            assert_eq!(shown, expect);
        };
        check(&[], &[]);
        check(&[(0, 1.9)], &[]);
        check(&[(0, 2.0)], &[(0, 0, 1, 2.0)]);
        check(&[(100, 2.5), (200, 1.0), (30_900, 3.0)], &[(100, 30_900, 2, 3.0)]);
        check(&[(900, 2.5), (31_000, 3.0)], &[(900, 900, 1, 2.5), (31_000, 31_000, 1, 3.0)]);
        // A chain: each within half a minute of the one before.
        check(&[(0, 2.0), (30_000, 2.0), (60_000, 2.0)], &[(0, 60_000, 3, 2.0)]);
        check(&[(0, f64::NAN)], &[(0, 0, 1, f64::INFINITY)]);
    }

    /// What serving would say: every second what is old is forgotten, and the verdict is looked at.
    fn replayed(windows: &[(Duration, Score)], threshold: Threshold) -> usize {
        let mut recent = Recent::default();
        let (mut alerts, mut anomalous, mut second) = (0, false, 0);
        let mut look = |recent: &Recent<()>| {
            let now = recent.score().is_some_and(|s| s.nats() >= threshold.nats());
            alerts += usize::from(now && !anomalous);
            anomalous = now;
        };
        for (at, score) in windows {
            while second < at.as_secs() {
                second += 1;
                recent.expire(Duration::from_secs(second));
                look(&recent);
            }
            recent.add(*at, (*score).into(), || ());
            look(&recent);
        }
        alerts
    }

    proptest! {
        #[test]
        fn alerts_are_those_that_a_replay_raises(list in prop::collection::vec((0u64..45_000, 0.0f64..4.0), 0..120), at in 0.1f64..4.0) {
            let mut now = 0;
            let list: Vec<_> = list.into_iter().map(|(wait, nats)| { now += wait; (now, nats) }).collect();
            let (windows, threshold) = (windows(&list), threshold(at));
            let found = episodes(&windows, threshold);
            prop_assert_eq!(found.len(), replayed(&windows, threshold));
            let above = windows.iter().filter(|(_, s)| s.nats() >= at).count() as u64;
            prop_assert_eq!(found.iter().map(|e| e.windows).sum::<u64>(), above);
        }
    }
}
