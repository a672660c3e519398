//! What this kernel and host offer, and what would be used: `surprisal-agent probe`.
//!
//! In: the kernel's own descriptions of itself, this process's rights, `/proc`. Out: a [`Report`], as a table or
//! as JSON. Never: attaches a program. Where rights allow it the programs are loaded once, and unloaded: the
//! verifier's word is better than any list of versions.

mod host;
mod judge;
pub mod report;

pub use report::{Report, Verdict};

use crate::{
    bpf::{self, Kernel, btf},
    container::Membership,
    procfs::{Procfs, Walker, read_bounded},
};
use caps::CapSet;
use report::{CgroupFacts, ContainerFacts, KernelFacts, WouldUse};
use std::{collections::HashSet, path::Path};

/// Looks at everything.
pub fn probe(procfs: &Procfs) -> Report {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let types = read_bounded(Path::new(btf::VMLINUX), 256 << 20).ok();
    let kernel = KernelFacts {
        machine: uname.machine().to_string_lossy().into_owned(),
        new_enough: host::version(&release).is_some_and(|v| v >= host::KERNEL_FLOOR),
        btf: types.is_some(),
        release,
    };
    let capabilities = host::rights(|c| caps::has_cap(None, CapSet::Effective, c).unwrap_or(false));
    let hooks = host::hooks(types.as_deref());
    let mut obstacles = judge::obstacles(&kernel, &capabilities, &hooks);
    // Small: this is about whether the verifier takes them.
    let load = Kernel::load(&bpf::Options {
        ring_bytes: 64 << 10,
        // What depends on it is checked by the verifier, too.
        pid_ns: procfs.pid_namespace().unwrap_or(bpf::Options::default().pid_ns),
        ..bpf::Options::default()
    });
    let (verdict, capture) = judge::judge(&kernel, &hooks, &capabilities, load, &mut obstacles);

    let mut walker = Walker::new(procfs.clone(), Membership::Auto);
    let ids_visible = walker.sees_cgroup_ids();
    let walk = walker.walk().unwrap_or_default();
    let keys: HashSet<_> = walk.members.iter().map(|m| m.key).collect();
    let version = procfs.cgroup_version();
    let pids = host::pids(procfs);
    let runtimes = host::runtimes(procfs);
    let warnings = judge::warnings(&pids, &runtimes, walk.shims.len(), &host::unsupported(procfs));
    Report {
        verdict,
        obstacles,
        warnings,
        kernel,
        capabilities,
        hooks,
        cgroups: CgroupFacts { version, unified: procfs.unified().map(|u| u.mount().display().to_string()), ids_visible },
        pids,
        containers: ContainerFacts { runtimes, shims: walk.shims.len(), running: keys.len(), processes: walk.members.len() },
        would_use: WouldUse { capture, membership: host::membership(version, ids_visible), kubernetes: host::kubernetes() },
    }
}

#[cfg(test)]
mod tests;
