//! Whether this agent can capture here. Pure.
//!
//! In: facts, and what became of loading the programs. Out: a [`Verdict`], and what stands in the way, one line each. Never:
//! asks the host.

use super::{
    host::KERNEL_FLOOR,
    report::{Hook, KernelFacts, PidFacts, Right, Verdict},
};
use crate::{
    bpf::{self, Kernel, LoadError, btf},
    cause,
};

pub(super) fn obstacles(kernel: &KernelFacts, rights: &[Right], hooks: &[Hook]) -> Vec<String> {
    let mut out = Vec::new();
    if kernel.machine != "x86_64" {
        out.push(format!("this machine is {}: only x86_64 is supported", kernel.machine));
    }
    if !kernel.new_enough {
        out.push(format!("kernel {} is older than {}.{}", kernel.release, KERNEL_FLOOR.0, KERNEL_FLOOR.1));
    }
    if !kernel.btf {
        out.push(format!("this kernel shows no BTF at {} (it wants CONFIG_DEBUG_INFO_BTF)", btf::VMLINUX));
    }
    for hook in hooks.iter().filter(|h| h.required && h.available == Some(false)) {
        out.push(format!("this kernel has no {}", hook.name));
    }
    for right in rights.iter().filter(|r| !r.held) {
        out.push(format!("{} is missing: {}", right.name, right.purpose));
    }
    out
}

/// What cannot be followed or known although capture works.
pub(super) fn warnings(pids: &PidFacts, runtimes: &[String], monitors: usize, unsupported: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    if !pids.own {
        out.push(
            "/proc shows another pid namespace than the agent's own: containers that ran before the agent are not followed; \
             mount the agent's own /proc, or start it in that namespace (in Kubernetes: hostPID: true)"
                .to_owned(),
        );
    } else if !pids.first && runtimes.is_empty() && monitors == 0 {
        out.push(
            "no container runtime is visible in this pid namespace: a pod needs hostPID: true to see its node's containers"
                .to_owned(),
        );
    }
    for name in unsupported {
        out.push(format!("{name} runs here without a monitor above it: its containers are not followed (see capture.monitors)"));
    }
    out
}

/// The answer, and where buffers would live.
pub(super) fn judge(
    kernel: &KernelFacts,
    hooks: &[Hook],
    rights: &[Right],
    load: Result<Kernel, LoadError>,
    obstacles: &mut Vec<String>,
) -> (Verdict, Option<&'static str>) {
    let unsupported = kernel.machine != "x86_64"
        || !kernel.new_enough
        || !kernel.btf
        || hooks.iter().any(|h| h.required && h.available == Some(false));
    let capture = load.as_ref().ok().map(|kernel| capture_name(kernel.capture));
    let failed = load.err();
    if let Some(error) = &failed {
        let text = cause::chain(error);
        if !obstacles.iter().any(|o| text.contains(o.as_str())) {
            obstacles.push(text);
        }
    }
    let verdict = match failed {
        _ if unsupported => Verdict::Unsupported,
        _ if rights.iter().any(|r| !r.held) => Verdict::RightsMissing,
        None => Verdict::Ready,
        Some(LoadError::NotEmbedded) => Verdict::NotEmbedded,
        Some(error) if error.is_rights() => Verdict::RightsMissing,
        Some(_) => Verdict::Unsupported,
    };
    (verdict, capture)
}

fn capture_name(capture: bpf::Capture) -> &'static str {
    match capture {
        bpf::Capture::Auto => "auto",
        bpf::Capture::TaskStorage => "task-storage",
        bpf::Capture::Hash => "hash",
        bpf::Capture::Raw => "raw",
    }
}
