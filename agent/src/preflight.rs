//! What this kernel and host offer, and what would be used: `surprisal-agent probe`.
//!
//! In: the kernel's own descriptions of itself, this process's rights, `/proc`. Out: a [`Report`], as a table or
//! as JSON. Never: attaches a program. Where rights allow it the programs are loaded once, and unloaded: the
//! verifier's word is better than any list of versions.

use crate::{
    bpf::{self, Kernel, LoadError, btf},
    exit, logging,
    procfs::{CgroupVersion, Membership, Procfs, Walker, read_bounded, walk::SHIM_COMM},
};
use caps::{CapSet, Capability};
use comfy_table::{Cell, Table, presets};
use serde::Serialize;
use std::{fmt::Write as _, path::Path};

/// Oldest kernel with a ring buffer.
const KERNEL_FLOOR: (u32, u32) = (5, 8);
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

/// Can this agent capture here?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Yes.
    Ready,
    /// Rights are missing.
    RightsMissing,
    /// This kernel or host cannot.
    Unsupported,
    /// This binary carries no programs.
    NotEmbedded,
}

impl Verdict {
    /// The exit code that says so.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Ready => exit::OK,
            Self::RightsMissing => exit::RIGHTS,
            Self::Unsupported | Self::NotEmbedded => exit::HOST,
        }
    }
}

/// All that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The answer.
    pub verdict: Verdict,
    /// What stands in the way, one line each. Empty: nothing.
    pub obstacles: Vec<String>,
    /// The kernel.
    pub kernel: KernelFacts,
    /// Rights that matter here.
    pub capabilities: Vec<Right>,
    /// Hooks that are wanted.
    pub hooks: Vec<Hook>,
    /// Cgroups.
    pub cgroups: CgroupFacts,
    /// Containers on this host.
    pub containers: ContainerFacts,
    /// What `run` would use.
    pub would_use: WouldUse,
}

/// The kernel.
#[derive(Clone, Debug, Serialize)]
pub struct KernelFacts {
    /// As `uname -r` says.
    pub release: String,
    /// As `uname -m` says.
    pub machine: String,
    /// 5.8 or later.
    pub new_enough: bool,
    /// It shows its types at /sys/kernel/btf/vmlinux.
    pub btf: bool,
}

/// A capability.
#[derive(Clone, Debug, Serialize)]
pub struct Right {
    /// Its name.
    pub name: &'static str,
    /// This process has it, or one that includes it.
    pub held: bool,
    /// What for.
    pub purpose: &'static str,
}

/// A hook or an ability of the kernel's.
#[derive(Clone, Debug, Serialize)]
pub struct Hook {
    /// Its name.
    pub name: String,
    /// This kernel has it. `None`: cannot be told without BTF.
    pub available: Option<bool>,
    /// Nothing works without it.
    pub required: bool,
    /// What for.
    pub purpose: &'static str,
}

/// Cgroups.
#[derive(Clone, Debug, Serialize)]
pub struct CgroupFacts {
    /// Which hierarchies there are.
    pub version: CgroupVersion,
    /// Where the unified one is mounted.
    pub unified: Option<String>,
    /// Ids can be told from here.
    pub ids_visible: bool,
}

/// Containers on this host.
#[derive(Clone, Debug, Serialize)]
pub struct ContainerFacts {
    /// Runtimes that run.
    pub runtimes: Vec<String>,
    /// `containerd-shim*` processes.
    pub shims: usize,
    /// Containers that run, by key.
    pub running: usize,
    /// Processes in them.
    pub processes: usize,
}

/// What `run` would use.
#[derive(Clone, Debug, Serialize)]
pub struct WouldUse {
    /// Where threads' buffers would live, and on what hooks. `None`: the programs were not loaded.
    pub capture: Option<&'static str>,
    /// What would tell containers apart.
    pub membership: &'static str,
}

