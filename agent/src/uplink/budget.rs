//! Who is on air when the node has more to say than its byte budget. Pure.
//!
//! In: what each container would cost on the wire, bytes a second, and the time. Out: whose calls are sent now, and the
//! share of time in which each sampled container's are. Never: samples calls; a container is sent whole or not at all,
//! because a sequence with random holes is no sequence.
//!
//! While all fit, all are on air. Once what they need has stayed over the budget for [`STAYS`], the budget is shared by
//! max-min fairness: who needs no more than the fair share is always sent whole (*quiet*), the others (*loud*) take turns
//! of [`TURN`]. At each turn the loud one that has waited longest goes first, and more of them join as far as there is
//! room. One that is over the room even alone is on air for the part of its turn that the room pays for. So with n loud
//! containers each is on air within n turns.
//!
//! Against flapping: room is planned to [`TARGET`] of the budget and only given up at the whole of it, and a loud container
//! counts as quiet again below [`QUIETER`] of the fair share. All are on air again at the first plan at which they fit.
//!
//! **Invariant:** what is on air costs no more than the budget, by the estimates given, unless it is one loud container
//! beside the quiet ones; that one is then silent for the rest of its turn.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// How often the plan is to be looked at.
pub const PLAN_EVERY: Duration = Duration::from_millis(500);
/// Length of a turn.
pub const TURN: Duration = Duration::from_secs(10);
/// Longest turn: of a container that is on air for [`AIR_MIN`] and pays for it with silence.
pub const TURN_MAX: Duration = Duration::from_mins(1);
/// Shortest time on air.
pub const AIR_MIN: Duration = Duration::from_secs(1);
/// How long the budget must be exceeded before anybody is sampled.
pub const STAYS: Duration = Duration::from_secs(1);
/// Part of the budget that is planned for.
pub const TARGET: f64 = 0.9;
/// Part of the fair share below which a loud container is quiet again.
pub const QUIETER: f64 = 0.8;
/// Turns that are simulated to predict how much of each container will be sent.
const FORESIGHT: usize = 256;
/// A share of time is announced again when it changed by more than this.
const TELLING: f64 = 0.05;

/// A container's id.
pub type Id = Arc<str>;

/// What containers would cost on the wire, bytes a second.
pub type Demands = BTreeMap<Id, f64>;

/// Decides who is on air.
#[derive(Debug)]
pub struct Budget {
    limit: f64,
    over_since: Option<Duration>,
    turn: Option<Turn>,
    muted: HashSet<Id>,
    announced: BTreeMap<Id, f64>,
}

/// The present turn.
#[derive(Debug)]
struct Turn {
    ends: Duration,
    /// Loud containers; the last is the present turn's first, and who waits longest stands at the front.
    order: Vec<Id>,
    on_air: Vec<Id>,
    /// The one on air is over the room, and on air until then.
    alone_until: Option<Duration>,
}

/// How the budget divides at one moment.
struct Division {
    loud: Vec<Id>,
    /// What loud containers may cost together.
    room: f64,
    /// Up to where more of them may join.
    target: f64,
}

impl Budget {
    /// `limit`: bytes a second, above 0.
    pub fn new(limit: f64) -> Self {
        Self { limit, over_since: None, turn: None, muted: HashSet::new(), announced: BTreeMap::new() }
    }

    /// Bytes a second.
    pub fn limit(&self) -> f64 {
        self.limit
    }

    /// Whether a container's calls are sent now.
    pub fn is_on_air(&self, id: &str) -> bool {
        !self.muted.contains(id)
    }

    /// Sampled containers and the share of time, above 0 and below 1, in which each is on air.
    pub fn sampled(&self) -> &BTreeMap<Id, f64> {
        &self.announced
    }

    /// Plans anew; call it every [`PLAN_EVERY`]. `fixed`: bytes a second that are sent in any case. Returns the shares of
    /// time to announce because they changed; 1: sent whole again.
    pub fn plan(&mut self, demands: &Demands, fixed: f64, now: Duration) -> Vec<(Id, f64)> {
        // What is sent in any case must not silence all: a little is left to take turns in.
        let limit = (self.limit - fixed).max(self.limit / 20.0);
        let total: f64 = demands.values().sum();
        if self.turn.is_none() {
            if total <= limit {
                self.over_since = None;
                return Vec::new();
            }
            if now.saturating_sub(*self.over_since.get_or_insert(now)) < STAYS {
                return Vec::new();
            }
        }
        if total <= TARGET * limit {
            self.over_since = None;
            self.turn = None;
            self.muted.clear();
            return std::mem::take(&mut self.announced).into_keys().map(|id| (id, 1.0)).collect();
        }
        let division = self.divide(demands, limit);
        let mut turn = self.turn.take().unwrap_or(Turn { ends: now, order: Vec::new(), on_air: Vec::new(), alone_until: None });
        let again = turn.go_on(&division, demands, now);
        self.muted = division.loud.iter().filter(|id| !turn.on_air.contains(id)).cloned().collect();
        let changes = if again { self.announce(&turn.foresee(&division, demands)) } else { Vec::new() };
        self.turn = Some(turn);
        changes
    }

    fn divide(&self, demands: &Demands, limit: f64) -> Division {
        let target = TARGET * limit;
        let share = fair_share(demands.values().copied(), target);
        let (mut loud, mut quiet) = (Vec::new(), 0.0);
        let order = self.turn.as_ref().map_or(&[][..], |t| &t.order);
        let were_loud: HashSet<&Id> = order.iter().collect();
        for (id, demand) in demands {
            let bound = if were_loud.contains(id) { QUIETER * share } else { share };
            if *demand <= bound {
                quiet += demand;
            } else {
                loud.push(id.clone());
            }
        }
        Division { loud, room: limit - quiet, target: target - quiet }
    }

