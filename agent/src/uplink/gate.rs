//! Whose calls come into the queue: the byte budget at work. Pure.
//!
//! In: every record before it costs memory, the time, what batches weighed. Out: yes or no, and what to announce. Never:
//! refuses anything but calls.

use super::{
    budget::{Budget, Id, PLAN_EVERY},
    meter::{Contents, Meter},
};
use crate::record::Record;
use std::{collections::BTreeMap, time::Duration};

/// Meters all containers and mutes some in turns.
#[derive(Debug)]
pub struct Gate {
    meter: Meter,
    budget: Budget,
    next: Duration,
}

impl Gate {
    /// `limit`: bytes a second on the wire, above 0.
    pub fn new(limit: f64) -> Self {
        Self { meter: Meter::default(), budget: Budget::new(limit), next: Duration::ZERO }
    }

    /// Whether a record is to be sent. It is metered either way.
    pub fn admits(&mut self, record: &Record) -> bool {
        self.meter.add(record);
        match record {
            Record::Calls { container, .. } => self.budget.is_on_air(container.id.as_str()),
            _ => true,
        }
    }

    /// Plans anew when it is time; returns the shares of time to announce.
    pub fn look(&mut self, now: Duration) -> Vec<(Id, f64)> {
        if now < self.next {
            return Vec::new();
        }
        self.next = now + PLAN_EVERY;
        let (demands, fixed) = self.meter.roll(now);
        self.budget.plan(&demands, fixed, now)
    }

    /// A batch weighed so much on the wire.
    pub fn learn(&mut self, contents: &Contents, wire_bytes: usize) {
        self.meter.learn(contents, wire_bytes);
    }

    /// Containers that are sampled now, and the share of time in which each is sent.
    pub fn shares(&self) -> &BTreeMap<Id, f64> {
        self.budget.sampled()
    }

    /// Bytes a second.
    pub fn limit(&self) -> f64 {
        self.budget.limit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        container::{ContainerInfo, ContainerKey, Kind, Names},
        record::Run,
    };
    use jiff::Timestamp;
    use std::sync::Arc;

    fn info(id: &str) -> Arc<ContainerInfo> {
        let names = Names { kind: Kind::Container, ..Names::default() };
        Arc::new(ContainerInfo::named(ContainerKey(1), "n".into(), id.parse().expect("an id"), names, None))
    }

    fn calls(container: &Arc<ContainerInfo>, n: usize) -> Record {
        let run = Run {
            tgid: 1,
            tid: 1,
            process: "p".into(),
            first_seq: 0,
            started: Timestamp::UNIX_EPOCH,
            gap: 0,
            tokens: vec![7; n],
            last: false,
            by_exec: false,
        };
        Record::Calls { container: Arc::clone(container), run }
    }

    /// Bytes a second that are let through, by container, over `seconds`; each container makes so many calls in 100 ms.
    fn let_through(gate: &mut Gate, loads: &[(&str, usize)], from: u32, seconds: u32) -> BTreeMap<String, f64> {
        let mut through = BTreeMap::new();
        let containers: Vec<_> = loads.iter().map(|(id, n)| (info(id), *n)).collect();
        for step in from * 10..(from + seconds) * 10 {
            gate.look(Duration::from_millis(100) * step);
            let (mut sent, mut wire) = (Vec::new(), 0.0);
            for (container, n) in &containers {
                if gate.admits(&calls(container, *n)) {
                    sent.push((container.id.to_string(), *n));
                    // One byte in ten calls, and framing.
                    wire += *n as f64 / 10.0;
                    *through.entry(container.id.to_string()).or_default() += *n as f64 / 10.0 / f64::from(seconds);
                }
            }
            let runs = sent.iter().map(|(id, n)| surprisal_proto::v1::Calls {
                container_id: id.clone(),
                tokens: vec![0; 2 * n],
                ..Default::default()
            });
            let batch = surprisal_proto::v1::Batch { calls: runs.collect(), ..Default::default() };
            gate.learn(&Contents::of(&batch), wire as usize);
        }
        through
    }

    #[test]
    fn ten_times_too_much_is_brought_to_the_budget_and_all_is_whole_again_within_five_seconds() {
        // 10 KiB/s; the small one costs 100 bytes a second, the others 25,000 each.
        let mut gate = Gate::new(10_240.0);
        let busy = [("loud1", 25_000), ("loud2", 25_000), ("loud3", 25_000), ("loud4", 25_000), ("small", 100)];
        let_through(&mut gate, &busy, 0, 60);
        assert_eq!(gate.shares().len(), 4);
        let through = let_through(&mut gate, &busy, 60, 400);
        let sum: f64 = through.values().sum();
        assert!(sum < 10_240.0 * 1.1 && sum > 10_240.0 * 0.5, "{through:?}");
        assert!((through["small"] - 100.0).abs() < 1e-6, "{through:?}");
        assert!(busy.iter().all(|(id, _)| through[*id] > 0.0), "{through:?}");

        let calm = busy.map(|(id, _)| (id, 1_000));
        let_through(&mut gate, &calm, 460, 5);
        assert_eq!(gate.shares().len(), 0);
        let through = let_through(&mut gate, &calm, 465, 10);
        assert!(through.values().all(|rate| (rate - 1_000.0).abs() < 1e-6), "{through:?}");
    }
}
