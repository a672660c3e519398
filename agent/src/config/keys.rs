//! The list of all keys.
//!
//! In: nothing. Out: [`KEYS`], which the environment is read by and `agent.example.toml` is written from. Never: a
//! default: those stand in `file`.

/// One thing to configure.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Table in the file.
    pub section: &'static str,
    /// Name in that table; units last.
    pub name: &'static str,
    /// Environment variable.
    pub env: &'static str,
    /// What it does; printed into the example file.
    pub doc: &'static str,
}

const fn key(section: &'static str, name: &'static str, env: &'static str, doc: &'static str) -> Key {
    Key { section, name, env, doc }
}

/// All there is to configure.
pub const KEYS: [Key; 20] = [
    key("node", "name", "SURPRISAL_NODE", "Name of this node in everything that is sent. Empty: NODE_NAME, or the host's name."),
    key(
        "capture",
        "method",
        "SURPRISAL_CAPTURE",
        "Where the kernel side keeps threads' buffers: auto, task-storage, hash or raw.",
    ),
    key(
        "capture",
        "membership",
        "SURPRISAL_MEMBERSHIP",
        "What tells containers apart: auto (unified cgroup where a container has its own, else process), or process.",
    ),
    key(
        "capture",
        "monitors",
        "SURPRISAL_MONITORS",
        "Processes that hold containers, by name, * at the end for any rest; 1 to 8. A container is what descends from one.",
    ),
    key(
        "capture",
        "ring_bytes",
        "SURPRISAL_RING_BYTES",
        "Size of the kernel's ring buffer; rounded up to a power of two, 4096 to 1073741824.",
    ),
    key(
        "capture",
        "bpf_stats",
        "SURPRISAL_BPF_STATS",
        "Count and time every run of the kernel side, true or false. Costs some tens of nanoseconds a system call, on all eBPF programs of the host.",
    ),
    key(
        "capture",
        "names",
        "SURPRISAL_NAMES",
        "Tell what calls are about: programs, files, addresses; true or false. Of arguments only a program's own name; what looks like a secret is left out.",
    ),
    key(
        "select",
        "include",
        "SURPRISAL_SELECT",
        "Follow only these: \"KEY=GLOB\" with namespace, pod, container, image, id, workload or label:NAME. Empty: all but sandboxes.",
    ),
    key("select", "exclude", "SURPRISAL_EXCLUDE", "Do not follow these; wins over include."),
    key(
        "kubernetes",
        "api",
        "SURPRISAL_KUBERNETES",
        "Where owners, labels and annotations are asked for: auto (in a pod, the cluster), off, or a kubeconfig file.",
    ),
    key("uplink", "scorer", "SURPRISAL_SCORER", "The scorer: http://HOST:PORT, or \"none\"."),
    key(
        "uplink",
        "queue_bytes",
        "SURPRISAL_QUEUE_BYTES",
        "Memory for calls that the scorer has not acknowledged, at least 131072; when full the oldest are dropped and counted.",
    ),
    key("uplink", "flush_interval_ms", "SURPRISAL_FLUSH_INTERVAL_MS", "Send what is queued at least this often, 1 to 60000."),
    key(
        "uplink",
        "byte_budget",
        "SURPRISAL_BYTE_BUDGET",
        "Bytes a second on the wire above which whole containers are sent in turns, at least 4096; 0: no bound.",
    ),
    key("uplink", "grace_ms", "SURPRISAL_GRACE_MS", "How long to go on delivering after the order to stop, 0 to 600000."),
    key("jsonl", "path", "SURPRISAL_JSONL", "Also write JSON Lines into this file. Empty: no file."),
    key("jsonl", "max_bytes", "SURPRISAL_JSONL_MAX_BYTES", "Begin a new file at this size, at least 65536; 0: never."),
    key(
        "jsonl",
        "keep_files",
        "SURPRISAL_JSONL_KEEP_FILES",
        "Older files kept beside it, as FILE.1 (newest) to FILE.N, 0 to 1000.",
    ),
    key(
        "admin",
        "listen",
        "SURPRISAL_ADMIN",
        "Serve /metrics, /status, /livez and /readyz at this ADDRESS:PORT. Empty: not served.",
    ),
    key("log", "format", "SURPRISAL_LOG_FORMAT", "How log lines on standard error look: text or json. RUST_LOG filters them."),
];
