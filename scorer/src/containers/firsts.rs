//! What a container did for the first time in the recent past, whichever of its windows are kept as evidence. *Pure.*
//!
//! In: new names of judged windows, who made their calls, the time. Out: the first few of each kind, in the order in which they came.
//! Never: more than [`EACH`] of a kind; one for longer than a window counts.

use crate::containers::names::New;
use crate::containers::thread::ThreadId;
use crate::detect::score::RECENT;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use surprisal_proto::v1;

/// Kept of each kind, at most: the first tell how it began.
const EACH: usize = 3;

/// Something done for the first time, and by whom.
#[derive(Clone, Debug)]
struct First {
    new: New,
    thread: ThreadId,
    process: Arc<str>,
    mono: Duration,
    at: Timestamp,
}

/// First times, oldest first.
#[derive(Debug, Default)]
pub(super) struct Firsts {
    kept: Vec<First>,
}

/// Who did it, and when.
#[derive(Clone, Debug)]
pub(super) struct By {
    pub(super) thread: ThreadId,
    pub(super) process: Arc<str>,
    pub(super) mono: Duration,
    pub(super) at: Timestamp,
}

impl Firsts {
    /// Takes what is new of a window.
    pub(super) fn add(&mut self, news: &[New], by: &By) {
        for new in news {
            let same = self.kept.iter().filter(|first| first.new.kind == new.kind);
            let full = same.clone().count() >= EACH;
            if full || same.into_iter().any(|first| first.new.shown == new.shown) {
                continue;
            }
            let By { thread, process, mono, at } = by.clone();
            self.kept.push(First { new: new.clone(), thread, process, mono, at });
        }
    }

    /// Forgets what is older than [`RECENT`].
    pub(super) fn expire(&mut self, now: Duration) {
        self.kept.retain(|first| now.saturating_sub(first.mono) <= RECENT);
        if self.kept.is_empty() {
            self.kept = Vec::new();
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.kept = Vec::new();
    }

    /// As the wire has them, of a training that listened so long.
    pub(super) fn messages(&self, container_seconds: f64) -> Vec<v1::FirstTime> {
        let message = |first: &First| v1::FirstTime {
            name: Some(first.new.message(container_seconds)),
            process: first.process.to_string(),
            tgid: first.thread.tgid,
            tid: first.thread.tid,
            at: Some(SystemTime::from(first.at).into()),
        };
        self.kept.iter().map(message).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::names::Kind;
    use surprisal_proto::token::Token;

    #[test]
    fn the_first_of_each_kind_for_a_while() {
        let new = |kind, shown: &str| New { kind, token: Token(1), sequence: 1, shown: shown.into(), nats: 9.0 };
        let by = |second| By {
            thread: ThreadId { tgid: 1, tid: 2 },
            process: "sh".into(),
            mono: Duration::from_secs(second),
            at: Timestamp::UNIX_EPOCH,
        };
        let mut firsts = Firsts::default();
        firsts.add(&[new(Kind::Read, "/a"), new(Kind::Run, "/b")], &by(1));
        firsts.add(&[new(Kind::Run, "/b"), new(Kind::Run, "/c"), new(Kind::Run, "/d"), new(Kind::Run, "/e")], &by(20));
        firsts.add(&[new(Kind::Talk, "1.2.3.4:5")], &by(25));
        let said = |firsts: &Firsts| {
            let names = firsts.messages(60.0).into_iter().filter_map(|first| first.name);
            names.map(|new| format!("{} {}", new.did, new.name)).collect::<Vec<_>>()
        };
        assert_eq!(said(&firsts), ["read /a", "ran /b", "ran /c", "ran /d", "talked to 1.2.3.4:5"]);
        firsts.expire(Duration::from_secs(40));
        assert_eq!(said(&firsts), ["ran /c", "ran /d", "talked to 1.2.3.4:5"]);
        firsts.clear();
        assert_eq!(said(&firsts), Vec::<String>::new());
    }
}
