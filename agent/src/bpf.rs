//! The only door to aya: the programs in the kernel, their maps, their records.
//!
//! In: what to load and which processes exist. Out: raw records and counters, as the ABI lays them out.
//! Never: names a container, interprets a call.

pub mod btf;
pub mod error;
pub mod loader;
pub mod options;
pub mod programs;
pub mod seeding;

pub use error::LoadError;
pub use loader::{Kernel, KernelLog};
pub use options::{Capture, Options};
pub use programs::{PROGRAMS, Runs};
