//! Attacks on servers in containers: what each does, and what came of it.
//!
//! In: servers under their own load ([`target`]). Out: scenarios ([`SCENARIOS`]) to run on them, one after the other, by an
//! attacker outside ([`attacker`]), and what the scorer made of them ([`range`]). Never: anything outside a network
//! namespace that has nothing but loopback; a load, a flood or a wait without a bound; harm: what exploits do is done with
//! arguments that are refused or in a process that ends.
//!
//! Nothing here is ever used to choose how the scorer is built, trained or calibrated.

pub mod attacker;
pub mod range;
pub(crate) mod said;
mod scenarios;
pub mod target;

use crate::program;
use anyhow::{Context as _, Result};
use attacker::{Service, Talk};
pub use range::{Measured, Range};
pub use scenarios::SCENARIOS;
use std::{fs, path::Path, time::Duration};
pub use target::{SERVERS, Target};

/// An attack on a server.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Short, and its own among those of its server.
    pub name: &'static str,
    /// Whom it attacks: one of [`SERVERS`].
    pub server: &'static str,
    /// Id of the technique in MITRE ATT&CK.
    pub technique: &'static str,
    /// How it gets in.
    pub entry: &'static str,
    /// What it does, in a sentence.
    pub what: &'static str,
    services: &'static [(u16, Ready)],
    act: fn(&Target) -> Result<String>,
    proof: &'static str,
}

/// What the attacker has ready on a port before it begins.
#[derive(Clone, Copy, Debug)]
enum Ready {
    /// A program of tests/fixtures/attacks, to be fetched.
    Program(&'static str),
    /// Somebody who types these lines into what connects.
    Shell(&'static [&'static str]),
    /// Somewhere to send things to.
    Sink,
    /// A mining pool.
    Pool,
    /// Somewhere to send datagrams to.
    Datagrams,
    /// A container engine's socket in the target's container, which somebody mounted there; the port says nothing.
    Engine,
}

/// What an attack came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// All that the attacker saw.
    pub seen: String,
    /// What it wanted is in that.
    pub succeeded: bool,
}

/// A scenario of which everything is ready but its first action.
#[derive(Debug)]
pub struct Prepared<'a> {
    scenario: &'static Scenario,
    target: &'a Target,
    services: Vec<Service>,
}

impl Scenario {
    /// Makes everything ready on the attacker's side: the target notices nothing. `scratch`: a directory for programs.
    pub fn prepare<'a>(&'static self, target: &'a Target, scratch: &Path) -> Result<Prepared<'a>> {
        let start = |(port, ready): &(u16, Ready)| {
            let talk = match ready {
                Ready::Program(name) => Talk::Give(compile(name, scratch)?),
                Ready::Shell(lines) => Talk::Type(lines.iter().map(|l| (*l).to_owned()).collect(), Duration::from_millis(600)),
                Ready::Sink => Talk::Take,
                Ready::Pool => Talk::Pool,
                Ready::Datagrams => return Service::datagrams(&target.network, *port),
                Ready::Engine => return Service::engine(&target.engine_socket()?),
            };
            Service::start(&target.network, *port, talk)
        };
        let services = self.services.iter().map(start).collect::<Result<_>>()?;
        Ok(Prepared { scenario: self, target, services })
    }
}

impl Prepared<'_> {
    /// Attacks, and waits until it is over.
    pub fn run(self) -> Result<Outcome> {
        let mut seen = (self.scenario.act)(self.target)
            .with_context(|| format!("attacking {} by {}", self.target.name, self.scenario.name))?;
        for (service, (_, ready)) in self.services.iter().zip(self.scenario.services) {
            // Programs are fetched while the act goes on; what is sent home may arrive after it.
            if !matches!(ready, Ready::Program(_)) {
                seen += &service.finish(Duration::from_secs(20));
            }
        }
        let succeeded = seen.contains(self.scenario.proof);
        Ok(Outcome { seen, succeeded })
    }
}

/// A program of tests/fixtures/attacks, static.
fn compile(name: &str, scratch: &Path) -> Result<Vec<u8>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/attacks").join(name).with_extension("c");
    program::compile(&source, scratch)?;
    let program = scratch.join(name);
    fs::read(&program).with_context(|| format!("reading {}", program.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_suite_is_whole() {
        let names: BTreeSet<_> = SCENARIOS.iter().map(|s| (s.server, s.name)).collect();
        assert_eq!(names.len(), SCENARIOS.len(), "two scenarios share a name");
        assert!(SCENARIOS.len() >= 30 && SERVERS.len() >= 8, "{} scenarios", SCENARIOS.len());
        let servers: BTreeSet<_> = SCENARIOS.iter().map(|s| s.server).collect();
        assert_eq!(servers, BTreeSet::from(SERVERS));
        for scenario in SCENARIOS.iter() {
            assert!(scenario.technique.starts_with('T') && !scenario.proof.is_empty(), "{}", scenario.name);
        }
    }
}
