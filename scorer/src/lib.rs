//! The centre: from the calls of containers to a score, a verdict and its evidence.
//!
//! In data-flow order: [`ingest`] takes batches from agents; [`containers`] knows whose they are and keeps
//! what is said of them; [`window`] cuts threads; [`vocab`] and [`model`] say how likely each call was;
//! [`inference`] owns the models; [`score`], [`threshold`] and [`verdict`] judge; [`query`] and [`profiles`]
//! answer. [`train`] makes a [`profile`] from recordings; [`advise`] says how many alerts ([`alarms`]) which threshold would
//! have raised in some. [`client`] asks from the command line.
//! [`evaluate`] compares it all with each [`baseline`] on data sets with attacks.
//!
//! **Invariant:** every map is bounded, and what is dropped is counted in [`metrics`].
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
