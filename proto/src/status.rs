//! The line's state, for people and machines. *Pure.*
//!
//! In: a [`v1::GetStatusResponse`], of a scorer's `Status` service or made by an agent of itself. Out: JSON, which an agent
//! serves on its admin endpoint (`/status`), and a table. Never: a count that is not in the message.
//!
//! ```
//! use surprisal_proto::{status, v1};
//! let hop = v1::Hop { name: "queue".into(), unit: "batches".into(), taken_in: 5, passed_on: 3, held: 2, ..v1::Hop::default() };
//! assert_eq!(status::imbalance(&hop), 0);
//! let status = v1::GetStatusResponse { hops: vec![hop], ..v1::GetStatusResponse::default() };
//! let text = status::json(&status).to_string();
//! assert_eq!(status::parse(&text).expect("its own JSON"), status);
//! ```

use crate::v1;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A text is not a status.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// It is not JSON, or has no such shape.
    #[error("not the JSON of a status: {0}")]
    Shape(#[from] serde_json::Error),
    /// The time of its beginning cannot be read.
    #[error("bad started_at {text:?}: {reason}")]
    Time {
        /// What stands there.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// `taken_in - passed_on - dropped - held`: 0 when the hop balances, above when something vanished, below when something
/// came from nowhere.
pub fn imbalance(hop: &v1::Hop) -> i128 {
    i128::from(hop.taken_in) - i128::from(hop.passed_on) - dropped(hop) - i128::from(hop.held)
}

fn dropped(hop: &v1::Hop) -> i128 {
    hop.dropped.iter().map(|d| i128::from(d.count)).sum()
}

#[derive(Debug, Serialize, Deserialize)]
struct Status {
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    hops: Vec<Hop>,
    #[serde(default)]
    nodes: Vec<Agent>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Hop {
    name: String,
    unit: String,
    taken_in: u64,
    passed_on: u64,
    dropped: BTreeMap<String, u64>,
    held: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capacity_bytes: Option<u64>,
    when_full: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Agent {
    node: String,
    connected: bool,
    containers: u64,
    calls: u64,
    dropped_on_node: u64,
    sampled_containers: u64,
}

/// As JSON: fields named as in `status.proto`, `dropped` an object from reason to count, `started_at` as in RFC 3339.
pub fn json(status: &v1::GetStatusResponse) -> serde_json::Value {
    let hops = status.hops.iter().map(|h| Hop {
        name: h.name.clone(),
        unit: h.unit.clone(),
        taken_in: h.taken_in,
        passed_on: h.passed_on,
        dropped: h.dropped.iter().map(|d| (d.reason.clone(), d.count)).collect(),
        held: h.held,
        held_bytes: h.held_bytes,
        capacity_bytes: h.capacity_bytes,
        when_full: h.when_full.clone(),
    });
    let nodes = status.nodes.iter().map(|n| Agent {
        node: n.node.clone(),
        connected: n.connected,
        containers: n.containers,
        calls: n.calls,
        dropped_on_node: n.dropped_on_node,
        sampled_containers: n.sampled_containers,
    });
    let status = Status {
        version: status.version.clone(),
        started_at: status.started_at.as_ref().and_then(time).map(|t| t.to_string()),
        hops: hops.collect(),
        nodes: nodes.collect(),
    };
    // Strings and numbers under string keys: there is nothing that JSON could not say.
    serde_json::to_value(status).unwrap_or_default()
}

/// Reads what [`json`] made. Reasons come in alphabetical order; fields that are not known are passed over.
///
/// # Errors
/// [`ParseError`] when it is something else.
pub fn parse(text: &str) -> Result<v1::GetStatusResponse, ParseError> {
    let status: Status = serde_json::from_str(text)?;
    let started_at = match status.started_at {
        None => None,
        Some(text) => match text.parse::<Timestamp>() {
            Ok(t) => Some(prost_types::Timestamp { seconds: t.as_second(), nanos: t.subsec_nanosecond() }),
            Err(e) => return Err(ParseError::Time { reason: e.to_string(), text }),
        },
    };
    let hops = status.hops.into_iter().map(|h| v1::Hop {
        name: h.name,
        unit: h.unit,
        taken_in: h.taken_in,
        passed_on: h.passed_on,
        dropped: h.dropped.into_iter().map(|(reason, count)| v1::Drop { reason, count }).collect(),
        held: h.held,
        held_bytes: h.held_bytes,
        capacity_bytes: h.capacity_bytes,
        when_full: h.when_full,
    });
    let nodes = status.nodes.into_iter().map(|n| v1::NodeStatus {
        node: n.node,
        connected: n.connected,
        containers: n.containers,
        calls: n.calls,
        dropped_on_node: n.dropped_on_node,
        sampled_containers: n.sampled_containers,
    });
    Ok(v1::GetStatusResponse { version: status.version, started_at, hops: hops.collect(), nodes: nodes.collect() })
}

/// As a table: a row for each hop, below it one for each reason that happened; then the nodes. Ends without a line break.
pub fn table(status: &v1::GetStatusResponse) -> String {
    let mut text = String::new();
    let since = status.started_at.as_ref().and_then(time).map_or_else(String::new, |t| format!(", since {t:.0}"));
    let _ = writeln!(text, "version {}{since}\n", clean(&status.version));
    let mut rows =
        vec![["HOP", "UNIT", "IN", "OUT", "DROPPED", "HELD", "BYTES HELD", "OF AT MOST", "WHEN FULL"].map(str::to_owned)];
    for hop in &status.hops {
        let of = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), bytes);
        rows.push([
            clean(&hop.name),
            clean(&hop.unit),
            hop.taken_in.to_string(),
            hop.passed_on.to_string(),
            dropped(hop).to_string(),
            hop.held.to_string(),
            of(hop.held_bytes),
            of(hop.capacity_bytes),
            clean(&hop.when_full),
        ]);
        for drop in hop.dropped.iter().filter(|d| d.count > 0) {
            let mut row = [const { String::new() }; 9];
            row[3] = clean(&drop.reason);
            row[4] = drop.count.to_string();
            rows.push(row);
        }
    }
    text.push_str(&aligned(&rows, &[2, 3, 4, 5, 6, 7]));
    for hop in &status.hops {
        let (name, unit) = (clean(&hop.name), clean(&hop.unit));
        let _ = match imbalance(hop) {
            0 => Ok(()),
            n if n > 0 => write!(text, "\n{name}: {n} {unit} more came in than are accounted for"),
            n => write!(text, "\n{name}: {} {unit} more are accounted for than came in", -n),
        };
    }
    if !status.nodes.is_empty() {
        let mut rows = vec![["NODE", "CONNECTED", "CONTAINERS", "SAMPLED", "CALLS", "DROPPED THERE"].map(str::to_owned)];
        rows.extend(status.nodes.iter().map(|n| {
            [
                clean(&n.node),
                if n.connected { "yes" } else { "no" }.to_owned(),
                n.containers.to_string(),
                n.sampled_containers.to_string(),
                n.calls.to_string(),
                n.dropped_on_node.to_string(),
            ]
        }));
        text.push_str("\n\n");
        text.push_str(&aligned(&rows, &[2, 3, 4, 5]));
    }
    text
}

fn time(t: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(t.seconds, t.nanos).ok()
}

/// Columns as wide as they must be, two blanks between them, `right` ones to the right; no blanks at a line's end.
fn aligned<const N: usize>(rows: &[[String; N]], right: &[usize]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cell = |(column, text): (usize, &String)| {
            let width = widths[column];
            if right.contains(&column) { format!("{text:>width$}") } else { format!("{text:<width$}") }
        };
        row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// In the largest binary unit that leaves at least 1, with one decimal where that is not exact.
fn bytes(n: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, size)| n >= *size) {
        None => format!("{n} B"),
        Some((unit, size)) if n.is_multiple_of(*size) => format!("{} {unit}", n / size),
        Some((unit, size)) => format!("{:.1} {unit}", n as f64 / *size as f64),
    }
}

/// Text from elsewhere, made harmless for a terminal; `-` where there is none.
fn clean(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.chars().map(|c| if c.is_control() { '?' } else { c }).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(taken_in: u64, passed_on: u64, drops: &[(&str, u64)], held: u64) -> v1::Hop {
        v1::Hop {
            name: "model queue".into(),
            unit: "windows".into(),
            taken_in,
            passed_on,
            dropped: drops.iter().map(|(reason, count)| v1::Drop { reason: (*reason).into(), count: *count }).collect(),
            held,
            held_bytes: Some(1536),
            capacity_bytes: Some(8 << 20),
            when_full: "drops the new".into(),
        }
    }

    fn status(hops: Vec<v1::Hop>) -> v1::GetStatusResponse {
        v1::GetStatusResponse {
            version: "1.2.3".into(),
            started_at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            hops,
            nodes: vec![v1::NodeStatus {
                node: "a\u{1b}b".into(),
                connected: true,
                containers: 30,
                calls: 1_000_000,
                dropped_on_node: 7,
                sampled_containers: 2,
            }],
        }
    }

    #[test]
    fn a_hop_balances_or_says_by_how_much_it_does_not() {
        for (hop, expect) in [
            (hop(0, 0, &[], 0), 0),
            (hop(10, 5, &[("full", 2), ("gone", 1)], 2), 0),
            (hop(10, 5, &[("full", 2)], 2), 1),
            (hop(10, 9, &[("full", 2)], 2), -3),
            (hop(u64::MAX, 0, &[("a", u64::MAX), ("b", u64::MAX)], 0), -i128::from(u64::MAX)),
        ] {
            assert_eq!(imbalance(&hop), expect, "{hop:?}");
        }
    }

    #[test]
    fn json_reads_back() {
        let bare = v1::GetStatusResponse { hops: vec![v1::Hop::default()], ..v1::GetStatusResponse::default() };
        for status in [status(vec![hop(u64::MAX, 5, &[("full", 2), ("gone", 0)], 2), hop(0, 0, &[], 0)]), bare] {
            assert_eq!(parse(&json(&status).to_string()).expect("its own JSON"), status);
        }
        let value = json(&status(vec![hop(9, 5, &[("full", 2)], 2)]));
        assert_eq!((&value["hops"][0]["dropped"]["full"], &value["started_at"]), (&2.into(), &"2023-11-14T22:13:20Z".into()));
        for (text, expect) in [
            ("", "not the JSON of a status"),
            ("{}", "missing field `version`"),
            (r#"{"version":"1","hops":[{"name":"a"}]}"#, "missing field `unit`"),
            (r#"{"version":"1","hops":[],"started_at":"noon"}"#, "bad started_at \"noon\""),
        ] {
            let said = parse(text).expect_err("refused").to_string();
            assert!(said.contains(expect), "{said}");
        }
    }

    #[test]
    fn the_table_shows_what_happened() {
        let shown = table(&status(vec![hop(10, 5, &[("full", 2), ("gone", 0)], 3), hop(1, 0, &[], 0)]));
        let expect = "\
version 1.2.3, since 2023-11-14T22:13:20Z

HOP          UNIT     IN   OUT  DROPPED  HELD  BYTES HELD  OF AT MOST  WHEN FULL
model queue  windows  10     5        2     3     1.5 KiB       8 MiB  drops the new
                          full        2
model queue  windows   1     0        0     0     1.5 KiB       8 MiB  drops the new
model queue: 1 windows more came in than are accounted for

NODE  CONNECTED  CONTAINERS  SAMPLED    CALLS  DROPPED THERE
a?b   yes                30        2  1000000              7";
        assert_eq!(shown, expect);
    }

    #[test]
    fn bytes_are_short() {
        for (n, expect) in [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1 << 20, "1 MiB"), ((3 << 30) + (1 << 29), "3.5 GiB")]
        {
            assert_eq!(bytes(n), expect);
        }
    }
}
