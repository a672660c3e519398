//! What went through one hop: taken in = passed on + dropped, by reason, + held. *Pure.*
//!
//! In: counts from the stage that owns the hop. Out: the hop as `surprisal.v1` has it, and `dropped_total` in the metrics.
//! Never: a reason outside the hop's closed set.
//!
//! A [`Flow`] balances by construction; that `held` is what the stage really holds is what tests have to show.

use crate::metrics::Metrics;
use surprisal_proto::v1;

/// What a hop is.
#[derive(Clone, Copy, Debug)]
pub struct Hop {
    /// Its name in `surprisal.v1.Hop`.
    pub name: &'static str,
    /// What is counted; also the stage in `dropped_total`.
    pub unit: &'static str,
    /// Why something may be dropped there.
    pub reasons: &'static [&'static str],
    /// What happens when it is full.
    pub when_full: &'static str,
}

/// The counts of one hop, since the start.
#[derive(Clone, Debug)]
pub struct Flow {
    hop: Hop,
    taken_in: u64,
    passed_on: u64,
    dropped: Vec<u64>,
    held: u64,
    metrics: Metrics,
}

impl Flow {
    /// Nothing has happened yet.
    pub fn new(hop: Hop, metrics: Metrics) -> Self {
        Self { hop, taken_in: 0, passed_on: 0, dropped: vec![0; hop.reasons.len()], held: 0, metrics }
    }

    /// So many came in; they are held until [`Self::pass`] or [`Self::discard`] says otherwise.
    pub fn take(&mut self, n: u64) {
        self.taken_in += n;
        self.held += n;
    }

    /// So many of those that are held went on.
    pub fn pass(&mut self, n: u64) {
        self.passed_on += n;
        self.release(n);
    }

    /// So many of those that are held were dropped.
    pub fn discard(&mut self, reason: &'static str, n: u64) {
        let at = self.hop.reasons.iter().position(|r| *r == reason);
        debug_assert!(at.is_some(), "{reason} is no reason at {}", self.hop.name);
        if let Some(count) = at.and_then(|at| self.dropped.get_mut(at)) {
            *count += n;
        }
        self.metrics.drop(self.hop.unit, reason, n);
        self.release(n);
    }

    fn release(&mut self, n: u64) {
        debug_assert!(n <= self.held, "{n} leave {}, which holds {}", self.hop.name, self.held);
        self.held = self.held.saturating_sub(n);
    }

    /// Held now.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Taken in so far.
    pub fn taken_in(&self) -> u64 {
        self.taken_in
    }

    /// For those who ask. Bytes are the stage's own estimate; `None`: it holds nothing between calls.
    pub fn hop(&self, held_bytes: Option<u64>, capacity_bytes: Option<u64>) -> v1::Hop {
        let dropped = self.hop.reasons.iter().zip(&self.dropped);
        v1::Hop {
            name: self.hop.name.to_owned(),
            unit: self.hop.unit.to_owned(),
            taken_in: self.taken_in,
            passed_on: self.passed_on,
            dropped: dropped.map(|(reason, count)| v1::Drop { reason: (*reason).to_owned(), count: *count }).collect(),
            held: self.held,
            held_bytes,
            capacity_bytes,
            when_full: self.hop.when_full.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use surprisal_proto::status::imbalance;

    #[test]
    fn what_comes_in_goes_somewhere() {
        let metrics = Metrics::default();
        let hop = Hop { name: "model queue", unit: "windows", reasons: &["full", "late"], when_full: "drops the new" };
        let mut flow = Flow::new(hop, metrics.clone());
        flow.take(10);
        flow.pass(4);
        flow.discard("late", 3);
        let hop = flow.hop(Some(1), None);
        assert_eq!((hop.taken_in, hop.passed_on, hop.held, imbalance(&hop)), (10, 4, 3, 0));
        let drops: Vec<_> = hop.dropped.iter().map(|d| (d.reason.as_str(), d.count)).collect();
        assert_eq!((drops, metrics.dropped("windows", "late")), (vec![("full", 0), ("late", 3)], 3));
    }
}
