//! How unlike normal a part of a container's stream is.
//!
//! In: one thread's calls, in order. Out: windows, the surprisal of each call, a score in nats with its evidence. Never: a threshold, a
//! container's name, a connection.
//!
//! In data-flow order: [`window`] cuts threads; [`vocab`] turns calls into classes; [`model`] says how likely each was ([`fused`]
//! computes it, [`memo`] remembers it); [`evidence`] keeps which calls were surprising, the most [`telling`] first; [`novelty`] says how far the set of calls is from any seen before; [`score`] makes one
//! number of it. [`surprisal`] is that line as a whole: the first [`detector`].

pub mod detector;
pub mod evidence;
pub mod fused;
pub mod memo;
pub mod model;
pub mod names;
pub mod novelty;
pub mod score;
pub mod surprisal;
pub mod telling;
pub mod vocab;
pub mod window;
