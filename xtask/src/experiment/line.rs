//! Agent and scorer of the experiments that run servers in containers.
//!
//! In: whether they are to be built. Out: both built, with what containers need installed; who notices Ctrl-C. Never: goes on without root.

use crate::{
    build_ebpf,
    interrupt::Interrupt,
    setup::{self, Part},
    shell::{self, Exit, NO_RIGHTS},
};
use anyhow::Result;

pub(super) fn prepare(no_build: bool) -> Result<Interrupt> {
    if !rustix::process::geteuid().is_root() {
        return Err(Exit::new(NO_RIGHTS, "containers and eBPF need root, and this is not root").into());
    }
    let interrupt = Interrupt::catch()?;
    if !no_build {
        build()?;
    }
    Ok(interrupt)
}

fn build() -> Result<()> {
    setup::ensure(&[Part::Bpf, Part::Libtorch, Part::Containers])?;
    build_ebpf::build()?;
    let packages = ["surprisal-agent", "surprisal-scorer", "surprisal-learn"];
    shell::run(shell::cargo().args(["build", "--locked"]).args(packages.iter().flat_map(|name| ["-p", name])))
}
