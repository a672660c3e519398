//! What this host is asked.
//!
//! In: the kernel's own descriptions of itself, this process's rights, `/proc`. Out: facts for a
//! [`Report`](super::report::Report). Never: a verdict.

use super::report::{Hook, PidFacts, Right};
use crate::kubernetes::Source;
use crate::procfs::{CgroupVersion, Procfs};
use caps::Capability;
use surprisal_agent_ebpf::abi::PID_NS_INIT;

/// Oldest kernel with a ring buffer.
pub(super) const KERNEL_FLOOR: (u32, u32) = (5, 8);
/// Kernel tracepoints the programs attach to.
const TRACEPOINTS: [(&str, &str); 5] = [
    ("sys_enter", "system calls"),
    ("sched_process_fork", "membership is inherited"),
    ("sched_process_exec", "a container's first program"),
    ("sched_process_exit", "the end of threads and containers"),
    ("inet_sock_set_state", "connections"),
];
/// Runtimes, by the comm of their daemon.
const RUNTIMES: [&str; 5] = ["containerd", "dockerd", "crio", "kubelet", "podman"];
/// What runs containers without a monitor, by comm.
const WITHOUT_MONITOR: [&str; 4] = ["systemd-nspawn", "lxc-start", "runc", "crun"];

/// "6.18.5-x" → (6, 18).
pub(super) fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

pub(super) fn rights(has: impl Fn(Capability) -> bool) -> Vec<Right> {
    let admin = has(Capability::CAP_SYS_ADMIN);
    vec![
        Right { name: "CAP_BPF", held: admin || has(Capability::CAP_BPF), purpose: "load programs, make maps" },
        Right { name: "CAP_PERFMON", held: admin || has(Capability::CAP_PERFMON), purpose: "attach to tracepoints" },
        Right {
            name: "CAP_SYS_PTRACE",
            held: has(Capability::CAP_SYS_PTRACE),
            purpose: "see other processes' namespaces and their shims' bundles",
        },
    ]
}

pub(super) fn hooks(types: Option<&[u8]>) -> Vec<Hook> {
    // The kernel names every tracepoint that BTF programs can attach to `btf_trace_<name>`.
    let named = |name: &str| types.map(|bytes| contains(bytes, format!("\0{name}\0").as_bytes()));
    let tracepoints = TRACEPOINTS.iter().map(|(name, purpose)| Hook {
        name: format!("tp_btf/{name}"),
        available: named(&format!("btf_trace_{name}")),
        required: true,
        purpose,
    });
    let others = [
        ("iter/task", "bpf_iter__task", true, "threads that sleep on calls are heard"),
        ("task storage", "bpf_task_storage_get", false, "threads' buffers, at half the cost of a hash map"),
    ];
    let others = others.map(|(name, symbol, required, purpose)| Hook {
        name: name.to_owned(),
        available: named(symbol),
        required,
        purpose,
    });
    tracepoints.chain(others).collect()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}

pub(super) fn membership(version: CgroupVersion, ids_visible: bool) -> &'static str {
    match version {
        CgroupVersion::Hybrid | CgroupVersion::V2 if ids_visible => "unified cgroup, else process",
        _ => "process",
    }
}

/// Whom pods' owners are asked of, unless told otherwise.
pub(super) fn kubernetes() -> &'static str {
    if Source::in_a_pod() { "cluster" } else { "nobody" }
}

/// Which namespace's ids `/proc` shows.
pub(super) fn pids(procfs: &Procfs) -> PidFacts {
    let namespace = procfs.pid_namespace();
    PidFacts {
        namespace,
        first: namespace == Some(PID_NS_INIT),
        own: namespace.is_some() && namespace == procfs.own_pid_namespace(),
    }
}

/// What runs here and holds containers that no monitor holds, by name.
pub(super) fn unsupported(procfs: &Procfs) -> Vec<String> {
    let without = |tgid: u32| {
        let stat = procfs.stat(tgid).filter(|stat| stat.state != 'Z' && WITHOUT_MONITOR.contains(&stat.comm.as_str()))?;
        // A monitor's own runtime comes and goes below it.
        (!u32::try_from(stat.ppid).is_ok_and(|parent| procfs.is_monitor(parent))).then_some(stat.comm)
    };
    let mut found: Vec<String> = procfs.processes().unwrap_or_default().into_iter().filter_map(without).collect();
    found.sort();
    found.dedup();
    found
}

pub(super) fn runtimes(procfs: &Procfs) -> Vec<String> {
    let comms = procfs.processes().unwrap_or_default().into_iter().filter_map(|tgid| Some(procfs.stat(tgid)?.comm));
    let mut found: Vec<String> = comms.filter(|c| RUNTIMES.contains(&c.as_str())).collect();
    found.sort();
    found.dedup();
    found
}
