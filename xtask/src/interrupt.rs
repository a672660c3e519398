//! Ctrl-C and SIGTERM: a command ends early, and cleans up.
//!
//! In: a signal. Out: an error at the next [`Interrupt::check`]. Never: ends the process; what was started ends as values
//! are dropped.

use crate::shell::Exit;
use anyhow::{Context as _, Result};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Exit code of what was interrupted, as shells have it.
const INTERRUPTED: u8 = 130;

/// Knows whether it is time to end.
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From here on the two signals end nothing by themselves.
    pub(crate) fn catch() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&flag)).context("catching signals")?;
        }
        Ok(Self(flag))
    }

    /// An error when a signal has come.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Exit::new(INTERRUPTED, "interrupted; everything that was started is ended").into());
        }
        Ok(())
    }

    /// Sleeps; an error as soon as a signal has come.
    pub(crate) fn sleep(&self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            self.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(Duration::from_millis(100)));
        }
    }
}
