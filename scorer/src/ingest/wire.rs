//! Batches as agents send them, into checked batches. *Pure.*
//!
//! In: messages that anyone may have written. Out: values within limits; what is malformed is left out and
//! listed. Never: a batch refused for a part of it: its agent would send it again for ever.

use std::sync::Arc;
use std::time::Duration;
use surprisal_proto::{
    container::{LABEL_BYTES_MAX, LABELS_MAX},
    token::Token,
    v1,
};

/// Longest container id, bytes.
pub const ID_MAX: usize = 128;
/// Longest name of anything, bytes.
pub const NAME_MAX: usize = 512;
/// Longest name of what a call was about, bytes.
pub const TEXT_MAX: usize = 1024;
/// Longest name that a program has for itself, bytes.
const ARGV0_MAX: usize = 256;
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
    /// A share that is none.
    #[error("bad ratio")]
    Ratio,
}

impl Malformed {
    fn reason(self) -> &'static str {
        match self {
            Self::Id => "bad_id",
            Self::Name => "bad_name",
            Self::OddTokens => "odd_tokens",
            Self::Empty => "empty",
            Self::Ratio => "bad_ratio",
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
    /// What shares its profile; `None`: not named, a pod sandbox, or in a sandboxed runtime.
    pub fn workload(&self) -> Option<Arc<str>> {
        let sandbox = self.about.kind == v1::container::Kind::Sandbox as i32 || self.about.own_kernel;
        (!sandbox && !self.about.workload.is_empty()).then(|| self.about.workload.as_str().into())
    }
}

impl TryFrom<v1::Birth> for Birth {
    type Error = Malformed;
    fn try_from(birth: v1::Birth) -> Result<Self, Malformed> {
        let about = birth.container.ok_or(Malformed::Empty)?;
        let id = ContainerId::try_from(about.id.as_str())?;
        let names = [
            &about.namespace,
            &about.pod,
            &about.pod_uid,
            &about.name,
            &about.image,
            &about.runtime_namespace,
            &about.workload,
            &about.owner_kind,
            &about.image_digest,
        ];
        let labels = about.labels.iter().flat_map(|(name, value)| [name, value]);
        let label_bytes: usize = labels.clone().map(String::len).sum();
        if names.iter().any(|n| n.len() > NAME_MAX)
            || about.labels.len() > LABELS_MAX
            || label_bytes > LABEL_BYTES_MAX
            || names.into_iter().chain(labels).any(|n| n.chars().any(char::is_control))
        {
            return Err(Malformed::Name);
        }
        Ok(Self { id, about })
    }
}

/// What one call was about.
#[derive(Clone, Debug)]
pub struct Name {
    /// Whose.
    pub container: ContainerId,
    /// Process id.
    pub tgid: u32,
    /// Thread id.
    pub tid: u32,
    /// Number of the call in its thread.
    pub sequence: u64,
    /// The call.
    pub token: Token,
    /// The name itself.
    pub text: Arc<str>,
    /// A path that does not begin at the root.
    pub relative: bool,
    /// With what there is to say of it: "/bin/busybox as sh", "conf/x (relative)", "/a/long/on…".
    pub shown: Arc<str>,
}

impl TryFrom<v1::Name> for Name {
    type Error = Malformed;
    fn try_from(name: v1::Name) -> Result<Self, Malformed> {
        let v1::Name { container_id, tgid, tid, sequence, token, text, argv0, relative, truncated, late } = name;
        let container = ContainerId::try_from(container_id.as_str())?;
        if text.is_empty() {
            return Err(Malformed::Empty);
        }
        if text.len() > TEXT_MAX || argv0.len() > ARGV0_MAX || text.chars().chain(argv0.chars()).any(char::is_control) {
            return Err(Malformed::Name);
        }
        let token = u16::try_from(token).map(Token).map_err(|_too_large| Malformed::Name)?;
        let mut shown = text.clone();
        if truncated {
            shown.push('…');
        }
        if !argv0.is_empty() {
            shown.extend([" as ", &argv0]);
        }
        for (is, said) in [(relative, " (relative)"), (late, " (read late)")] {
            if is {
                shown.push_str(said);
            }
        }
        let text: Arc<str> = text.into();
        // Mostly there is nothing to say of it.
        let shown = if shown.len() == text.len() { Arc::clone(&text) } else { shown.into() };
        Ok(Self { container, tgid, tid, sequence, token, text, relative, shown })
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
    /// The thread was started by exec.
    pub by_exec: bool,
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
            by_exec: c.by_exec,
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
    /// Calls that were not sent because the node was over its byte budget.
    pub left_out: u64,
    /// Names that its agent did not tell, and could not read.
    pub nameless: (u64, u64),
}

/// How much of a container is sent.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Whose.
    pub container: ContainerId,
    /// Share of the time, 0 to 1.
    pub ratio: f64,
}

/// Things left out of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Stage, as in `dropped_total`.
    pub stage: &'static str,
    /// Why.
    pub reason: &'static str,
    /// How many, in the stage's unit.
    pub count: u64,
}

