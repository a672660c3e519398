//! Whether anything has grown. *Pure.*
//!
//! In: samples. Out: figures, and what has grown. Never: a clock.
//!
//! Memory and descriptors are compared between the first and the last quarter of what follows the warm-up, by medians:
//! a trend shows there, and a burst does not. Both daemons take more memory for a while after their start (allocators
//! keep what bursts needed; the scorer keeps ended containers for five minutes, so that people can still ask for them).

use super::sample::{Held, Sample};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The share of the time that is warm-up.
const WARM_UP: f64 = 0.2;
/// What memory may grow by between the quarters: this share and this much.
const RSS_SHARE: f64 = 0.10;
const RSS_MB: f64 = 2.0;
/// And for each more container that the scorer shows, MB; it forgets them after five minutes.
const KEPT_MB: f64 = 0.01;
/// What descriptors may grow by: a file that is just being read.
const DESCRIPTORS: u64 = 3;

/// Figures of a soak.
#[derive(Debug)]
pub(super) struct Verdict {
    containers: u64,
    agent: Trend,
    scorer: Trend,
    map_entries_start: u64,
    map_entries_end: u64,
    /// What is left, by map.
    left: Vec<(String, u64)>,
}

/// From one quarter to the other.
#[derive(Clone, Copy, Debug, Default)]
struct Trend {
    rss_mb: (f64, f64),
    descriptors: (u64, u64),
    containers: (f64, f64),
    /// After the last container.
    descriptors_end: u64,
}

impl Verdict {
    /// Of samples in order; the last is after the last container.
    pub(super) fn of(samples: &[Sample], containers: u64) -> Self {
        let during: Vec<&Sample> = samples.iter().filter(|s| !s.is_end).collect();
        let warm = &during[(during.len() as f64 * WARM_UP) as usize..];
        let quarter = (warm.len() / 4).max(1).min(warm.len());
        let (first, last) = (&warm[..quarter], &warm[warm.len() - quarter..]);
        let end = samples.last();
        let trend = |of: fn(&Sample) -> Held| {
            let both = |f: fn(Held) -> f64| (median(first, |s| f(of(s))), median(last, |s| f(of(s))));
            let descriptors = both(|h| h.descriptors as f64);
            Trend {
                rss_mb: both(|h| h.rss_mb),
                descriptors: (descriptors.0 as u64, descriptors.1 as u64),
                containers: both(|h| h.containers),
                descriptors_end: end.map_or(0, |s| of(s).descriptors),
            }
        };
        let left = |s: &Sample| s.maps.iter().filter(|(_, n)| **n > 0).map(|(name, n)| (name.clone(), *n)).collect();
        Self {
            containers,
            agent: trend(|s| s.agent),
            scorer: trend(|s| s.scorer),
            map_entries_start: samples.first().map_or(0, Sample::map_entries),
            map_entries_end: end.map_or(0, Sample::map_entries),
            left: end.map(left).unwrap_or_default(),
        }
    }

    /// The first thing that has grown, in words; nothing when all is flat.
    pub(super) fn grown(&self) -> Option<String> {
        for (name, trend) in [("agent", &self.agent), ("scorer", &self.scorer)] {
            let (from, to) = trend.rss_mb;
            let kept = (trend.containers.1 - trend.containers.0).max(0.0);
            let allowed = from * (1.0 + RSS_SHARE) + RSS_MB + kept * KEPT_MB;
            if to > allowed {
                return Some(format!("the {name}'s memory went from {from:.1} to {to:.1} MB; {allowed:.1} is allowed"));
            }
            let (from, to) = trend.descriptors;
            for (when, n) in [("to", to), ("and after the last container was", trend.descriptors_end)] {
                if n > from + DESCRIPTORS {
                    return Some(format!("the {name}'s open descriptors went from {from} {when} {n}"));
                }
            }
        }
        (self.map_entries_end > self.map_entries_start).then(|| {
            let left: Vec<_> = self.left.iter().map(|(name, n)| format!("{name} {n}")).collect();
            let (from, to) = (self.map_entries_start, self.map_entries_end);
            format!(
                "the kernel's maps had {from} entries before the first container and {to} after the last: {}",
                left.join(", ")
            )
        })
    }

