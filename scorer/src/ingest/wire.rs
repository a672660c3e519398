//! Batches as agents send them, into batches as the scorer believes them. *Pure.*
//!
//! In: messages that anyone may have written. Out: values within limits; what is malformed is left out and
//! counted, the rest of its batch is taken: refusing the batch would make its agent send it for ever.

use crate::metrics::Metrics;
use std::sync::Arc;
use surprisal_proto::{token::Token, v1};

/// Longest container id, bytes.
pub const ID_MAX: usize = 128;
/// Longest name of anything, bytes.
pub const NAME_MAX: usize = 512;
/// Longest process name, bytes; the kernel's own limit is 15.
const PROCESS_MAX: usize = 64;

/// A container id: 1 to [`ID_MAX`] visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(Arc<str>);

/// Why a part of a batch is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The container id is empty, too long or not visible ASCII.
    #[error("bad container id")]
    Id,
    /// A name is too long or holds control characters.
    #[error("bad name")]
    Name,
    /// Half a token.
    #[error("odd number of token bytes")]
    OddTokens,
    /// There is nothing in it.
    #[error("empty")]
    Empty,
}

impl Malformed {
    fn reason(self) -> &'static str {
        match self {
            Self::Id => "bad_id",
            Self::Name => "bad_name",
            Self::OddTokens => "odd_tokens",
            Self::Empty => "empty",
        }
    }
}

impl TryFrom<&str> for ContainerId {
    type Error = Malformed;
    fn try_from(id: &str) -> Result<Self, Malformed> {
        let ok = !id.is_empty() && id.len() <= ID_MAX && id.bytes().all(|b| b.is_ascii_graphic());
        if ok { Ok(Self(id.into())) } else { Err(Malformed::Id) }
    }
}

impl ContainerId {
    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A container, named.
#[derive(Clone, Debug)]
pub struct Birth {
    /// Its id.
    pub id: ContainerId,
    /// All that is said of it, within limits.
    pub about: v1::Container,
}

impl Birth {
    /// What shares its profile; `None`: not named, or a sandbox.
    pub fn workload(&self) -> Option<Arc<str>> {
        let sandbox = self.about.kind == v1::container::Kind::Sandbox as i32;
        (!sandbox && !self.about.workload.is_empty()).then(|| self.about.workload.as_str().into())
    }
}

impl TryFrom<v1::Birth> for Birth {
    type Error = Malformed;
    fn try_from(birth: v1::Birth) -> Result<Self, Malformed> {
        let about = birth.container.ok_or(Malformed::Empty)?;
        let id = ContainerId::try_from(about.id.as_str())?;
        let names =
            [&about.namespace, &about.pod, &about.pod_uid, &about.name, &about.image, &about.runtime_namespace, &about.workload];
        if names.iter().any(|n| n.len() > NAME_MAX || n.chars().any(char::is_control)) {
            return Err(Malformed::Name);
        }
        Ok(Self { id, about })
    }
}

/// A run of calls of one thread.
#[derive(Clone, Debug)]
pub struct Calls {
    /// Whose.
    pub container: ContainerId,
    /// Process id.
    pub tgid: u32,
    /// Thread id.
    pub tid: u32,
    /// Process name; cut to a length that a process name can have.
    pub process: String,
    /// Number of the first call in its thread.
    pub first_sequence: u64,
    /// Nanoseconds since the Unix epoch.
    pub started_ns: u64,
    /// The calls.
    pub tokens: Vec<Token>,
    /// Calls known lost before.
    pub gap: u64,
    /// The thread has ended.
    pub last: bool,
}

impl TryFrom<v1::Calls> for Calls {
    type Error = Malformed;
    fn try_from(c: v1::Calls) -> Result<Self, Malformed> {
        let (pairs, rest) = c.tokens.as_chunks();
        if !rest.is_empty() {
            return Err(Malformed::OddTokens);
        }
        let process = c.process.chars().filter(|p| !p.is_control()).take(PROCESS_MAX).collect();
        Ok(Self {
            container: ContainerId::try_from(c.container_id.as_str())?,
            tgid: c.tgid,
            tid: c.tid,
            process,
            first_sequence: c.first_sequence,
            started_ns: c.started_ns,
            tokens: pairs.iter().map(|b| Token(u16::from_le_bytes(*b))).collect(),
            gap: c.gap,
            last: c.last,
        })
    }
}

/// A container's balance.
#[derive(Clone, Debug)]
pub struct Account {
    /// Whose.
    pub container: ContainerId,
    /// Calls lost in the kernel, or dropped by the agent's queue.
    pub lost: u64,
}

/// A batch.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Containers that are new.
    pub births: Vec<Birth>,
    /// Calls.
    pub calls: Vec<Calls>,
    /// Network counters.
    pub network: Vec<(ContainerId, v1::Network)>,
    /// Balances.
    pub accounts: Vec<Account>,
    /// Containers that ended.
    pub deaths: Vec<ContainerId>,
}

