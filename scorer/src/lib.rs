//! The centre: from the calls of containers to a score, a verdict and its evidence.
//!
//! In data-flow order:
//! - [`ingest`] takes batches from agents: checked, bounded, each once;
//! - [`containers`] knows whose they are, cuts their threads into windows, keeps what was found in them;
//! - [`detect`] says how unlike normal a window is, in nats, and which calls make it so ([`detect::detector`]);
//! - [`inference`] is the thread that owns the detector, and batches for it;
//! - [`judge`] calibrates thresholds, and makes verdicts and evidence;
//! - [`profile`] is what is normal for a workload, persisted ([`profile::store`]);
//! - [`serve`] answers for all of it.
//!
//! Tools beside it: [`train`] makes training data of recordings, [`evaluate`] compares methods on data sets with attacks, [`advise`]
//! says how many alerts which threshold would have raised, [`client`] asks from the command line.
//!
//! What every program has: [`cli`], [`config`], [`program`] (parse, log, exit code), [`run`] (a command's work), [`app`] (starts and
//! owns all tasks of `serve`), [`shutdown`]. What every stage has: [`flow`] (a hop's balance), [`metrics`], [`cause`] (an error as a
//! line).
//!
//! **Invariant:** every map and queue is bounded, and what is dropped is counted in [`metrics`].
//!
//! **Invariant:** no file uses an item of the file that declares it, or imports another in a circle.
#![forbid(unsafe_code)]

pub mod advise;
pub mod app;
pub mod cause;
pub mod cli;
pub mod client;
pub mod config;
pub mod containers;
pub mod detect;
pub mod evaluate;
pub mod flow;
pub mod inference;
pub mod ingest;
pub mod judge;
pub mod metrics;
pub mod profile;
pub mod program;
pub mod run;
pub mod serve;
pub mod shutdown;
pub mod train;
