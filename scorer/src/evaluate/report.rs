//! Figures for programs and for people. *Pure.*
//!
//! In: figures of methods in protocols. Out: JSON, and tables for a terminal or in Markdown. Never: a time of day or a
//! duration, unless asked for: the same data, seed and options give the same bytes.

use crate::evaluate::abi::Abi;
use crate::evaluate::data::{DataSet, Kind, Set};
use crate::evaluate::figures::Figures;
use crate::evaluate::leakage::Leakage;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What became of a method.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// Its figures.
    Figures(Box<Figures>),
    /// It is not made for the protocol.
    NotApplicable {
        /// Why.
        not_applicable: String,
    },
    /// It should have worked.
    Failed {
        /// Why it did not.
        failed: String,
    },
}

/// One part of the data set.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Part {
    /// Files.
    pub files: u64,
    /// Traces, or windows.
    pub items: u64,
    /// Of these, items of attacks.
    pub attack_items: u64,
    /// Calls, without context.
    pub calls: u64,
}

/// The data set.
#[derive(Clone, Debug, Serialize)]
pub struct Data {
    /// As it was given.
    pub path: String,
    /// What the items are.
    pub kind: Kind,
    /// Numbering of calls.
    pub abi: Abi,
    /// Workload, of recordings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// By name of the part.
    pub sets: BTreeMap<&'static str, Part>,
    /// Items of each attack family.
    pub families: BTreeMap<String, usize>,
    /// What training and test have in common.
    pub leakage: Leakage,
    /// What was left out, in words.
    pub left_out: Vec<String>,
}

impl Data {
    /// Describes a data set.
    pub fn of(path: String, data: &DataSet, abi: Abi, workload: Option<String>, leakage: Leakage) -> Self {
        let mut sets: BTreeMap<&'static str, Part> = Set::ALL.map(|s| (s.name(), Part::default())).into();
        for file in &data.files {
            sets.entry(file.set.name()).or_default().files += 1;
        }
        for item in data.train.iter().chain(&data.test) {
            let part = sets.entry(item.set.name()).or_default();
            part.items += 1;
            part.attack_items += u64::from(item.is_attack());
            part.calls += (item.calls.len() - item.context) as u64;
        }
        let left_out = data.left_out.clone();
        Self { path, kind: data.kind, abi, workload, sets, families: data.families(), leakage, left_out }
    }
}

/// Folds of the labelled protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FoldCounts {
    /// Folds.
    pub folds: usize,
    /// Items that are identical to one in another fold.
    pub duplicates_across_folds: u64,
    /// Identical items were kept in one fold.
    pub grouped: bool,
}

/// Everything that one run of `evaluate` says.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was judged.
    pub data: Data,
    /// Seed of everything random.
    pub seed: u64,
    /// Resamples of the AUC's intervals.
    pub bootstrap: u32,
    /// Share of held-out normal items that may lie above the threshold.
    pub target_fpr: f64,
    /// By protocol, by method.
    pub protocols: BTreeMap<&'static str, BTreeMap<String, Outcome>>,
    /// By protocol: what it is, in words.
    pub protocol_notes: BTreeMap<&'static str, String>,
    /// Only of the labelled protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folds: Option<FoldCounts>,
    /// Seconds to fit and to score, by protocol and method; only when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<BTreeMap<&'static str, BTreeMap<String, Timing>>>,
    /// Methods in the order of a table.
    #[serde(skip)]
    pub order: Vec<String>,
}

/// How long a method took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Timing {
    /// To fit, all fits of the protocol together.
    pub fit_seconds: f64,
    /// To score.
    pub score_seconds: f64,
}

impl Report {
    /// As JSON, indented, keys of maps in alphabetical order.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// As tables.
    pub fn tables(&self, style: Style) -> String {
        let mut text = self.head();
        for (protocol, methods) in &self.protocols {
            let ordered: Vec<_> = self.order.iter().filter_map(|m| Some((m.as_str(), methods.get(m)?))).collect();
            let _ = write!(text, "\n{}\n\n{}\n", style.heading(protocol), self.protocol_notes.get(protocol).map_or("", |n| n));
            let _ = write!(text, "\n{}\n", methods_table(&ordered, style));
            let found: Vec<_> = ordered.iter().filter_map(|(m, o)| figures(o).map(|f| (*m, f))).collect();
            if found.iter().any(|(_, f)| f.families.len() > 1) {
                let _ = write!(text, "\n{}\n\n{}\n", style.heading("recall by family"), families_table(&found, style));
            }
            if found.iter().any(|(_, f)| f.detection.is_some()) {
                let _ = write!(text, "\n{}\n\n{}\n", style.heading("attacks and alarms"), detection_table(&found, style));
            }
            if let Some((_, f)) = found.iter().find(|(_, f)| f.held_out_too_few) {
                let _ = write!(
                    text,
                    "\nThe threshold is the highest of {} held-out {}s: they are too few for a share of {}, and it promises nothing.\n",
                    f.held_out, f.grain, self.target_fpr
                );
            }
            for (method, outcome) in &ordered {
                match outcome {
                    Outcome::NotApplicable { not_applicable: why } | Outcome::Failed { failed: why } => {
                        let _ = write!(text, "\n{method}: {why}");
                    }
                    Outcome::Figures(_) => {}
                }
            }
        }
        text.trim_end().to_owned() + "\n"
    }