    fn announce(&mut self, shares: &BTreeMap<Id, f64>) -> Vec<(Id, f64)> {
        let whole_again = self.announced.keys().filter(|id| !shares.contains_key(*id)).map(|id| (id.clone(), 1.0));
        let mut changes: Vec<_> = whole_again.collect();
        for (id, share) in shares {
            let told = self.announced.get(id);
            if told.is_none_or(|told| (told - share).abs() > TELLING.min(told / 4.0)) {
                changes.push((id.clone(), *share));
            }
        }
        for (id, share) in &changes {
            if *share < 1.0 {
                self.announced.insert(id.clone(), *share);
            } else {
                self.announced.remove(id);
            }
        }
        changes
    }
}

impl Turn {
    /// Brings the turn to `now`. True: a new one began, or the loud are others than before.
    fn go_on(&mut self, division: &Division, demands: &Demands, now: Duration) -> bool {
        let loud: HashSet<&Id> = division.loud.iter().collect();
        let known: HashSet<Id> = self.order.iter().cloned().collect();
        let mut again = division.loud.len() != known.len();
        self.order.retain(|id| loud.contains(id));
        let new: Vec<_> = division.loud.iter().filter(|id| !known.contains(*id)).cloned().collect();
        again |= !new.is_empty();
        // New ones were sent whole until now: behind all but the one whose turn it is.
        let behind = self.order.len().saturating_sub(1);
        self.order.splice(behind..behind, new);
        self.on_air.retain(|id| loud.contains(id));
        let spent = self.alone_until.is_some() && self.on_air.is_empty() && now < self.ends;
        if now >= self.ends || (self.on_air.is_empty() && !spent) {
            again = true;
            self.begin(division, demands, now);
        }
        if let (Some(until), [alone]) = (self.alone_until, &self.on_air[..]) {
            if now >= until {
                self.on_air.clear();
            } else if demands[alone] <= division.room {
                self.alone_until = None;
            }
        }
        if self.alone_until.is_none() {
            self.fill(division, demands, now);
        }
        again
    }

    /// The one that has waited longest goes first.
    fn begin(&mut self, division: &Division, demands: &Demands, now: Duration) {
        let Some(first) = (!self.order.is_empty()).then(|| self.order.remove(0)) else { return };
        let (air, length) = air_and_length(demands[&first], division.room);
        self.ends = now + length;
        self.alone_until = (demands[&first] > division.room).then_some(now + air);
        self.order.push(first.clone());
        self.on_air = vec![first];
    }

    /// Lets go of those that do not fit any more, takes in those that do.
    fn fill(&mut self, division: &Division, demands: &Demands, now: Duration) {
        let Some(first) = self.on_air.first() else { return };
        let mut sum = demands[first];
        if sum > division.room {
            // It has grown: what is left of its turn is cut.
            let left = self.ends.saturating_sub(now).mul_f64(division.room / sum);
            self.alone_until = Some(now + left);
            self.on_air.truncate(1);
            return;
        }
        let mut keep = vec![first.clone()];
        for id in &self.on_air[1..] {
            if sum + demands[id] <= division.room {
                sum += demands[id];
                keep.push(id.clone());
            }
        }
        for id in &self.order {
            if sum + demands[id] <= division.target && !keep.contains(id) {
                sum += demands[id];
                keep.push(id.clone());
            }
        }
        self.on_air = keep;
    }

    /// The share of time on air of each loud container, should nothing change: one round of turns, simulated.
    fn foresee(&self, division: &Division, demands: &Demands) -> BTreeMap<Id, f64> {
        let n = self.order.len();
        let rounds = n.min(FORESIGHT);
        let mut air: BTreeMap<Id, f64> = BTreeMap::new();
        let mut time = 0.0;
        // The present turn's first stands last.
        for k in 0..rounds {
            let first = &self.order[(n - 1 + k) % n];
            let (on, length) = air_and_length(demands[first], division.room);
            time += length.as_secs_f64();
            *air.entry(first.clone()).or_default() += on.as_secs_f64();
            let mut sum = demands[first];
            for id in (0..n - 1).map(|i| &self.order[(n + k + i) % n]) {
                if sum + demands[id] <= division.target {
                    sum += demands[id];
                    *air.entry(id.clone()).or_default() += length.as_secs_f64();
                }
            }
        }
        let share = |id: &Id| (air.get(id).map_or(1.0 / n as f64, |on| on / time) * 100.0).round() / 100.0;
        self.order.iter().map(|id| (id.clone(), share(id).clamp(0.01, 0.99))).collect()
    }
}

/// How long a container that goes first is on air, and how long its turn is.
fn air_and_length(demand: f64, room: f64) -> (Duration, Duration) {
    if demand <= room {
        return (TURN, TURN);
    }
    let ticks = (TURN.as_secs_f64() * room / demand / PLAN_EVERY.as_secs_f64()).floor();
    let air = PLAN_EVERY.mul_f64(ticks).max(AIR_MIN);
    (air, air.mul_f64((demand / room).min(TURN_MAX.as_secs_f64())).clamp(TURN, TURN_MAX))
}

/// The largest share such that the demands, each cut to it, sum up to no more than `limit`; infinite where all fit.
pub fn fair_share(demands: impl Iterator<Item = f64>, limit: f64) -> f64 {
    let mut demands: Vec<f64> = demands.collect();
    demands.sort_by(f64::total_cmp);
    let mut left = limit;
    for (n, demand) in demands.iter().enumerate() {
        let share = left / (demands.len() - n) as f64;
        if *demand > share {
            return share;
        }
        left -= demand;
    }
    f64::INFINITY
}

#[cfg(test)]
mod tests;
