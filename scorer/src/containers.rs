//! Containers: what is known of each, its threads' windows, and its scores.
//!
//! In: checked batches (`ingest`, taken by `intake`), [`time`], judged windows (`inference`), thresholds.
//! Out: [`job::Job`]s for the model ([`queue`]), and views for queries ([`view`]). Never: a clock, a socket, a model: time is passed in.
//!
//! **Invariant:** everything here is bounded by [`limits::Limits`], whatever an agent sends; what finds no place is
//! counted. What belongs to a dead container goes with it, after a grace in which its last score can be read. In bytes, at most
//! `containers` x [`entry::CONTAINER_BYTES`] + `threads` x [`thread::THREAD_BYTES`] + (`waiting` + `handed`) x [`queue::WINDOW_BYTES`].
//!
//! **Invariant:** calls taken in = calls in windows + calls dropped + calls pending, and windows cut = windows scored + windows
//! dropped + windows waiting, at any time ([`registry::Registry::hops`]).
//!
//! Nodes are taken at their word: whoever may connect can call itself any node and fill what a node may have. One that does so
//! takes no more than [`limits::Limits::containers_per_node`] containers for each name that it takes.

pub mod entry;
mod firsts;
mod intake;
pub mod job;
pub mod limits;
mod names;
mod origin;
pub mod queue;
pub mod registry;
pub mod shared;
pub mod thread;
pub mod time;
pub mod view;

#[cfg(test)]
mod tests;
