//! Medians, ratios and the table of `bench overhead`. *Pure.*
//!
//! In: slices, each of one state in one round. Out: [`Figures`], as Markdown and as JSON. Never: a clock.
//!
//! A ratio is the median, over the rounds, of a state's throughput to that of the empty program in the same round: what
//! slows the machine for a while slows both.

use super::{states::AgentCost, workloads::Workload};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, fmt::Write as _};

/// What everything is compared with.
pub(super) const BASE: &str = "attach_only";
/// The goal: at least so much of [`BASE`]'s throughput with the agent tracking.
pub(super) const GOAL: f64 = 0.97;

/// One state in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    pub(super) round: u32,
    pub(super) per_s: f64,
    /// CPU time of the server's container, microseconds a request.
    pub(super) server_us: f64,
    pub(super) agent: Option<AgentCost>,
}

/// A workload's slices and what was said of its peers.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) workload: Workload,
    /// By state, `attach_only`, …, and peer.
    pub(super) slices: BTreeMap<&'static str, Vec<Slice>>,
    /// What peers saw.
    pub(super) seen: BTreeMap<&'static str, String>,
    /// Peers that could not run, and why.
    pub(super) not_run: BTreeMap<&'static str, String>,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) per_s: f64,
    least: f64,
    most: f64,
    pub(super) ratio: f64,
    pub(super) server_us: f64,
    agent: Option<AgentCost>,
}

impl Figures {
    pub(super) fn new(workload: Workload) -> Self {
        Self { workload, slices: BTreeMap::new(), seen: BTreeMap::new(), not_run: BTreeMap::new() }
    }

    /// Of a state or peer; nothing when it did not run.
    pub(super) fn row(&self, name: &str) -> Option<Row> {
        let slices = self.slices.get(name).filter(|s| !s.is_empty())?;
        let base = self.slices.get(BASE)?;
        let of = |f: fn(&Slice) -> f64| median(slices.iter().map(f));
        let ratios = slices.iter().filter_map(|s| Some(s.per_s / base.iter().find(|b| b.round == s.round)?.per_s));
        let costs: Vec<AgentCost> = slices.iter().filter_map(|s| s.agent).collect();
        let cost = |f: fn(&AgentCost) -> f64| median(costs.iter().map(f));
        Some(Row {
            per_s: of(|s| s.per_s),
            least: slices.iter().map(|s| s.per_s).fold(f64::INFINITY, f64::min),
            most: slices.iter().map(|s| s.per_s).fold(0.0, f64::max),
            ratio: median(ratios),
            server_us: of(|s| s.server_us),
            agent: (!costs.is_empty()).then(|| AgentCost {
                cpu_percent: cost(|c| c.cpu_percent),
                sink_cpu_percent: cost(|c| c.sink_cpu_percent),
                rss_mb: cost(|c| c.rss_mb),
                calls_per_s: cost(|c| c.calls_per_s),
                // Of all rounds together.
                lost_calls: costs.iter().map(|c| c.lost_calls).sum(),
            }),
        })
    }

    pub(super) fn markdown(&self, names: &[(&'static str, &str)]) -> String {
        let mut text = format!(
            "### {}\n\n| state | requests/s | (least - most) | to attach-only | server µs CPU a request | agent CPU % | agent RSS MB | calls/s |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|\n",
            self.workload.name()
        );
        for (name, title) in names {
            let Some(row) = self.row(name) else {
                if let Some(why) = self.not_run.get(name) {
                    let _ = writeln!(text, "| {title} | did not run: {why} | | | | | | |");
                }
                continue;
            };
            let agent = row
                .agent
                .map_or_else(|| " | | ".to_owned(), |a| format!("{:.1} | {:.1} | {:.0}", a.cpu_percent, a.rss_mb, a.calls_per_s));
            let _ = writeln!(
                text,
                "| {title} | {:.0} | {:.0} - {:.0} | {:.3} | {:.2} | {agent} |",
                row.per_s, row.least, row.most, row.ratio, row.server_us
            );
        }
        for (name, seen) in &self.seen {
            let _ = writeln!(text, "\n{} saw {seen}.", name.replace('_', " "));
        }
        text
    }

    pub(super) fn json(&self, states: &[&'static str], peers: &[&'static str]) -> Value {
        let rows = |names: &[&'static str]| names.iter().filter_map(|n| Some((*n, self.row(n)?))).collect::<Vec<_>>();
        let all = [rows(states), rows(peers)].concat();
        let by_name = |f: &dyn Fn(&Row) -> Value| all.iter().map(|(n, r)| ((*n).to_owned(), f(r))).collect::<Map<_, _>>();
        let mut value = json!({
            "name": self.workload.name(),
            "peers": rows(peers).iter().map(|(n, r)| ((*n).to_owned(), json!(r.per_s))).collect::<Map<_, _>>(),
            "ratio_to_attach_only": by_name(&|r| json!(r.ratio)),
            "least_most": by_name(&|r| json!([r.least, r.most])),
            "server_cpu_us_per_request": by_name(&|r| json!(r.server_us)),
            "agent": all.iter().filter_map(|(n, r)| Some(((*n).to_owned(), cost(r.agent?)))).collect::<Map<_, _>>(),
            "peers_saw": self.seen,
            "peers_not_run": self.not_run,
        });
        for (name, row) in rows(states) {
            value[name] = json!(row.per_s);
        }
        value
    }
}

fn cost(a: AgentCost) -> Value {
    json!({
        "cpu_percent": a.cpu_percent, "rss_mb": a.rss_mb, "calls_per_s": a.calls_per_s, "lost_calls": a.lost_calls,
        "sink_cpu_percent": a.sink_cpu_percent,
    })
}

/// The middle one, or the mean of the two in the middle; 0 of none.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        for (values, expect) in [(&[3.0, 1.0, 2.0][..], 2.0), (&[4.0, 1.0, 2.0, 3.0], 2.5), (&[], 0.0)] {
            assert!((median(values.iter().copied()) - expect).abs() < 1e-9, "{values:?}");
        }
    }

    /// The machine is half as fast in the second round; the ratio does not see it.
    #[test]
    fn ratios_are_within_a_round() {
        let slice = |round, per_s| Slice { round, per_s, server_us: 10.0, agent: None };
        let mut figures = Figures::new(Workload::Redis);
        figures.slices.insert(BASE, vec![slice(0, 1000.0), slice(1, 500.0), slice(2, 1000.0)]);
        figures.slices.insert("tracked", vec![slice(0, 980.0), slice(1, 490.0), slice(2, 980.0)]);
        figures.slices.insert("strace", vec![slice(1, 5.0)]);
        figures.not_run.insert("auditd", "somebody's".to_owned());
        let ratio = |name: &str| figures.row(name).expect("it ran").ratio;
        assert!((ratio("tracked") - 0.98).abs() < 1e-9 && (ratio("strace") - 0.01).abs() < 1e-9);
        assert!(figures.row("auditd").is_none());
        let text = figures.markdown(&[("tracked", "agent, tracking"), ("auditd", "auditd")]);
        assert!(text.contains("| agent, tracking | 980 | 490 - 980 | 0.980 |"), "{text}");
        assert!(text.contains("| auditd | did not run: somebody's |"), "{text}");
        let json = figures.json(&[BASE, "tracked"], &["strace", "auditd"]);
        assert_eq!(json["tracked"], json!(980.0));
        assert_eq!(json["peers"], json!({ "strace": 5.0 }));
        assert_eq!(json["peers_not_run"]["auditd"], json!("somebody's"));
    }
}
