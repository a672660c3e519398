//! What the live demo and the replay share: a score a second, then the evidence.
//!
//! In: a container's scores. Out: the screen, and whether the demo showed what it promised. Never: starts or ends anything.

use super::{
    scores::{Score, Watch},
    screen,
};
use crate::{interrupt::Interrupt, shell::Exit};
use anyhow::Result;
use std::time::{Duration, Instant};

/// How long the verdict may take before the demo says that it failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Shows a line a second for `time` or until `done`; the last score.
pub(super) fn show(
    interrupt: &Interrupt,
    watch: &Watch,
    time: Duration,
    mut done: impl FnMut() -> bool,
) -> Result<Option<Score>> {
    let begin = Instant::now();
    let mut shown = 0;
    while begin.elapsed() < time && !done() {
        interrupt.sleep(Duration::from_millis(100))?;
        watch.check()?;
        if begin.elapsed().as_secs() >= shown {
            shown = begin.elapsed().as_secs() + 1;
            screen::score(watch.latest().as_ref());
        }
    }
    Ok(watch.latest())
}

/// The evidence, and whether the demo showed what it promised.
pub(super) fn conclude(before: Option<&Score>, after: Option<&Score>, turned: Option<Duration>, since: &str) -> Result<()> {
    screen::title("Why");
    match after {
        Some(score) => screen::evidence(score),
        None => screen::say("no score has come"),
    }
    let quiet = before.is_some_and(Score::is_normal);
    match (quiet, turned) {
        (true, Some(after)) => {
            screen::say(&format!("The verdict turned {:.1} s {since}. What the demo started is ended.", after.as_secs_f64()));
            Ok(())
        }
        (false, _) => Err(Exit::new(1, "the demo failed: normal load was not scored as normal before the attack").into()),
        (true, None) => Err(Exit::new(1, "the demo failed: the attack did not turn the verdict").into()),
    }
}
