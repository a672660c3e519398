//! What flows after attribution: the one type that sequencing produces and every sink takes.
//!
//! In: nothing. Out: [`Record`], shared by the sinks ([`crate::uplink`], [`crate::jsonl`]). Never: I/O.
//!
//! **Invariant:** a container's records come as `Birth`, then any `Name`, `Calls`, `Network` and `Account`, then one
//! `Death`; nothing of it follows its `Death`. Runs of one thread come in the order of their calls.

use crate::{container::ContainerInfo, names::Name};
use jiff::Timestamp;
use std::{borrow::Cow, fmt, sync::Arc};
use surprisal_agent_ebpf::abi::COMM_LEN;
use surprisal_proto::{recording, token::Token, v1};

/// One thing that happened to one container.
#[derive(Clone, Debug)]
pub enum Record {
    /// A container is new, or ran before the agent did. Sent again when its names become known later.
    Birth(Arc<ContainerInfo>),
    /// A run of consecutive calls of one of its threads.
    Calls {
        /// Whose.
        container: Arc<ContainerInfo>,
        /// The calls.
        run: Run,
    },
    /// What one of its calls was about.
    Name {
        /// Whose.
        container: Arc<ContainerInfo>,
        /// The call, and its name.
        call: NamedCall,
    },
    /// Its network counters, cumulative; `container_id` is filled in on the way out.
    Network {
        /// Whose.
        container: Arc<ContainerInfo>,
        /// The counters.
        counters: v1::Network,
    },
    /// Its balance, cumulative: `issued = delivered + lost_ring + pending`.
    Account {
        /// Whose.
        container: Arc<ContainerInfo>,
        /// Calls its threads are known to have issued.
        issued: u64,
        /// Calls read from the kernel.
        delivered: u64,
        /// Calls lost because the ring buffer was full.
        lost_ring: u64,
        /// Threads that could not be followed.
        threads_untracked: u64,
        /// Names that were new and were not told.
        names_untold: u64,
        /// Names whose memory was not there.
        names_unread: u64,
    },
    /// Its last thread is gone.
    Death {
        /// Whose.
        container: Arc<ContainerInfo>,
        /// When.
        at: Timestamp,
    },
}

/// A call, and what it was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCall {
    /// Process id in the node's own pid namespace.
    pub tgid: u32,
    /// Thread id in the node's own pid namespace.
    pub tid: u32,
    /// Number of the call in its thread.
    pub seq: u64,
    /// When the name was read.
    pub at: Timestamp,
    /// The call.
    pub token: u16,
    /// What it was about.
    pub name: Name,
}

impl NamedCall {
    /// As the wire carries it.
    pub fn to_wire(&self, container: &ContainerInfo) -> v1::Name {
        let Name { text, argv0, relative, truncated, late } = self.name.clone();
        v1::Name {
            container_id: container.id.to_string(),
            tgid: self.tgid,
            tid: self.tid,
            sequence: self.seq,
            token: u32::from(self.token),
            text,
            argv0,
            relative,
            truncated,
            late,
        }
    }

    /// As a recording spells it.
    pub fn to_recording(&self, container: &ContainerInfo) -> recording::Name {
        let Name { text, argv0, relative, truncated, late } = self.name.clone();
        recording::Name {
            at: self.at,
            container: container.id.to_string(),
            pid: self.tgid,
            tid: self.tid,
            seq: self.seq,
            call: Token(self.token),
            name: text,
            argv0,
            relative,
            truncated,
            late,
        }
    }
}

/// A run of consecutive calls of one thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Process id in the node's own pid namespace.
    pub tgid: u32,
    /// Thread id in the node's own pid namespace.
    pub tid: u32,
    /// Process name.
    pub process: ProcessName,
    /// Number of `tokens[0]` in its thread, from 0.
    pub first_seq: u64,
    /// When `tokens[0]` was entered.
    pub started: Timestamp,
    /// Calls known lost directly before `tokens[0]`.
    pub gap: u64,
    /// The calls, as [`Token`]s' raw value. May be empty when `last` is set.
    pub tokens: Vec<u16>,
    /// The thread has ended.
    pub last: bool,
    /// It was started by exec (`kubectl exec`, an exec probe): it descends from a process that entered the container later.
    pub by_exec: bool,
}

