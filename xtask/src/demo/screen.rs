//! What the demo shows: plain lines, coloured on a terminal.
//!
//! In: scores and texts. Out: stdout, and the same lines in colour for a picture of it. Never: takes over the
//! terminal; the output can be piped into a file, without colours.

use super::scores::Score;
use std::{
    io::{IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
    time::Duration,
};

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "1;31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
/// How much of the evidence is shown: the rest says much the same.
const WINDOWS: usize = 2;
const SURPRISES: usize = 3;
/// Width of a score's bar, characters.
const BAR: usize = 30;

/// What has been shown, in colour. The attacker's lines come from another thread.
static SHOWN: Mutex<String> = Mutex::new(String::new());

fn paint(text: &str, style: &str) -> String {
    format!("\x1b[{style}m{text}\x1b[0m")
}

/// Shows a line; its colours are dropped where stdout is no terminal or `NO_COLOR` is set.
fn show(line: &str) {
    anstream::println!("{line}");
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    shown.push_str(line);
    shown.push('\n');
}

/// All lines shown so far, with their colours as ANSI escape codes.
pub(super) fn shown() -> String {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A new part.
pub(super) fn title(text: &str) {
    show("");
    show(&paint(text, BOLD));
}

/// A line.
pub(super) fn say(text: &str) {
    show(&format!("   {text}"));
}

/// What the attacker types and sees.
pub(super) fn attacker(text: &str) {
    show(&format!("   {} {}", paint("attacker |", YELLOW), paint(text, DIM)));
}

/// A line that is written over, on a terminal only.
pub(super) fn progress(done: Duration, whole: Duration, bytes: u64) {
    if std::io::stdout().is_terminal() {
        let share = (done.as_secs_f64() / whole.as_secs_f64()).min(1.0);
        print!("\r   {} {:>3.0} s, {} KB recorded ", bar(share, 1.0), done.as_secs_f64(), bytes >> 10);
        let _ = std::io::stdout().flush();
    }
}

/// Leaves the line of [`progress`].
pub(super) fn end_progress() {
    if std::io::stdout().is_terminal() {
        println!();
    }
}

/// One line of a score.
pub(super) fn score(score: Option<&Score>) {
    show(&score_line(score));
}

/// Why the score is what it is.
pub(super) fn evidence(score: &Score) {
    for line in evidence_lines(score) {
        show(&line);
    }
}

pub(super) fn score_line(score: Option<&Score>) -> String {
    let Some(score) = score else { return "   (no score yet)".to_owned() };
    let (Some(value), Some(threshold)) = (score.value, score.threshold) else {
        return format!("   not scored: {}", score.unscored_reason);
    };
    let style = if score.is_anomalous() { RED } else { GREEN };
    // Three thresholds fill the bar.
    let text = format!("{} {value:6.2} nats a call, threshold {threshold:.2}", bar(value, 3.0 * threshold));
    format!("   {}  {}", paint(&text, style), paint(&score.verdict, style))
}

pub(super) fn evidence_lines(score: &Score) -> Vec<String> {
    let mut lines = Vec::new();
    for (n, first) in score.first_times.iter().filter(|first| first.new.did != "read").enumerate() {
        let head = if n == 0 { "for the first time:" } else { "" };
        let said = paint(&format!("{} {}", first.new.did, first.new.name), RED);
        lines.push(format!("   {head:<19} {said} (process {}, pid {}): {:.1} nats", first.process, first.pid, first.new.nats));
    }
    for window in score.evidence.iter().take(WINDOWS) {
        let head =
            format!("process {} (pid {}, thread {}): {:.2} nats a call", window.process, window.pid, window.tid, window.score);
        lines.push(format!("   {}", paint(&head, BOLD)));
        if !window.new_names.is_empty() {
            let new: Vec<_> = window.new_names.iter().map(|new| format!("{} {}", new.did, new.name)).collect();
            lines.push(format!("     for the first time: {}", paint(&new.join(", "), RED)));
        }
        for surprise in window.surprises.iter().take(SURPRISES) {
            let never = if surprise.never_seen { ", never seen in training" } else { "" };
            let name = if surprise.name.is_empty() { String::new() } else { format!(" {}", surprise.name) };
            let call = paint(&format!("{}{name}", surprise.call), RED);
            lines.push(format!("     {call} p = {:.1e}, {:.1} nats{never}", surprise.probability, surprise.surprisal));
            lines.push(format!("       {} {}", paint("after   ", DIM), surprise.after.join(", ")));
            let expected: Vec<_> =
                surprise.expected.iter().map(|e| format!("{} ({:.0} %)", e.call, 100.0 * e.probability)).collect();
            lines.push(format!("       {} {}", paint("expected", DIM), expected.join(", ")));
        }
    }
    lines
}

fn bar(value: f64, full: f64) -> String {
    let filled = ((value / full).clamp(0.0, 1.0) * BAR as f64).round() as usize;
    format!("▕{}{}▏", "█".repeat(filled), " ".repeat(BAR - filled))
}

#[cfg(test)]
mod tests {
    use super::{BAR, bar};

    #[test]
    fn bars_have_one_width() {
        for value in [-1.0, 0.0, 0.4, 1.0, 9.0, f64::NAN] {
            assert_eq!(bar(value, 1.0).chars().count(), BAR + 2, "{value}");
        }
    }
}
