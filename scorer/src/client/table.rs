//! Scores and profiles as tables for people. *Pure.*
//!
//! In: messages of `surprisal.v1`. Out: text. Never: a control character that a workload chose.

use super::json::{owner, role, time, verdict};
use crate::judge::calibration::promise::statement;
use comfy_table::{ContentArrangement, Table, presets};
use std::fmt::Write as _;
use surprisal_proto::v1;

/// Calls shown before a surprising one.
const AFTER: usize = 4;

pub(super) fn new(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    table
}

pub(super) fn lines(table: &Table) -> String {
    table.lines().map(|l| l.trim().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Text from elsewhere, made harmless for a terminal; `-` where there is none.
pub(super) fn clean(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.chars().map(|c| if c.is_control() { '?' } else { c }).collect() }
}

/// The same, but nothing where there is none.
fn clean_or_empty(text: &str) -> String {
    if text.is_empty() { String::new() } else { clean(text) }
}

fn nats(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |n| format!("{n:.3}"))
}

fn short(id: &str) -> String {
    clean(id).chars().take(12).collect()
}

/// The verdict, and what of the container it does not rest on.
fn said(score: &v1::Score) -> String {
    let mut text = verdict(score.verdict()).to_owned();
    if !score.unscored_reason.is_empty() {
        let _ = write!(text, " ({})", clean(&score.unscored_reason));
    }
    for (word, ratio) in [("observed", score.observed_ratio), ("judged", score.judged_ratio)] {
        if let Some(ratio) = ratio {
            // Not all of it is not 100 %, however near.
            let _ = write!(text, ", {word} {:.0} %", (ratio * 100.0).min(99.0));
        }
    }
    if score.ended {
        text.push_str(", ended");
    }
    text
}

/// One row for each container.
pub fn scores(rows: &[v1::Score]) -> String {
    let header = [
        "NAMESPACE",
        "POD",
        "CONTAINER",
        "ID",
        "NODE",
        "VERDICT",
        "SCORE",
        "THRESHOLD",
        "PEAK",
        "WINDOWS",
        "CALLS",
        "LOSS",
        "WORKLOAD",
    ];
    let mut table = new(&header);
    for score in rows {
        let c = score.container.clone().unwrap_or_default();
        table.add_row([
            clean(&c.namespace),
            clean(&c.pod),
            clean(&c.name),
            short(&c.id),
            clean(&c.node),
            said(score),
            nats(score.score),
            nats(score.threshold),
            nats(score.peak_score),
            score.windows.to_string(),
            score.calls.to_string(),
            format!("{:.1}%", score.loss_ratio * 100.0),
            clean(&c.workload),
        ]);
    }
    lines(&table)
}

/// One container, with its evidence.
pub fn score(score: &v1::Score) -> String {
    let c = score.container.clone().unwrap_or_default();
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12}{value}");
    };
    row("container", clean(&c.id));
    row("workload", clean(&c.workload));
    match owner(&c).as_str() {
        "" => {}
        "guessed" => row("owner", "guessed from the pod's name".to_owned()),
        kind => row("owner", clean(kind)),
    }
    row("pod", format!("{} / {} / {}", clean(&c.namespace), clean(&c.pod), clean(&c.name)));
    if c.role() != v1::container::Role::Unspecified {
        let restarts = c.restarts.map_or_else(String::new, |n| format!(", restarted {n} times"));
        row("role", format!("{}{restarts}", role(c.role())));
    }
    if !c.labels.is_empty() {
        row("labels", c.labels.iter().map(|(name, value)| clean(&format!("{name}={value}"))).collect::<Vec<_>>().join(", "));
    }
    row("image", clean(&c.image));
    row("node", clean(&c.node));
    row("verdict", said(score));
    row("score", format!("{} nats/call, highest of the last {} s", nats(score.score), score.recent_seconds));
    row("threshold", format!("{} nats/call ({})", nats(score.threshold), clean(&score.threshold_source)));
    row(
        "peak",
        format!("{} nats/call at {}", nats(score.peak_score), time(score.peak_at.as_ref()).unwrap_or_else(|| "-".to_owned())),
    );
    row("profile", clean(&score.profile_version));
    row("windows", format!("{} scored, {} cut by gaps", score.windows, score.windows_gapped));
    row("calls", format!("{}, {:.2}% lost", score.calls, score.loss_ratio * 100.0));
    if score.names_left_out {
        row("names", "none: the agent on its node leaves them out (--no-names)".to_owned());
    }
    for (n, first) in score.first_times.iter().enumerate() {
        row(if n == 0 { "first time" } else { "" }, first_time(first));
    }
    for evidence in &score.evidence {
        // Where nothing is above the threshold, that need not be said of each.
        let below = score.verdict() == v1::Verdict::Anomalous && score.threshold.is_some_and(|t| evidence.score < t);
        let _ = write!(text, "\n{}", self::evidence(evidence, below));
    }
    text.trim_end().to_owned()
}