/// A process name (comm): at most 15 bytes, not always UTF-8.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ProcessName([u8; COMM_LEN]);

impl ProcessName {
    /// As the kernel wrote it, padded with zeros.
    pub const fn from_kernel(comm: [u8; COMM_LEN]) -> Self {
        Self(comm)
    }

    /// The name; bytes that are not UTF-8 become U+FFFD.
    pub fn as_text(&self) -> Cow<'_, str> {
        let len = self.0.iter().position(|b| *b == 0).unwrap_or(COMM_LEN);
        String::from_utf8_lossy(&self.0[..len])
    }
}

/// Cuts to 15 bytes, as the kernel does.
impl From<&str> for ProcessName {
    fn from(name: &str) -> Self {
        let mut comm = [0; COMM_LEN];
        let len = name.len().min(COMM_LEN - 1);
        comm[..len].copy_from_slice(&name.as_bytes()[..len]);
        Self(comm)
    }
}

impl fmt::Display for ProcessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_text())
    }
}

impl fmt::Debug for ProcessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_text())
    }
}

impl Record {
    /// Whose it is.
    pub fn container(&self) -> &Arc<ContainerInfo> {
        match self {
            Self::Birth(container)
            | Self::Calls { container, .. }
            | Self::Name { container, .. }
            | Self::Network { container, .. }
            | Self::Account { container, .. }
            | Self::Death { container, .. } => container,
        }
    }

    /// Calls in it; 0 for everything but `Calls`.
    pub fn calls(&self) -> u64 {
        match self {
            Self::Calls { run, .. } => run.tokens.len() as u64,
            _ => 0,
        }
    }
}

impl Run {
    /// As the wire carries it.
    pub fn to_wire(&self, container: &ContainerInfo) -> v1::Calls {
        v1::Calls {
            container_id: container.id.to_string(),
            tgid: self.tgid,
            tid: self.tid,
            process: self.process.as_text().into_owned(),
            first_sequence: self.first_seq,
            started_ns: u64::try_from(self.started.as_nanosecond()).unwrap_or(0),
            tokens: self.tokens.iter().flat_map(|t| t.to_le_bytes()).collect(),
            gap: self.gap,
            last: self.last,
            by_exec: self.by_exec,
        }
    }

    /// As a recording spells it.
    pub fn to_recording(&self, container: &ContainerInfo) -> recording::Calls {
        recording::Calls {
            at: self.started,
            node: container.node.to_string(),
            container: container.id.to_string(),
            pod: container.names.pod.clone(),
            pid: self.tgid,
            tid: self.tid,
            process: self.process.as_text().into_owned(),
            seq: self.first_seq,
            gap: self.gap,
            calls: self.tokens.iter().copied().map(Token).collect(),
            last: self.last,
            by_exec: self.by_exec,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_names_are_cut_and_never_fail() {
        for (name, expect) in [("redis-server", "redis-server"), ("a-name-of-sixteen", "a-name-of-sixte"), ("", "")] {
            assert_eq!(ProcessName::from(name).as_text(), expect);
        }
        let full = ProcessName::from_kernel([b'x'; COMM_LEN]);
        assert_eq!(full.as_text().len(), COMM_LEN);
        let foreign = ProcessName::from_kernel([0xff, b'a', 0, b'z', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(foreign.to_string(), "\u{fffd}a");
    }

    #[test]
    fn tokens_travel_little_endian() {
        let info = ContainerInfo::unnamed(crate::container::ContainerKey(7), "n".into(), None, None);
        let run = Run {
            tgid: 1,
            tid: 2,
            process: "sh".into(),
            first_seq: 3,
            started: Timestamp::from_nanosecond(1_500).expect("in range"),
            gap: 4,
            tokens: vec![0x0102, 59],
            last: true,
            by_exec: true,
        };
        let wire = run.to_wire(&info);
        assert_eq!((wire.tokens.as_slice(), wire.started_ns, wire.gap, wire.last), ([2, 1, 59, 0].as_slice(), 1_500, 4, true));
        assert_eq!(run.to_recording(&info).calls, [Token(0x0102), Token(59)]);
    }
}
