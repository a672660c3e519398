//! From a score to what is said of a container.
//!
//! In: scores with their evidence, held-out scores. Out: thresholds, verdicts, the evidence that is shown, runs of alarms.
//! Never: a clock, a name of a container.
//!
//! In data-flow order: [`calibration`] draws the threshold from held-out scores; [`threshold`] says which one is in force;
//! [`verdict`] judges and chooses the evidence; [`alarms`] counts verdicts of one cause as one.

pub mod alarms;
pub mod calibration;
pub mod threshold;
pub mod verdict;
