//! Agent and scorer of the experiments that run servers in containers.
//!
//! In: nothing. Out: both built, with what containers need installed. Never: a test.

use crate::{
    build_ebpf,
    setup::{self, Part},
    shell,
};
use anyhow::Result;

pub(super) fn build() -> Result<()> {
    setup::ensure(&[Part::Bpf, Part::Libtorch, Part::Containers])?;
    build_ebpf::build()?;
    let packages = ["surprisal-agent", "surprisal-scorer", "surprisal-learn"];
    shell::run(shell::cargo().args(["build", "--locked"]).args(packages.iter().flat_map(|name| ["-p", name])))
}
