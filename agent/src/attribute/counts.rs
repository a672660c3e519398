//! What attribution counts.
//!
//! In: nothing. Out: [`Totals`], [`Balance`] and [`Held`], with what each counts. Pure.

/// Counts that belong to no container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Calls taken in, each counted once: passed on, held, or dropped for one of the reasons below.
    pub calls_in: u64,
    /// Calls among `calls_in` whose threads are not followed: their container is not selected, or there was no room for it.
    pub calls_unfollowed: u64,
    /// Calls of containers for which there was no room.
    pub calls_refused: u64,
    /// Records of containers for which there was no room.
    pub records_refused: u64,
    /// Threads forgotten for lack of room before they ended.
    pub threads_forgotten: u64,
    /// Calls of containers that are not selected.
    pub calls_unselected: u64,
    /// Calls that a peek had brought before.
    pub calls_repeated: u64,
    /// Calls that came after their container's end. Its last account counted them as lost, and `calls_in` does not count them.
    pub calls_late: u64,
    /// Calls passed on.
    pub calls_out: u64,
    /// Calls found lost in the kernel.
    pub calls_lost: u64,
    /// Names of what calls were about, passed on or held.
    pub names_in: u64,
    /// Names of containers that are not followed, of what has no name in words, and those told a moment ago.
    pub names_dropped: u64,
    /// Containers sent on before they were named, because too much was held.
    pub named_too_late: u64,
    /// Containers whose birth was not seen.
    pub births_inferred: u64,
    /// Containers whose end was not seen.
    pub ends_inferred: u64,
}

/// Calls of all containers that are or were followed, as their accounts say: issued = delivered + lost + pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Calls their threads are known to have issued.
    pub issued: u64,
    /// Calls read from the kernel.
    pub delivered: u64,
    /// Calls lost because the ring buffer was full.
    pub lost: u64,
}

impl Balance {
    pub(super) fn add(&mut self, other: Self) {
        self.issued += other.issued;
        self.delivered += other.delivered;
        self.lost += other.lost;
    }
}

/// What is held for names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Calls.
    pub calls: u64,
    /// Memory, bytes; at most `HELD_MAX` and one run.
    pub bytes: usize,
}

impl Held {
    pub(super) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.bytes += other.bytes;
    }

    pub(super) fn take(&mut self, other: Self) {
        self.calls -= other.calls;
        self.bytes -= other.bytes;
    }
}