/// Looks at everything.
pub fn probe(procfs: &Procfs) -> Report {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let types = read_bounded(Path::new(btf::VMLINUX), 256 << 20).ok();
    let kernel = KernelFacts {
        machine: uname.machine().to_string_lossy().into_owned(),
        new_enough: version(&release).is_some_and(|v| v >= KERNEL_FLOOR),
        btf: types.is_some(),
        release,
    };
    let capabilities = rights(|c| caps::has_cap(None, CapSet::Effective, c).unwrap_or(false));
    let hooks = hooks(types.as_deref());
    let mut obstacles = obstacles(&kernel, &capabilities, &hooks);
    // Small: this is about whether the verifier takes them.
    let load = Kernel::load(&bpf::Options { ring_bytes: 64 << 10, ..bpf::Options::default() });
    let (verdict, capture) = judge(&kernel, &hooks, &capabilities, load, &mut obstacles);

    let mut walker = Walker::new(procfs.clone(), Membership::Auto);
    let ids_visible = walker.sees_cgroup_ids();
    let walk = walker.walk().unwrap_or_default();
    let keys: std::collections::HashSet<_> = walk.members.iter().map(|m| m.key).collect();
    let version = procfs.cgroup_version();
    Report {
        verdict,
        obstacles,
        kernel,
        capabilities,
        hooks,
        cgroups: CgroupFacts { version, unified: procfs.unified().map(|u| u.mount().display().to_string()), ids_visible },
        containers: ContainerFacts {
            runtimes: runtimes(procfs),
            shims: walk.shims.len(),
            running: keys.len(),
            processes: walk.members.len(),
        },
        would_use: WouldUse { capture, membership: membership(version, ids_visible) },
    }
}

/// "6.18.5-x" → (6, 18).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn rights(has: impl Fn(Capability) -> bool) -> Vec<Right> {
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