impl Batch {
    /// Takes what is well-formed, counts the rest.
    pub fn new(batch: v1::Batch, metrics: &Metrics) -> Self {
        fn keep<T, U>(
            all: Vec<T>,
            stage: &'static str,
            metrics: &Metrics,
            weigh: fn(&T) -> u64,
            f: fn(T) -> Result<U, Malformed>,
        ) -> Vec<U> {
            all.into_iter()
                .filter_map(|item| {
                    let weight = weigh(&item);
                    f(item).inspect_err(|e| metrics.drop(stage, e.reason(), weight)).ok()
                })
                .collect()
        }
        Self {
            births: keep(batch.births, "containers", metrics, |_| 1, TryInto::try_into),
            calls: keep(batch.calls, "calls", metrics, |c| (c.tokens.len() / 2) as u64, TryInto::try_into),
            network: keep(
                batch.network,
                "network",
                metrics,
                |_| 1,
                |n| Ok((ContainerId::try_from(n.container_id.as_str())?, v1::Network { container_id: String::new(), ..n })),
            ),
            accounts: keep(
                batch.accounts,
                "accounts",
                metrics,
                |_| 1,
                |a| {
                    Ok(Account {
                        container: ContainerId::try_from(a.container_id.as_str())?,
                        lost: a.lost_ring.saturating_add(a.dropped_queue),
                    })
                },
            ),
            deaths: keep(batch.deaths, "deaths", metrics, |_| 1, |d| ContainerId::try_from(d.container_id.as_str())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_is_well_formed_and_counts_the_rest() {
        let calls = |id: &str, bytes: usize| v1::Calls {
            container_id: id.into(),
            tokens: vec![1; bytes],
            process: "a\nb".into(),
            ..v1::Calls::default()
        };
        let birth = |id: &str, pod: String| v1::Birth {
            container: Some(v1::Container { id: id.into(), pod, ..v1::Container::default() }),
        };
        let metrics = Metrics::default();
        let batch = v1::Batch {
            births: vec![
                birth("a", "p".into()),
                birth("", "p".into()),
                birth("b", "p".repeat(NAME_MAX + 1)),
                birth("c", "\n".into()),
                v1::Birth::default(),
            ],
            calls: vec![calls("a", 4), calls("a", 5), calls("with space", 6), calls(&"a".repeat(ID_MAX + 1), 2)],
            network: vec![v1::Network::default()],
            accounts: vec![v1::Account { container_id: "a".into(), ..v1::Account::default() }],
            deaths: vec![v1::Death { container_id: "é".into(), ended_at: None }],
            ..v1::Batch::default()
        };
        let batch = Batch::new(batch, &metrics);
        assert_eq!((batch.births.len(), batch.network.len(), batch.accounts.len(), batch.deaths.len()), (1, 0, 1, 0));
        let [c] = batch.calls.as_slice() else { panic!("one run of calls") };
        assert_eq!((c.tokens.as_slice(), c.process.as_str()), ([Token(0x0101), Token(0x0101)].as_slice(), "ab"));
        for (stage, reason, n) in [
            ("containers", "bad_id", 1),
            ("containers", "bad_name", 2),
            ("containers", "empty", 1),
            ("calls", "odd_tokens", 2),
            ("calls", "bad_id", 4),
            ("network", "bad_id", 1),
            ("deaths", "bad_id", 1),
        ] {
            assert_eq!(metrics.dropped(stage, reason), n, "{stage} {reason}");
        }
    }

    #[test]
    fn sandboxes_and_the_unnamed_have_no_workload() {
        let birth = |workload: &str, kind: v1::container::Kind| {
            let about =
                v1::Container { id: "a".into(), workload: workload.into(), kind: kind.into(), ..v1::Container::default() };
            Birth::try_from(v1::Birth { container: Some(about) }).expect("well-formed").workload()
        };
        assert_eq!(birth("a/b/c", v1::container::Kind::Container).as_deref(), Some("a/b/c"));
        assert_eq!(birth("a/b/c", v1::container::Kind::Sandbox), None);
        assert_eq!(birth("", v1::container::Kind::Unspecified), None);
    }
}
