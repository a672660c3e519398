//! Cosmos' table with ours beside it, in Markdown. *Pure.*
//!
//! In: the experiment's figures. Out: text. Never: a figure of one protocol under the other's name.

use serde_json::{Value, json};
use std::fmt::Write as _;

/// The columns, by key and by name.
const COLUMNS: [(&str, &str); 7] = [
    ("fpr", "FPR"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("accuracy", "accuracy"),
    ("f1", "F"),
    ("auc", "AUC"),
    ("tpr_at_fpr_0.01", "TPR at 1 % FPR"),
];

/// The order of rows; what is not named comes after.
const ORDER: [&str; 11] = [
    "surprisal",
    "lstm",
    "stide",
    "ngram",
    "nearest-set",
    "decision-tree",
    "k-means",
    "naive-bayes",
    "svm",
    "isolation-forest",
    "random-forest",
];

/// What Cosmos printed (thesis, Table 8). It does not say what of the data was trained on.
pub(super) fn cosmos() -> Value {
    json!({
        "lstm": { "fpr": 0.124, "precision": 0.96, "recall": 0.96, "accuracy": 0.969, "f1": 0.96, "auc": 0.948 },
        "decision-tree": { "fpr": 0.154, "precision": 0.959, "recall": 0.96, "accuracy": 0.959, "f1": 0.96, "auc": 0.927 },
        "k-means": { "auc": 0.423 },
        "naive-bayes": { "auc": 0.894 },
        "svm": { "auc": 0.517 },
    })
}

/// The whole table.
pub(super) fn markdown(figures: &Value) -> String {
    let mut text = String::new();
    let names: Vec<_> = COLUMNS.iter().map(|(_, name)| *name).collect();
    let _ = writeln!(text, "| protocol | method | {} |", names.join(" | "));
    let _ = writeln!(text, "|---|---|{}", "--:|".repeat(names.len()));
    for (method, row) in ordered(&figures["cosmos"]["methods"]) {
        let _ = writeln!(text, "| as printed in Cosmos, thesis | {method} |{}", cells(row));
    }
    for protocol in ["normal-only", "labelled-cv"] {
        for (method, row) in ordered(&figures["protocols"][protocol]) {
            if row.get("auc").is_some() {
                let _ = writeln!(text, "| {protocol} | {method} |{}", cells(row));
            }
        }
    }
    text.push('\n');
    for protocol in ["normal-only", "labelled-cv"] {
        if let Some(note) = figures["protocol_notes"][protocol].as_str() {
            let _ = writeln!(text, "{protocol}: {note}");
        }
        for (method, row) in ordered(&figures["protocols"][protocol]) {
            if let Some(why) = row.get("not_applicable").and_then(Value::as_str) {
                let _ = writeln!(text, "{protocol}: no {method}: {why}");
            }
        }
    }
    if figures["quick"] == true {
        text.push_str("With --quick: one trace of eight. Compare these figures with nothing.\n");
    }
    text
}

/// Methods that should have been measured and were not, with the reason.
pub(super) fn failed(figures: &Value) -> Vec<String> {
    let of = |protocol: &'static str| {
        let failed = ordered(&figures["protocols"][protocol]).into_iter();
        failed.filter_map(move |(method, row)| Some(format!("{protocol} {method}: {}", row.get("failed")?.as_str()?)))
    };
    of("normal-only").chain(of("labelled-cv")).collect()
}

/// Methods in the order of the table.
fn ordered(methods: &Value) -> Vec<(&str, &Value)> {
    let mut methods: Vec<_> = methods.as_object().into_iter().flatten().map(|(name, row)| (name.as_str(), row)).collect();
    methods.sort_by_key(|(name, _)| (ORDER.iter().position(|n| n == name).unwrap_or(ORDER.len()), *name));
    methods
}

fn cells(row: &Value) -> String {
    COLUMNS.iter().fold(String::new(), |mut text, (key, _)| {
        let _ = match row[key].as_f64() {
            Some(figure) => write!(text, " {figure:.3} |"),
            None => write!(text, " |"),
        };
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_name_their_protocol_and_keep_their_order() {
        let figures = json!({
            "cosmos": { "methods": cosmos() },
            "protocols": {
                "normal-only": {
                    "another": { "auc": 0.5 },
                    "decision-tree": { "not_applicable": "it needs labels" },
                    "lstm": { "auc": 0.83, "tpr_at_fpr_0.01": 0.125, "fpr": 0.01, "precision": null },
                },
                "labelled-cv": { "svm": { "auc": 0.98 }, "lstm": { "failed": "no luck" } },
            },
            "protocol_notes": { "normal-only": "of normal" },
            "quick": true,
        });
        let text = markdown(&figures);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "| protocol | method | FPR | precision | recall | accuracy | F | AUC | TPR at 1 % FPR |");
        assert_eq!(lines[2], "| as printed in Cosmos, thesis | lstm | 0.124 | 0.960 | 0.960 | 0.969 | 0.960 | 0.948 | |");
        assert_eq!(lines[4], "| as printed in Cosmos, thesis | k-means | | | | | | 0.423 | |");
        assert_eq!(lines[7], "| normal-only | lstm | 0.010 | | | | | 0.830 | 0.125 |");
        assert_eq!(lines[8], "| normal-only | another | | | | | | 0.500 | |");
        assert_eq!(lines[9], "| labelled-cv | svm | | | | | | 0.980 | |");
        assert_eq!(
            lines[10..],
            [
                "",
                "normal-only: of normal",
                "normal-only: no decision-tree: it needs labels",
                "With --quick: one trace of eight. Compare these figures with nothing."
            ]
        );
        assert_eq!(failed(&figures), ["labelled-cv lstm: no luck"]);
        for line in &lines[..10] {
            assert_eq!(line.matches('|').count(), 10, "{line}");
        }
    }
}
