//! Which step may start now.
//!
//! In: the steps that are wanted, those that run and those that are over. Out: those that may start. Never: starts anything.

use super::step::Step;

/// Where all steps are.
pub(super) struct Schedule {
    waiting: Vec<Step>,
    running: Vec<Step>,
}

impl Schedule {
    pub(super) fn new(steps: &[Step]) -> Self {
        Self { waiting: steps.to_vec(), running: Vec::new() }
    }

    /// Takes the steps that may start now: first in order, one in each lane, each after what it waits for.
    pub(super) fn start(&mut self) -> Vec<Step> {
        let mut started = Vec::new();
        for step in self.waiting.clone() {
            let unfinished = |other: &Step| self.waiting.contains(other) || self.running.contains(other);
            let taken = self.running.iter().any(|other| other.lane() == step.lane());
            if !taken && !step.after().iter().any(unfinished) {
                self.waiting.retain(|other| *other != step);
                self.running.push(step);
                started.push(step);
            }
        }
        started
    }

    pub(super) fn ended(&mut self, step: Step) {
        self.running.retain(|other| *other != step);
    }

    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::step::Lane;

    /// Every order in which steps can end: each time the one at `choice` modulo the running ones.
    fn order(steps: &[Step], choice: usize) -> Vec<(Step, Vec<Step>)> {
        let mut schedule = Schedule::new(steps);
        let mut order = Vec::new();
        let mut ended = Vec::new();
        while !schedule.is_over() {
            for step in schedule.start() {
                order.push((step, ended.clone()));
            }
            let mut lanes: Vec<_> = schedule.running.iter().map(|s| s.lane()).collect();
            lanes.dedup();
            assert_eq!(lanes.len(), schedule.running.len(), "one in each lane: {:?}", schedule.running);
            let step = schedule.running[choice % schedule.running.len()];
            schedule.ended(step);
            ended.push(step);
        }
        order
    }

    #[test]
    fn every_step_runs_once_after_what_it_waits_for() {
        for choice in 0..6 {
            let order = order(Step::ALL, choice);
            let mut ran: Vec<_> = order.iter().map(|(step, _)| *step).collect();
            ran.sort();
            assert_eq!(ran, Step::ALL);
            for (step, ended) in order {
                assert!(step.after().iter().all(|s| ended.contains(s)), "{step:?} after {ended:?}");
            }
        }
    }

    #[test]
    fn steps_that_are_not_wanted_are_not_waited_for() {
        for step in Step::ALL {
            assert_eq!(Schedule::new(&[*step]).start(), [*step]);
        }
        assert_eq!(Schedule::new(&[Step::Clippy, Step::E2e, Step::Fuzz]).start().len(), 3);
    }

    #[test]
    fn slow_steps_run_side_by_side() {
        let mut schedule = Schedule::new(&[Step::Unit, Step::Soak, Step::Kernels, Step::FuzzBuild, Step::Fuzz]);
        assert_eq!(schedule.start(), [Step::Unit, Step::Soak, Step::Kernels, Step::FuzzBuild]);
        assert!(schedule.start().is_empty());
        schedule.ended(Step::FuzzBuild);
        assert_eq!(schedule.start(), [Step::Fuzz]);
        assert_eq!(Step::FuzzBuild.lane(), Lane::Idle);
    }
}
