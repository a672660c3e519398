//! What a person sees while training runs.
//!
//! In: steps and epochs. Out: a bar on a terminal, lines otherwise, on standard error. Never: a decision.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;

/// Shows progress.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Default for Progress {
    /// A bar where standard error is a terminal.
    fn default() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            if let Ok(style) = ProgressStyle::with_template("{prefix:>12} [{wide_bar}] {pos}/{len} {msg} {elapsed}") {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        Self { bar }
    }
}

impl Progress {
    /// A line that stays.
    pub fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    /// A pass begins.
    pub fn begin(&self, epoch: u32, epochs: u32, steps: usize) {
        if let Some(bar) = &self.bar {
            bar.set_prefix(format!("pass {epoch}/{epochs}"));
            bar.set_length(steps as u64);
            bar.set_position(0);
        }
    }

    /// A step is done.
    pub fn step(&self, loss: f64) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
            bar.set_message(format!("{loss:.3} nats/call"));
        }
    }

    /// Training is over.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