/// `below`: other windows caused the alarm.
fn evidence(e: &v1::Evidence, below: bool) -> String {
    let novelty = match e.novelty {
        nats if nats >= 0.001 => format!(" ({nats:.3} of it for calls that training never saw together)"),
        _ => String::new(),
    };
    let mut text = format!(
        "{:.3} nats/call{}{}: process {} (pid {}, tid {}{}), {} calls from number {} at {}\n",
        e.score,
        if below { ", below the threshold" } else { "" },
        novelty,
        clean(&e.process),
        e.tgid,
        e.tid,
        if e.by_exec { ", by exec" } else { "" },
        e.calls,
        e.first_sequence,
        time(e.at.as_ref()).unwrap_or_else(|| "-".to_owned())
    );
    for new in &e.new_names {
        let _ = writeln!(
            text,
            "  {:>6.2} nats  {} {} (never by this workload in {})",
            new.nats,
            clean(&new.did),
            clean(&new.name),
            heard_for(new.container_seconds)
        );
    }
    for s in &e.surprises {
        let times = if s.times > 1 { format!(" ×{}", s.times) } else { String::new() };
        let effect = if s.effect.is_empty() { String::new() } else { format!(": {}", clean(&s.effect)) };
        let never = if s.never_seen { ", never seen in training" } else { "" };
        let name = if s.name.is_empty() { String::new() } else { format!(" {}", clean(&s.name)) };
        let (call, p) = (clean(&s.call), s.probability);
        let _ = writeln!(text, "  {:>6.2} nats  {call}{name}{times}{effect}  (p = {p:.1e}{never})", s.surprisal);
        let after: Vec<_> = s.after.iter().skip(s.after.len().saturating_sub(AFTER)).map(|c| clean(c)).collect();
        let expected: Vec<_> = s.expected.iter().map(|x| format!("{} {:.0}%", clean(&x.call), x.probability * 100.0)).collect();
        if !after.is_empty() {
            let _ = writeln!(text, "               after {}", after.join(", "));
        }
        if !expected.is_empty() {
            let _ = writeln!(text, "               expected {}", expected.join(", "));
        }
    }
    text
}

/// Something done for the first time.
fn first_time(first: &v1::FirstTime) -> String {
    let new = first.name.clone().unwrap_or_default();
    let (did, name, heard) = (clean(&new.did), clean(&new.name), heard_for(new.container_seconds));
    let process = clean(&first.process);
    format!("{did} {name} (process {process}, pid {}; never by this workload in {heard}; {:.2} nats)", first.tgid, new.nats)
}

/// How long training listened.
fn heard_for(container_seconds: f64) -> String {
    match container_seconds / 3600.0 {
        hours if hours < 1.0 => format!("{:.0} container-minutes", container_seconds / 60.0),
        hours if hours < 48.0 => format!("{hours:.1} container-hours"),
        hours => format!("{:.1} container-days", hours / 24.0),
    }
}

/// Above the rows of `watch`.
pub fn watch_header() -> String {
    format!("{:<30} {:<12} {:<26} {:>8} {:>9} {:>8}  WORKLOAD", "TIME", "ID", "VERDICT", "SCORE", "THRESHOLD", "WINDOWS")
}

/// One change.
pub fn watch_row(score: &v1::Score) -> String {
    let c = score.container.clone().unwrap_or_default();
    format!(
        "{:<30} {:<12} {:<26} {:>8} {:>9} {:>8}  {}",
        time(score.scored_at.as_ref()).unwrap_or_else(|| "-".to_owned()),
        short(&c.id),
        said(score),
        nats(score.score),
        nats(score.threshold),
        score.windows,
        clean(&c.workload)
    )
}

/// One row for each profile.
pub fn profiles(rows: &[v1::Profile]) -> String {
    let mut table = new(&["WORKLOAD", "VERSION", "TRAINED", "CALLS", "TOKENS", "MEAN", "THRESHOLD", "SOURCE"]);
    for p in rows {
        table.add_row([
            clean(&p.workload),
            clean(&p.version),
            time(p.trained_at.as_ref()).unwrap_or_else(|| "-".to_owned()),
            p.trained_calls.to_string(),
            p.vocabulary.to_string(),
            nats(Some(p.held_out_mean)),
            nats(Some(p.threshold)),
            clean(&p.threshold_source),
        ]);
    }
    lines(&table)
}

/// One profile.
pub fn profile(p: &v1::Profile) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12}{value}");
    };
    row("workload", clean(&p.workload));
    row("version", clean(&p.version));
    row("trained", time(p.trained_at.as_ref()).unwrap_or_else(|| "-".to_owned()));
    row("image", clean(&p.image));
    row("calls", p.trained_calls.to_string());
    row("tokens", p.vocabulary.to_string());
    row("held out", format!("{} windows, mean {} nats/call", p.held_out_windows, nats(Some(p.held_out_mean))));
    for q in &p.quantiles {
        row("", format!("{:>5.1}%  {}", q.q * 100.0, nats(Some(q.score))));
    }
    let how = if p.extrapolated { ", extrapolated" } else { "" };
    row("calibrated", format!("{} nats/call{how}", nats(Some(p.calibrated_threshold))));
    let days = p.held_out_container_days;
    row("promise", statement(p.false_alarm_budget, &clean_or_empty(&p.promise), days, p.false_alarms_at_most));
    row("threshold", format!("{} nats/call ({})", nats(Some(p.threshold)), clean(&p.threshold_source)));
    if p.names.is_empty() {
        row("names", "none: what calls are about does not count".to_owned());
    }
    for (n, names) in p.names.iter().enumerate() {
        let alarms = if names.nats >= p.threshold { "" } else { ", below the threshold" };
        let v1::KnownNames { did, known, newcomers, nats } = names;
        let said = format!("{} {known} ({newcomers} came late); a new one is {nats:.2} nats{alarms}", clean(did));
        row(if n == 0 { "names" } else { "" }, said);
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests;
