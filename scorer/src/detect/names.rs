//! What calls are about, and how strange that is: names of programs, files and peers. *Pure.*
//!
//! In: names of calls. Out: [`Known`] names of a workload, which its profile keeps, and the surprisal of a name in nats. Never: a list
//! of names that are bad; a window, a threshold.
//!
//! [`kind`]: what a call does to what it is about, and a name without what differs from run to run. [`heard`]: what training
//! hears. [`known`]: what a profile keeps of it, and what a new name counts for.

pub mod heard;
pub mod kind;
pub mod known;

pub use heard::Heard;
pub use kind::Kind;
pub use known::{Known, Seen};
