//! Advice on thresholds, as a table or as JSON. *Pure.*
//!
//! In: [`Advice`]. Out: text. Never: a judgement of its own; what little the advice stands on is said with it.

use super::json::pretty;
use super::table::{clean, lines, new};
use crate::advise::Advice;
use crate::cli::ask::Output;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Writes it.
pub fn print(advice: &[Advice], output: Output, out: &mut impl Write) -> io::Result<()> {
    match output {
        Output::Json => writeln!(out, "{}", pretty(&advice))?,
        Output::Table => writeln!(out, "{}", advice.iter().map(table).collect::<Vec<_>>().join("\n\n"))?,
    }
    Ok(())
}

fn table(advice: &Advice) -> String {
    let mut text = format!("{} (profile {})\n", clean(&advice.workload), clean(&advice.version));
    let labels = if advice.labels.is_empty() { "not labelled".to_owned() } else { clean(&advice.labels.join(", ")) };
    let _ = writeln!(
        text,
        "{} windows of {} container(s) in {:.3} container-hours, {labels}; {} not scored; highest {}",
        advice.windows,
        advice.containers,
        advice.container_seconds / 3600.0,
        advice.unscored,
        advice.highest.map_or_else(|| "-".to_owned(), |n| format!("{n:.3}")),
    );
    let mut table = new(&["THRESHOLD", "OF THE ONE IN FORCE", "WINDOWS", "ALERTS", "A CONTAINER-DAY", "NO MORE THAN (95%)"]);
    let a_day =
        |n: Option<f64>| n.map_or_else(|| "-".to_owned(), |n| if n < 10.0 { format!("{n:.2}") } else { format!("{n:.0}") });
    for row in &advice.rows {
        let in_force = (row.multiple - 1.0).abs() < 1e-9;
        table.add_row([
            format!("{:.3}", row.threshold),
            if in_force { format!("in force ({})", clean(&advice.threshold_source)) } else { format!("×{}", row.multiple) },
            row.windows.to_string(),
            row.alerts.to_string(),
            a_day(row.alerts_per_container_day),
            a_day(row.at_most_per_container_day),
        ]);
    }
    text.push_str(&lines(&table));
    let _ = write!(
        text,
        "\nalerts: stretches at or above the threshold, as serving counts them; what happens more rarely than once in {:.3} \
         container-hours is not in these figures",
        advice.container_seconds / 3600.0
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advise::Row;

    #[test]
    fn the_threshold_in_force_stands_out_and_the_basis_is_said() {
        let row = |multiple: f64, alerts: u64| Row {
            threshold: 2.0 * multiple,
            multiple,
            windows: alerts * 3,
            alerts,
            alerts_per_container_day: Some(alerts as f64 * 24.0),
            at_most_per_container_day: None,
        };
        let advice = Advice {
            workload: "shop/web\u{1b}/nginx".into(),
            version: "0a1b".into(),
            labels: vec!["normal".into()],
            containers: 1,
            container_seconds: 3600.0,
            windows: 100,
            unscored: 0,
            threshold: 2.0,
            threshold_source: "profile".into(),
            highest: Some(2.5),
            rows: vec![row(0.5, 2), row(1.0, 1), row(1.5, 0)],
        };
        let text = table(&advice);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        let lines: Vec<_> = text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines[1], "100 windows of 1 container(s) in 1.000 container-hours, normal; 0 not scored; highest 2.500");
        assert_eq!(lines[3..6], ["1.000 ×0.5 6 2 48 -", "2.000 in force (profile) 3 1 24 -", "3.000 ×1.5 0 0 0.00 -"]);
        assert!(text.ends_with("once in 1.000 container-hours is not in these figures"));
        let mut json = Vec::new();
        print(&[advice], Output::Json, &mut json).expect("writes");
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!((json[0]["rows"][1]["alerts"].as_u64(), json[0]["threshold"].as_f64()), (Some(1), Some(2.0)));
        assert!(json[0]["rows"][1]["at_most_per_container_day"].is_null());
    }
}
