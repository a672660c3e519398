//! Waiting for what takes time, with a bound and a name.
//!
//! In: a condition. Out: its value. Never: sleeps for a fixed time and hopes; the bound only ends a test that hangs.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Looks every 20 ms until `condition` gives something.
///
/// # Panics
/// When it gave nothing for `timeout`; the message says `what` was waited for.
#[track_caller]
pub fn wait_for<T>(what: &str, timeout: Duration, condition: impl FnMut() -> Option<T>) -> T {
    match try_wait_for(timeout, condition) {
        Some(value) => value,
        None => panic!("waited {} s for {what}", timeout.as_secs_f64()),
    }
}

/// Like [`wait_for`]; nothing when the time is over.
pub fn try_wait_for<T>(timeout: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() > deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(20));
    }
}
