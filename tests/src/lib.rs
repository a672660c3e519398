//! Harness of the end-to-end tests: real containers under the real agent.
//!
//! In: nothing. Out: a containerd of the test's own ([`containerd`]) with images ([`images`]) and programs whose calls
//! are known ([`program`]), the agent and the scorer as processes ([`agent`], [`scorer`]), what they wrote
//! ([`recording`]). Never: leaves anything behind ([`scratch`]), or stands in for what can run for real.
//!
//! ```no_run
//! use surprisal_e2e::{Containerd, Run, agent, images};
//! # fn main() -> anyhow::Result<()> {
//! let containerd = Containerd::start()?;
//! let busybox = images::busybox()?;
//! containerd.import(&busybox)?;
//! let mut agent = agent::start(containerd.scratch(), &["run", "--jsonl", "calls.jsonl"])?;
//! let container = containerd.run(&Run::new("one", &busybox, &["workload", "calls", "100", "1", "1"]))?;
//! container.wait(std::time::Duration::from_secs(10));
//! agent.terminate(std::time::Duration::from_secs(10))?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod agent;
pub mod attacks;
pub mod conmon;
pub mod containerd;
pub mod daemon;
#[cfg(feature = "replay")]
pub mod fleet;
pub mod images;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod netns;
pub mod oci;
pub mod program;
pub mod quiet;
#[cfg(feature = "recordings")]
pub mod recording;
pub mod scene;
pub mod scorer;
pub mod scratch;
pub mod servers;
pub mod vm;
pub mod wait;

pub use containerd::{Cgroups, Container, Containerd, Run};
pub use daemon::Daemon;
pub use netns::Netns;
#[cfg(feature = "recordings")]
pub use recording::Recording;
pub use scorer::Scorer;
pub use scratch::Scratch;
pub use wait::wait_for;

use std::{env, fs::OpenOptions, io::Write as _};

/// Says that a test proves nothing here, and why; the test returns after it. `cargo xtask test` lists it and does
/// not count it as passed.
pub fn skipped(test: &str, why: &str) {
    eprintln!("skipped: {test}: {why}");
    if let Some(path) = env::var_os("SURPRISAL_SKIPPED_TESTS") {
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| writeln!(file, "{test}: {why}")).expect("the list of skipped tests can be written");
    }
}