fn hooks(types: Option<&[u8]>) -> Vec<Hook> {
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

fn obstacles(kernel: &KernelFacts, rights: &[Right], hooks: &[Hook]) -> Vec<String> {
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

/// The answer, and where buffers would live.
fn judge(
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
        let text = logging::chain(error);
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

fn membership(version: CgroupVersion, ids_visible: bool) -> &'static str {
    match version {
        CgroupVersion::Hybrid | CgroupVersion::V2 if ids_visible => "unified cgroup, else process",
        _ => "process",
    }
}

fn runtimes(procfs: &Procfs) -> Vec<String> {
    let comms = procfs.processes().unwrap_or_default().into_iter().filter_map(|tgid| Some(procfs.stat(tgid)?.comm));
    let mut found: Vec<String> = comms.filter(|c| RUNTIMES.contains(&c.as_str()) && c != SHIM_COMM).collect();
    found.sort();
    found.dedup();
    found
}

impl Report {
    /// For people.
    pub fn table(&self) -> String {
        let yes = |is: bool| if is { "yes" } else { "no" };
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let mut row = |what: &str, found: &str, note: &str| {
            table.add_row([what, found, note].map(Cell::new));
        };
        let note = if self.kernel.new_enough { "" } else { "older than 5.8" };
        row("kernel", &format!("{} {}", self.kernel.release, self.kernel.machine), note);
        row("BTF", yes(self.kernel.btf), btf::VMLINUX);
        for right in &self.capabilities {
            row(right.name, yes(right.held), right.purpose);
        }
        for hook in &self.hooks {
            row(&hook.name, hook.available.map_or("unknown", yes), hook.purpose);
        }
        let version = serde_json::to_value(self.cgroups.version).unwrap_or_default();
        row("cgroups", version.as_str().unwrap_or_default(), self.cgroups.unified.as_deref().unwrap_or("no unified hierarchy"));
        row("cgroup ids", yes(self.cgroups.ids_visible), "can be told from here");
        let runtimes = self.containers.runtimes.join(", ");
        row("runtimes", if runtimes.is_empty() { "none" } else { &runtimes }, "running now");
        let running =
            format!("{} in {} processes, {} shims", self.containers.running, self.containers.processes, self.containers.shims);
        row("containers", &running, "running now");
        let note = match self.would_use.capture {
            Some("task-storage") => "threads' buffers in task storage, BTF tracepoints",
            Some("hash") => "threads' buffers in a hash map, BTF tracepoints",
            Some("raw") => "threads' buffers in a hash map, raw tracepoints",
            _ => "where threads' buffers live",
        };
        row("would use", self.would_use.capture.unwrap_or("nothing"), note);
        row("", self.would_use.membership, "what tells containers apart");
        let mut text =
            table.to_string().lines().map(|l| l.strip_prefix(' ').unwrap_or(l).trim_end()).collect::<Vec<_>>().join("\n");
        text.push_str(match self.verdict {
            Verdict::Ready => "\n\nready: this agent can capture here\n",
            _ => "\n\nnot ready:\n",
        });
        for obstacle in &self.obstacles {
            let _infallible = writeln!(text, "- {obstacle}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (release, expect) in
            [("6.18.5", Some((6, 18))), ("5.8-rc1", Some((5, 8))), ("5.10.0-28-amd64", Some((5, 10))), ("x", None), ("6", None)]
        {
            assert_eq!(version(release), expect, "{release}");
        }
    }

    fn kernel() -> KernelFacts {
        KernelFacts { release: "6.1.0".into(), machine: "x86_64".into(), new_enough: true, btf: true }
    }

    fn all_types() -> Vec<u8> {
        let names = ["sys_enter", "sched_process_fork", "sched_process_exec", "sched_process_exit", "inet_sock_set_state"];
        let names = names
            .map(|n| format!("btf_trace_{n}"))
            .into_iter()
            .chain(["bpf_iter__task", "bpf_task_storage_get"].map(str::to_owned));
        format!("\0{}\0", names.collect::<Vec<_>>().join("\0")).into_bytes()
    }

    #[track_caller]
    fn check(
        kernel: &KernelFacts,
        types: Option<&[u8]>,
        has: fn(Capability) -> bool,
        load: LoadError,
        verdict: Verdict,
        obstacle: &str,
    ) {
        let (rights, hooks) = (rights(has), hooks(types));
        let mut found = obstacles(kernel, &rights, &hooks);
        assert_eq!(judge(kernel, &hooks, &rights, Err(load), &mut found).0, verdict);
        assert!(found.iter().any(|o| o.contains(obstacle)), "{found:?} does not say {obstacle:?}");
    }

    #[test]
    fn what_stands_in_the_way() {
        let types = all_types();
        let types = Some(types.as_slice());
        let all = |_| true;
        let none = |_| false;
        let unsupported = Verdict::Unsupported;
        check(&kernel(), types, none, LoadError::NotAllowed, Verdict::RightsMissing, "CAP_BPF is missing");
        check(
            &kernel(),
            types,
            |c| c != Capability::CAP_SYS_PTRACE,
            LoadError::NotAllowed,
            Verdict::RightsMissing,
            "CAP_SYS_PTRACE",
        );
        check(&kernel(), types, all, LoadError::NotAllowed, Verdict::RightsMissing, "not allowed to load");
        check(&kernel(), types, all, LoadError::NotEmbedded, Verdict::NotEmbedded, "built without its eBPF programs");
        check(&kernel(), types, all, LoadError::Incomplete("x"), unsupported, "has no x");
        check(&kernel(), Some(b"\0nothing\0"), all, LoadError::NotAllowed, unsupported, "no tp_btf/sys_enter");
        let old = KernelFacts { release: "5.4.0".into(), new_enough: false, ..kernel() };
        check(&old, types, none, LoadError::NotAllowed, unsupported, "kernel 5.4.0 is older than 5.8");
        let bare = KernelFacts { btf: false, ..kernel() };
        check(&bare, None, all, LoadError::NotAllowed, unsupported, "no BTF");
        let arm = KernelFacts { machine: "aarch64".into(), ..kernel() };
        check(&arm, types, all, LoadError::NotAllowed, unsupported, "only x86_64");
    }

    #[test]
    fn sys_admin_includes_the_newer_two() {
        let held: Vec<_> = rights(|c| c == Capability::CAP_SYS_ADMIN).iter().map(|r| r.held).collect();
        assert_eq!(held, [true, true, false]);
    }

    #[test]
    fn exit_codes() {
        let codes = [Verdict::Ready, Verdict::RightsMissing, Verdict::Unsupported, Verdict::NotEmbedded].map(Verdict::exit_code);
        assert_eq!(codes, [0, 77, 78, 78]);
    }

    #[test]
    fn this_host_is_described() {
        let report = probe(&Procfs::default());
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["kernel"]["release"], report.kernel.release);
        assert_eq!(json["hooks"].as_array().map(Vec::len), Some(7));
        let table = report.table();
        assert!(table.contains(&report.kernel.release) && table.contains("would use"), "{table}");
        assert_eq!(report.verdict == Verdict::Ready, report.obstacles.is_empty(), "{:?}", report.obstacles);
    }
}
