//! How long to wait before the next try. Pure.
//!
//! In: failures, and a random number for each. Out: pauses. Never: sleeps, draws the number.
//!
//! Own code: `backon` adds its jitter to the pause, up to twice [`LONGEST`]; here the longest is a promise.

use std::time::Duration;

/// First pause, before jitter.
pub const FIRST: Duration = Duration::from_millis(100);
/// Longest pause, jitter included: a scorer that is back is found within it.
pub const LONGEST: Duration = Duration::from_secs(3);

/// Doubles from [`FIRST`] to [`LONGEST`]; each pause is cut by up to a half, so that the nodes of a
/// cluster do not come back all at once.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure. `jitter` is 0 to 1.
    pub fn next(&mut self, jitter: f64) -> Duration {
        let doubled = FIRST.saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1).min(31);
        doubled.min(LONGEST).mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// The last try was a success: batches got through, not only a connection.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(jitter: f64, n: usize) -> Vec<u128> {
        let mut backoff = Backoff::default();
        (0..n).map(|_| backoff.next(jitter).as_millis()).collect()
    }

    #[test]
    fn doubles_up_to_the_longest() {
        assert_eq!(pauses(0.0, 8), [100, 200, 400, 800, 1600, 3000, 3000, 3000]);
        assert_eq!(pauses(1.0, 8), [50, 100, 200, 400, 800, 1500, 1500, 1500]);
        assert_eq!(pauses(-7.0, 1), [100]);
        assert_eq!(pauses(0.0, 100).last(), Some(&3000));
    }

    #[test]
    fn starts_again_after_a_success() {
        let mut backoff = Backoff::default();
        backoff.next(0.0);
        backoff.next(0.0);
        backoff.reset();
        assert_eq!(backoff.next(0.0), FIRST);
    }
}