    fn head(&self) -> String {
        let mut text = String::new();
        for (name, part) in &self.data.sets {
            let items = if self.data.kind == Kind::Traces { "traces" } else { "windows" };
            let _ = writeln!(
                text,
                "{name}: {} {items} ({} of attacks), {} calls, {} file(s)",
                part.items, part.attack_items, part.calls, part.files
            );
        }
        let _ = writeln!(text, "seed {}, {} numbering", self.seed, self.data.abi.name());
        if !self.data.leakage.is_none() {
            let _ = writeln!(text, "leakage: {}", self.data.leakage);
        }
        for what in &self.data.left_out {
            let _ = writeln!(text, "left out: {what}");
        }
        text
    }
}

/// How tables look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// On a terminal.
    Plain,
    /// In a document.
    Markdown,
}

impl Style {
    fn heading(self, text: &str) -> String {
        if self == Self::Markdown { format!("### {text}") } else { format!("== {text}") }
    }

    fn table(self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(if self == Self::Markdown { presets::ASCII_MARKDOWN } else { presets::NOTHING });
        table.set_content_arrangement(ContentArrangement::Disabled).set_header(header);
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    fn lines(self, table: &Table) -> String {
        let line = |l: String| if self == Self::Markdown { l } else { l.trim().to_owned() };
        table.lines().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn figures(outcome: &Outcome) -> Option<&Figures> {
    if let Outcome::Figures(f) = outcome { Some(f) } else { None }
}

/// What is not there.
const NONE: &str = "—";

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |v| format!("{v:.3}"))
}

fn methods_table(methods: &[(&str, &Outcome)], style: Style) -> String {
    let header = [
        "method",
        "grain",
        "AUC",
        "95 %",
        "TPR@0.1%",
        "TPR@1%",
        "TPR@5%",
        "threshold",
        "FPR",
        "precision",
        "recall",
        "accuracy",
        "F1",
    ];
    let mut table = style.table(&header);
    for (method, outcome) in methods {
        let Some(f) = figures(outcome) else {
            table.add_row(std::iter::once((*method).to_owned()).chain(header[1..].iter().map(|_| NONE.to_owned())));
            continue;
        };
        for f in [Some(f), f.window.as_deref()].into_iter().flatten() {
            table.add_row([
                (*method).to_owned(),
                f.grain.to_owned(),
                number(f.auc),
                f.auc_interval.map_or_else(|| NONE.to_owned(), |[low, high]| format!("{low:.3}-{high:.3}")),
                number(f.tpr_at_fpr_0_001),
                number(f.tpr_at_fpr_0_01),
                number(f.tpr_at_fpr_0_05),
                number(f.threshold),
                number(f.fpr),
                number(f.precision),
                number(f.recall),
                number(f.accuracy),
                number(f.f1),
            ]);
        }
    }
    style.lines(&table)
}

fn families_table(methods: &[(&str, &Figures)], style: Style) -> String {
    let mut families: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, f) in methods {
        families.extend(f.families.iter().map(|(name, family)| (name.as_str(), family.items)));
    }
    let mut table = style.table(&["family", "items"].into_iter().chain(methods.iter().map(|(m, _)| *m)).collect::<Vec<_>>());
    for (family, items) in families {
        let row = methods.iter().map(|(_, f)| number(f.families.get(family).and_then(|f| f.recall)));
        table.add_row([clean(family), items.to_string()].into_iter().chain(row));
    }
    style.lines(&table)
}

fn detection_table(methods: &[(&str, &Figures)], style: Style) -> String {
    let mut table = style.table(&[
        "method",
        "attacks",
        "detected",
        "median seconds",
        "false alarms",
        "normal container-hours",
        "a container-day",
    ]);
    for (method, f) in methods {
        let Some(d) = &f.detection else { continue };
        table.add_row([
            (*method).to_owned(),
            d.attacks.to_string(),
            d.detected.to_string(),
            number(d.median_seconds_to_detection),
            d.consecutive_false_alarms.to_string(),
            number(Some(d.normal_container_hours)),
            d.false_alarms_per_container_day.map_or_else(|| NONE.to_owned(), |n| format!("{n:.1}")),
        ]);
    }
    style.lines(&table)
}

/// A name from a file system, made harmless for a terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
