//! What `probe` says.
//!
//! In: what was found. Out: a [`Report`], as JSON (serde) or as a table. Never: looks for anything.

use crate::{bpf::btf, exit, procfs::CgroupVersion};
use comfy_table::{Cell, Table, presets};
use serde::Serialize;
use std::fmt::Write as _;

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
    /// What cannot be followed or known here although capture works, one line each. Empty: nothing.
    pub warnings: Vec<String>,
    /// The kernel.
    pub kernel: KernelFacts,
    /// Rights that matter here.
    pub capabilities: Vec<Right>,
    /// Hooks that are wanted.
    pub hooks: Vec<Hook>,
    /// Cgroups.
    pub cgroups: CgroupFacts,
    /// Process ids.
    pub pids: PidFacts,
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

/// Process ids: which namespace's are reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PidFacts {
    /// Inode of the namespace that /proc shows. `None`: cannot be told.
    pub namespace: Option<u32>,
    /// It is the kernel's first one. If not, this node is itself a container (kind, k3d), or the agent is in a pod without `hostPID`.
    pub first: bool,
    /// The agent is in it.
    pub own: bool,
}

/// Containers on this host.
#[derive(Clone, Debug, Serialize)]
pub struct ContainerFacts {
    /// Runtimes that run.
    pub runtimes: Vec<String>,
    /// Processes that hold containers: `containerd-shim*`, `conmon`.
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
    /// Who would be asked for pods' owners, labels and annotations: the "cluster" that this process is in a pod of, or "nobody".
    pub kubernetes: &'static str,
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
        let namespace = self.pids.namespace.map_or_else(|| "unknown".to_owned(), |inode| format!("pid:[{inode}]"));
        let note = match (self.pids.first, self.pids.own) {
            (true, _) => "ids are those of the kernel's first namespace",
            (false, true) => "nested: ids are those that this node shows",
            (false, false) => "nested, and not the agent's own",
        };
        row("pid namespace", &namespace, note);
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
        row("", self.would_use.kubernetes, "whom pods' owners, labels and annotations are asked of (--kubernetes)");
        let mut text =
            table.to_string().lines().map(|l| l.strip_prefix(' ').unwrap_or(l).trim_end()).collect::<Vec<_>>().join("\n");
        text.push_str(match self.verdict {
            Verdict::Ready => "\n\nready: this agent can capture here\n",
            _ => "\n\nnot ready:\n",
        });
        for obstacle in &self.obstacles {
            let _infallible = writeln!(text, "- {obstacle}");
        }
        for warning in &self.warnings {
            let _infallible = writeln!(text, "warning: {warning}");
        }
        text
    }
}