    pub(super) fn table(&self) -> String {
        let mut text = "| | agent | scorer |\n|---|--:|--:|\n".to_owned();
        let (a, s) = (&self.agent, &self.scorer);
        let mut line = |what: &str, of: &dyn Fn(&Trend) -> String| {
            let _ = writeln!(text, "| {what} | {} | {} |", of(a), of(s));
        };
        line("resident MB, first to last quarter", &|t| format!("{:.1} to {:.1}", t.rss_mb.0, t.rss_mb.1));
        line("open descriptors, first to last quarter, at the end", &|t| {
            format!("{} to {}, {}", t.descriptors.0, t.descriptors.1, t.descriptors_end)
        });
        line("containers known, first to last quarter", &|t| format!("{:.0} to {:.0}", t.containers.0, t.containers.1));
        let _ = writeln!(
            text,
            "| entries in the kernel's maps, before and after | {} and {} | |",
            self.map_entries_start, self.map_entries_end
        );
        let _ = write!(text, "\n{} containers; the first fifth of the time is warm-up", self.containers);
        text
    }

    pub(super) fn json(&self) -> Value {
        let trend = |t: &Trend| {
            json!({
                "rss_start_mb": t.rss_mb.0, "rss_end_mb": t.rss_mb.1,
                "descriptors_start": t.descriptors.0, "descriptors_last_quarter": t.descriptors.1, "descriptors_end": t.descriptors_end,
                "containers_start": t.containers.0, "containers_end": t.containers.1,
            })
        };
        json!({
            "containers": self.containers,
            "rss_start_mb": self.agent.rss_mb.0 + self.scorer.rss_mb.0,
            "rss_end_mb": self.agent.rss_mb.1 + self.scorer.rss_mb.1,
            "map_entries_start": self.map_entries_start,
            "map_entries_end": self.map_entries_end,
            "agent": trend(&self.agent),
            "scorer": trend(&self.scorer),
            "flat": self.grown().is_none(),
        })
    }
}

fn median(samples: &[&Sample], f: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(|s| f(s)).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::{Held, Sample, Verdict};

    /// 100 samples in which the agent's memory, descriptors and map entries, and the scorer's memory, go like this.
    fn check(agent: fn(f64) -> (f64, u64), scorer: fn(f64) -> (f64, f64), left: u64, expect: Option<&str>) {
        let sample = |n: u64| {
            let ((rss_mb, descriptors), (scorer_mb, containers)) = (agent(n as f64), scorer(n as f64));
            let maps = [("CONTAINERS".to_owned(), if n == 100 { left } else { 5 * n.min(1) })].into();
            Sample {
                agent: Held { rss_mb, descriptors, ..Held::default() },
                scorer: Held { rss_mb: scorer_mb, descriptors: 12, containers, ..Held::default() },
                maps,
                is_end: n == 100,
                ..Sample::default()
            }
        };
        let samples: Vec<_> = (0..=100).map(sample).collect();
        let grown = Verdict::of(&samples, 100).grown();
        assert_eq!(grown.as_deref(), expect);
    }

    #[test]
    fn what_grows_is_named() {
        let (flat, still) = (|_| (30.0, 20), |_| (40.0, 5.0));
        check(flat, still, 0, None);
        // While it warms up it may.
        check(|n| (if n < 15.0 { n } else { 30.0 }, 20), still, 0, None);
        check(|n| (30.0 + n / 10.0, 20), still, 0, Some("the agent's memory went from 33.0 to 39.0 MB; 38.3 is allowed"));
        check(|n| (30.0, 20 + n as u64 / 10), still, 0, Some("the agent's open descriptors went from 23 to 29"));
        check(
            flat,
            still,
            3,
            Some("the kernel's maps had 0 entries before the first container and 3 after the last: CONTAINERS 3"),
        );
        // It keeps ended containers, at a stated price each; more than that is growth.
        check(flat, |n| (40.0 + n / 10.0, 10.0 * n), 0, None);
        check(flat, |n| (40.0 + n, 1.0), 0, Some("the scorer's memory went from 70.0 to 130.0 MB; 79.0 is allowed"));
    }
}
