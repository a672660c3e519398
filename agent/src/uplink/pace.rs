//! What was sent over the last seconds. Pure.
//!
//! In: bytes sent in all, and when. Out: bytes a second. Never: reads a clock.

use std::{collections::VecDeque, time::Duration};

/// What was sent over the last seconds.
#[derive(Debug, Default)]
pub(super) struct Pace(VecDeque<(Duration, u64)>);

impl Pace {
    const OVER: Duration = Duration::from_secs(5);
    const EVERY: Duration = Duration::from_millis(250);

    /// Takes what was sent in all.
    pub(super) fn mark(&mut self, now: Duration, sent: u64) {
        if self.0.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= Self::EVERY) {
            while self.0.pop_front_if(|(at, _)| now.saturating_sub(*at) > Self::OVER).is_some() {}
            self.0.push_back((now, sent));
        }
    }

    /// Bytes a second, mean of the last 5 s.
    pub(super) fn rate(&self, now: Duration, sent: u64) -> f64 {
        let first = self.0.iter().find(|(at, _)| now.saturating_sub(*at) <= Self::OVER);
        first.map_or(0.0, |(at, then)| (sent - then) as f64 / (now.saturating_sub(*at)).max(Self::EVERY).as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_seconds() {
        let (mut pace, ms) = (Pace::default(), Duration::from_millis);
        assert!(pace.rate(ms(0), 0) <= 0.0);
        for n in 0..100 {
            pace.mark(ms(100 * n), 100 * n);
        }
        assert!(pace.0.len() <= 22, "{}", pace.0.len());
        assert!((pace.rate(ms(10_000), 10_000) - 1000.0).abs() < 1.0);
        assert!((pace.rate(ms(12_000), 10_000) - 600.0).abs() < 50.0, "{}", pace.rate(ms(12_000), 10_000));
        assert!(pace.rate(ms(20_000), 10_000) <= 0.0);
    }
}
