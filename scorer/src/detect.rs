//! How unlike normal a window is.
//!
//! In: one thread's calls, in order. Out: windows, the surprisal of each call, a score in nats. Never: a threshold, a
//! container's name, a connection.
//!
//! In data-flow order: [`window`] cuts threads; [`vocab`] turns calls into classes; [`model`] says how likely each was;
//! [`novelty`] says how far the set of calls is from any seen before; [`score`] makes one number of it.

pub mod model;
pub mod novelty;
pub mod score;
pub mod vocab;
pub mod window;