/// A batch.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Containers that are new.
    pub births: Vec<Birth>,
    /// What calls were about.
    pub names: Vec<Name>,
    /// Calls.
    pub calls: Vec<Calls>,
    /// Network counters.
    pub network: Vec<(ContainerId, v1::Network)>,
    /// Balances.
    pub accounts: Vec<Account>,
    /// Containers that are sampled, or not any more.
    pub observed: Vec<Observed>,
    /// Containers that ended.
    pub deaths: Vec<ContainerId>,
    /// Calls that the agent's queue dropped before it.
    pub dropped_before: u64,
    /// What was malformed.
    pub left: Vec<Left>,
    /// How long ago it was received.
    pub waited: Duration,
}

impl From<v1::Batch> for Batch {
    /// Takes what is well-formed, lists the rest.
    fn from(batch: v1::Batch) -> Self {
        let mut left = Vec::new();
        let mut drop =
            |stage, count, e: Malformed| match left.iter_mut().find(|l: &&mut Left| (l.stage, l.reason) == (stage, e.reason())) {
                Some(l) => l.count += count,
                None => left.push(Left { stage, reason: e.reason(), count }),
            };
        let mut calls = Vec::with_capacity(batch.calls.len());
        for c in batch.calls {
            let count = (c.tokens.len() / 2) as u64;
            match c.try_into() {
                Ok(c) => calls.push(c),
                Err(e) => drop("calls", count, e),
            }
        }
        let births = keep(batch.births, TryInto::try_into, |e| drop("containers", 1, e));
        let names = keep(batch.names, TryInto::try_into, |e| drop("names", 1, e));
        let network = |n: v1::Network| {
            Ok((ContainerId::try_from(n.container_id.as_str())?, v1::Network { container_id: String::new(), ..n }))
        };
        let network = keep(batch.network, network, |e| drop("network", 1, e));
        let account = |a: v1::Account| {
            let container = ContainerId::try_from(a.container_id.as_str())?;
            Ok(Account {
                container,
                lost: a.lost_ring.saturating_add(a.dropped_queue),
                left_out: a.dropped_budget,
                nameless: (a.names_untold.saturating_add(a.names_dropped), a.names_unread),
            })
        };
        let accounts = keep(batch.accounts, account, |e| drop("accounts", 1, e));
        let observed = |o: v1::Observed| {
            let container = ContainerId::try_from(o.container_id.as_str())?;
            if (0.0..=1.0).contains(&o.ratio) { Ok(Observed { container, ratio: o.ratio }) } else { Err(Malformed::Ratio) }
        };
        let observed = keep(batch.observed, observed, |e| drop("observed", 1, e));
        let deaths = keep(batch.deaths, |d| ContainerId::try_from(d.container_id.as_str()), |e| drop("deaths", 1, e));
        let dropped_before = batch.dropped_before;
        Self { births, names, calls, network, accounts, observed, deaths, dropped_before, left, waited: Duration::ZERO }
    }
}

fn keep<T, U>(all: Vec<T>, take: impl Fn(T) -> Result<U, Malformed>, mut drop: impl FnMut(Malformed)) -> Vec<U> {
    all.into_iter().filter_map(|item| take(item).map_err(&mut drop).ok()).collect()
}

#[cfg(test)]
mod tests;
