//! Alarms in time, counted as LID-DS does. *Pure.*
//!
//! In: slots with their scores, when attacks went on, a threshold. Out: [`Detection`]. Never: a choice of threshold.
//!
//! An attack is *detected* if at least one slot of its recording (and container, where it is known) is flagged between its
//! start and its end. False alarms are counted as *consecutive false alarms*: flagged normal slots of one container that
//! follow each other, with no slot between them that is not flagged and no silence longer than
//! [`crate::detect::score::RECENT`], are one. Protocol: M. Grimmer et al., LID-DS (2019, 2021).

use crate::detect::score::RECENT;
use crate::evaluate::data::Attack;
use crate::evaluate::unit::Unit;
use serde::Serialize;

/// Seconds of a day.
const DAY: f64 = 86_400.0;

/// What became of one attack.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// What attack it is.
    pub family: String,
    /// Seconds from its start to the start of the strangest window of its first flagged slot, 0 at least; `null`: not
    /// detected. Serving says so later by the time that the window takes to be filled or its thread to be quiet.
    pub seconds: Option<f64>,
}

/// Attacks found, and false alarms.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detection {
    /// Attacks that went on.
    pub attacks: u64,
    /// Those detected.
    pub detected: u64,
    /// Their share; `null` without attacks.
    pub detection_rate: Option<f64>,
    /// Runs of flagged normal slots.
    pub consecutive_false_alarms: u64,
    /// Container-hours of normal behaviour in which they were.
    pub normal_container_hours: f64,
    /// False alarms over that time, brought to a day; `null` for less than a second of it.
    pub false_alarms_per_container_day: Option<f64>,
    /// Median of the seconds to detection, over detected attacks.
    pub median_seconds_to_detection: Option<f64>,
    /// Each attack.
    pub each: Vec<Found>,
}

/// Counts. `units` are slots in the order of recording, container and second; others are not looked at.
pub fn detection(units: &[Unit], attacks: &[Attack], threshold: f64, normal_container_seconds: f64) -> Detection {
    let each: Vec<_> =
        attacks.iter().map(|a| Found { family: a.family.to_string(), seconds: first(units, a, threshold) }).collect();
    let mut seconds: Vec<f64> = each.iter().filter_map(|f| f.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let detected = seconds.len() as u64;
    let alarms = runs(units, threshold);
    Detection {
        attacks: attacks.len() as u64,
        detected,
        detection_rate: (!attacks.is_empty()).then(|| detected as f64 / attacks.len() as f64),
        consecutive_false_alarms: alarms,
        normal_container_hours: normal_container_seconds / 3600.0,
        false_alarms_per_container_day: (normal_container_seconds >= 1.0).then(|| alarms as f64 / normal_container_seconds * DAY),
        median_seconds_to_detection: median(&seconds),
        each,
    }
}

fn median(sorted: &[f64]) -> Option<f64> {
    let (low, high) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

/// Seconds from an attack's start to its first flagged slot.
fn first(units: &[Unit], attack: &Attack, threshold: f64) -> Option<f64> {
    let of = |u: &&Unit| u.slot.is_some_and(|(r, c, second)| attack.in_second(r, c, second));
    let flagged = units.iter().filter(of).filter(|u| u.family.is_some() && u.score > threshold);
    // A window that began in the attack's first second, but before it, is no head start.
    flagged.map(|u| u.at_ns.saturating_sub(attack.span.0) as f64 / 1e9).min_by(f64::total_cmp)
}

/// Runs of flagged normal slots.
fn runs(units: &[Unit], threshold: f64) -> u64 {
    let mut runs = 0;
    let mut last: Option<(u32, u32, u64)> = None;
    for unit in units {
        let Some(slot) = unit.slot else { continue };
        if unit.family.is_some() || unit.score <= threshold {
            last = None;
            continue;
        }
        let goes_on = last.is_some_and(|(r, c, second)| (r, c) == (slot.0, slot.1) && slot.2 - second <= RECENT.as_secs());
        runs += u64::from(!goes_on);
        last = Some(slot);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `container:second=score`, `!` after an attack's.
    fn units(text: &str) -> Vec<Unit> {
        let unit = |word: &str| {
            let (place, score) = word.split_once('=').expect("a score");
            let (container, second) = place.split_once(':').expect("a place");
            let second: u64 = second.parse().expect("a number");
            Unit {
                score: score.trim_end_matches('!').parse().expect("a number"),
                family: score.ends_with('!').then(|| "a".into()),
                slot: Some((0, container.parse().expect("a number"), second)),
                at_ns: second * 1_000_000_000 + 250_000_000,
            }
        };
        text.split_whitespace().map(unit).collect()
    }

    #[test]
    fn runs_of_false_alarms_are_one() {
        for (text, expect) in [
            ("", 0),
            ("0:1=0 0:2=0.5 0:3=1", 0),
            ("0:1=2 0:2=2 0:3=2", 1),
            ("0:1=2 0:2=0 0:3=2", 2),
            ("0:1=2 1:2=2", 2),
            ("0:1=2 0:31=2 0:62=2", 2),
            ("0:1=2 0:2=9! 0:3=2", 2),
            ("0:1=9! 0:2=9!", 0),
        ] {
            assert_eq!(detection(&units(text), &[], 1.0, 0.0).consecutive_false_alarms, expect, "{text}");
        }
    }

    fn attack(container: Option<u32>, from_ms: u64, to_ms: u64) -> Attack {
        Attack { family: "a".into(), recording: 0, container, span: (from_ms * 1_000_000, to_ms * 1_000_000) }
    }

    #[test]
    fn an_attack_is_found_between_its_start_and_its_end() {
        let slots = units("0:1=9 0:10=0! 0:11=2! 0:12=3! 0:20=9 1:11=0! 1:30=5!");
        for (attack, expect) in [
            (attack(None, 9_500, 15_000), Some(1.75)),
            (attack(Some(0), 9_500, 15_000), Some(1.75)),
            (attack(Some(1), 9_500, 15_000), None),
            (attack(None, 11_500, 15_000), Some(0.0)),
            (attack(None, 15_000, 25_000), None),
            (attack(None, 30_000, 30_100), Some(0.25)),
            (attack(None, 2_000, 9_000), None),
            (Attack { recording: 1, ..attack(None, 9_500, 15_000) }, None),
        ] {
            assert_eq!(first(&slots, &attack, 1.0), expect, "{attack:?}");
        }
    }

    #[test]
    fn figures_are_over_attacks_and_container_days() {
        let slots = units("0:1=9 0:10=2! 0:20=9 0:21=9 0:30=4! 0:40=0!");
        let attacks = [attack(None, 9_000, 12_000), attack(None, 28_000, 32_000), attack(None, 40_000, 41_000)];
        let d = detection(&slots, &attacks, 1.0, 43_200.0);
        assert_eq!((d.attacks, d.detected, d.detection_rate), (3, 2, Some(2.0 / 3.0)));
        assert_eq!((d.consecutive_false_alarms, d.false_alarms_per_container_day), (2, Some(4.0)));
        assert_eq!((d.normal_container_hours, d.median_seconds_to_detection), (12.0, Some(1.75)));
        assert_eq!(d.each.iter().map(|f| f.seconds).collect::<Vec<_>>(), [Some(1.25), Some(2.25), None]);
        assert_eq!(detection(&slots, &[], 1.0, 0.0).false_alarms_per_container_day, None);
    }
}
