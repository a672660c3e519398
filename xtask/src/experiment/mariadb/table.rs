//! Figures of loads, for people and for programs. *Pure.*
//!
//! In: what `surprisal-scorer evaluate` says of each load. Out: a table in Markdown beside Cosmos', and the figures that
//! others look for in the report. Never: a figure that is in neither.

use super::load::Load;
use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};
use std::{collections::BTreeSet, fmt::Write as _};

/// What Cosmos printed for mysqlslap on a containerised `MySQL` attacked with sqlmap: AUC. Source: Cosmos, the thesis.
const COSMOS: [(Load, f64); 3] = [
    (Load { clients: 100, queries: 20 }, 0.858),
    (Load { clients: 200, queries: 40 }, 0.828),
    (Load { clients: 500, queries: 60 }, 0.790),
];

/// What the report says of the methods, by name.
fn methods(report: &Value) -> Result<&Map<String, Value>> {
    report["protocols"]["normal-only"].as_object().context("the report has no protocols.normal-only")
}

/// The load's entry for programs: the methods, and the rest of the report.
pub(super) fn figures(load: Load, report: &Value) -> Result<Value> {
    Ok(json!({ "clients": load.clients, "queries": load.queries, "methods": methods(report)?, "data": report["data"] }))
}

/// Methods in the order of a table; others follow by name.
pub(super) const ORDER: [&str; 3] = ["surprisal", "lstm", "stide"];

/// AUC and TPR at 1 % FPR of each method at each load, of slots of a second.
pub(super) fn markdown(loads: &[(Load, Value)]) -> String {
    let known: BTreeSet<&str> =
        loads.iter().filter_map(|(_, r)| methods(r).ok()).flat_map(Map::keys).map(String::as_str).collect();
    let rest = known.iter().copied().filter(|name| !ORDER.contains(name));
    let names: Vec<_> = ORDER.into_iter().filter(|name| known.contains(name)).chain(rest).collect();
    let mut text = "| method |".to_owned();
    for (load, _) in loads {
        let _ = write!(text, " {load}: AUC | TPR at 1 % FPR |");
    }
    text.push_str("\n|---|");
    text.push_str(&"--:|--:|".repeat(loads.len()));
    for name in names {
        let _ = write!(text, "\n| {name} |");
        for (_, report) in loads {
            let method = &report["protocols"]["normal-only"][name];
            let _ = write!(text, " {} | {} |", figure(&method["auc"]), figure(&method["tpr_at_fpr_0.01"]));
        }
    }
    text.push_str("\n| Cosmos, as printed (its own MySQL and sqlmap) |");
    for (load, _) in loads {
        let printed = COSMOS.iter().find(|(l, _)| l == load).map_or(Value::Null, |(_, auc)| json!(auc));
        let _ = write!(text, " {} | - |", figure(&printed));
    }
    text.push('\n');
    text
}

/// AUC of `method` for each family of attacks at each load, against all that is normal.
pub(super) fn families(loads: &[(Load, Value)], method: &str) -> String {
    let of = |report: &Value| report["protocols"]["normal-only"][method]["families"].as_object().cloned().unwrap_or_default();
    let names: BTreeSet<String> = loads.iter().flat_map(|(_, r)| of(r).into_iter().map(|(name, _)| name)).collect();
    let mut text = format!("| {method}, AUC by attack |");
    for (load, _) in loads {
        let _ = write!(text, " {load} |");
    }
    text.push_str("\n|---|");
    text.push_str(&"--:|".repeat(loads.len()));
    for name in names {
        let _ = write!(text, "\n| {name} |");
        for (_, report) in loads {
            let _ = write!(text, " {} |", of(report).get(&name).map_or("-".to_owned(), |f| figure(&f["auc"])));
        }
    }
    text.push('\n');
    text
}

/// Methods that could not be measured, and why.
pub(super) fn failed(loads: &[(Load, Value)]) -> Vec<String> {
    let methods = loads.iter().filter_map(|(load, r)| Some((load, methods(r).ok()?)));
    let all = methods.flat_map(|(load, m)| m.iter().map(move |(name, figures)| (load, name, figures)));
    all.filter_map(|(load, name, f)| f["failed"].as_str().map(|why| format!("{name} at {load}: {why}"))).collect()
}

fn figure(value: &Value) -> String {
    value.as_f64().map_or("-".to_owned(), |v| format!("{v:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(auc: f64) -> Value {
        json!({ "data": { "kind": "windows" }, "protocols": { "normal-only": {
            "stide": { "auc": 0.5, "tpr_at_fpr_0.01": 0.25 },
            "surprisal": { "auc": auc, "tpr_at_fpr_0.01": null, "families": { "sqlmap": { "auc": auc } } },
            "svm": { "failed": "out of luck" },
        } } })
    }

    #[test]
    fn loads_stand_beside_each_other_with_cosmos_below() {
        let other = Load { clients: 1, queries: 2 };
        let loads = [(COSMOS[0].0, report(0.75)), (other, report(1.0))];
        let expected = "\
            | method | 100x20: AUC | TPR at 1 % FPR | 1x2: AUC | TPR at 1 % FPR |\n\
            |---|--:|--:|--:|--:|\n\
            | surprisal | 0.750 | - | 1.000 | - |\n\
            | stide | 0.500 | 0.250 | 0.500 | 0.250 |\n\
            | svm | - | - | - | - |\n\
            | Cosmos, as printed (its own MySQL and sqlmap) | 0.858 | - | - | - |\n";
        assert_eq!(markdown(&loads), expected);
        let expected = "| surprisal, AUC by attack | 100x20 | 1x2 |\n|---|--:|--:|\n| sqlmap | 0.750 | 1.000 |\n";
        assert_eq!(families(&loads, "surprisal"), expected);
        assert_eq!(failed(&loads), ["svm at 100x20: out of luck", "svm at 1x2: out of luck"]);
        let figures = figures(other, &loads[1].1).expect("figures");
        assert_eq!((&figures["clients"], &figures["methods"]["surprisal"]["auc"]), (&json!(1), &json!(1.0)));
        assert!(super::figures(other, &json!({})).is_err());
    }
}
