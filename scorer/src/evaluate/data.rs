//! A data set in memory. *Pure.*
//!
//! In: what `text` and `recorded` read. Out: [`Item`]s with what is known of them, and
//! which of the training items are held out for a threshold. Never: a score.

use crate::evaluate::baseline::method::Example;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use surprisal_proto::token::Token;

/// One of the three parts of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Set {
    /// What is learned.
    NormalTrain,
    /// Normal behaviour that is judged.
    NormalTest,
    /// What holds attacks.
    Attack,
}

impl Set {
    /// All three.
    pub const ALL: [Self; 3] = [Self::NormalTrain, Self::NormalTest, Self::Attack];

    /// Name of its folder or file.
    pub fn name(self) -> &'static str {
        match self {
            Self::NormalTrain => "normal-train",
            Self::NormalTest => "normal-test",
            Self::Attack => "attack",
        }
    }
}

/// Where and when a window was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Recording, by its place in the data set.
    pub recording: u32,
    /// Container, a number within the recording.
    pub container: u32,
    /// When its first call was made, nanoseconds since the Unix epoch.
    pub started_ns: u64,
}

/// A sequence of calls that gets a score: a trace, or a window of a recording.
#[derive(Clone, Debug)]
pub struct Item {
    /// Which part of the data set it lies in.
    pub set: Set,
    /// File it was read from, below the data set.
    pub file: Arc<str>,
    /// Line of the trace from 1, or number of the window in its recording from 0.
    pub number: u64,
    /// What attack it is; `None`: normal.
    pub family: Option<Arc<str>>,
    /// Calls, context first; at least one.
    pub calls: Vec<Token>,
    /// How many leading calls are context.
    pub context: usize,
    /// The first call is its thread's first.
    pub from_start: bool,
    /// Only of recordings.
    pub place: Option<Place>,
}

impl Item {
    /// As methods see it.
    pub fn example(&self) -> Example<'_> {
        Example { calls: &self.calls, context: self.context, from_start: self.from_start }
    }

    /// It is an attack.
    pub fn is_attack(&self) -> bool {
        self.family.is_some()
    }
}

/// A stretch of time in which an attack went on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attack {
    /// What attack it is.
    pub family: Arc<str>,
    /// Recording, by its place in the data set.
    pub recording: u32,
    /// The container attacked, a number within the recording; `None`: all of them.
    pub container: Option<u32>,
    /// First and last nanosecond, since the Unix epoch.
    pub span: (u64, u64),
}

impl Attack {
    /// It went on at that place: in its recording, in its container.
    fn touches(&self, recording: u32, container: u32) -> bool {
        self.recording == recording && self.container.is_none_or(|c| c == container)
    }

    /// A window that began there and then is its.
    pub fn holds(&self, place: Place) -> bool {
        self.touches(place.recording, place.container) && (self.span.0..=self.span.1).contains(&place.started_ns)
    }

    /// It went on in some part of that second (since the Unix epoch) of that container.
    pub fn in_second(&self, recording: u32, container: u32, second: u64) -> bool {
        let second_of = |ns: u64| ns / 1_000_000_000;
        self.touches(recording, container) && (second_of(self.span.0)..=second_of(self.span.1)).contains(&second)
    }
}

/// A file of the data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Which part it belongs to.
    pub set: Set,
    /// Path below the data set.
    pub path: Arc<str>,
    /// SHA-256 of what it holds, uncompressed.
    pub digest: [u8; 32],
}

/// What the items are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Whole traces, without times.
    Traces,
    /// Windows of recordings.
    Recordings,
}

/// A data set.
#[derive(Clone, Debug)]
pub struct DataSet {
    /// What the items are.
    pub kind: Kind,
    /// To learn from, all normal; in the order of the files, and of time within a recording.
    pub train: Vec<Item>,
    /// To be judged: `normal-test`, then `attack`.
    pub test: Vec<Item>,
    /// Every file, in the order read.
    pub files: Vec<File>,
    /// When attacks went on; only of recordings.
    pub attacks: Vec<Attack>,
    /// Seconds recorded of `test`, summed over containers, without those of attacks; only of recordings.
    pub normal_container_seconds: f64,
    /// Things that were left out, in words; empty: nothing.
    pub left_out: Vec<String>,
}

/// Share of training data, the latest, that the threshold is chosen on.
pub const HELD_OUT: f64 = 0.2;

impl DataSet {
    /// Forgets the classes of arguments: what is left are call numbers, as a recorder without classes would have given.
    pub fn forget_classes(&mut self) {
        for call in self.train.iter_mut().chain(&mut self.test).flat_map(|item| &mut item.calls) {
            *call = Token::new(call.nr(), 0);
        }
        self.left_out.push("argument classes of all calls".to_owned());
    }

    /// For each item of `train`: it is held out. Of traces these are the last [`HELD_OUT`] in their order, of each
    /// recording those of the last [`HELD_OUT`] of its time. At least one is held out and one is not, where there are two.
    pub fn held_out(&self) -> Vec<bool> {
        match self.kind {
            Kind::Traces => {
                let n = self.train.len();
                let held = ((n as f64 * HELD_OUT).round() as usize).max(1);
                (0..n).map(|i| i + held >= n).collect()
            }
            Kind::Recordings => {
                let mut spans: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
                for place in self.train.iter().filter_map(|i| i.place) {
                    let span = spans.entry(place.recording).or_insert((place.started_ns, place.started_ns));
                    *span = (span.0.min(place.started_ns), span.1.max(place.started_ns));
                }
                let held = |place: Place| {
                    let (from, to) = spans[&place.recording];
                    to > from && (place.started_ns - from) as f64 >= (1.0 - HELD_OUT) * (to - from) as f64
                };
                self.train.iter().map(|i| i.place.is_some_and(held)).collect()
            }
        }
    }

    /// Names of the attacks in `test`, in alphabetical order, with their numbers of items.
    pub fn families(&self) -> BTreeMap<String, usize> {
        let mut families = BTreeMap::new();
        for family in self.test.iter().filter_map(|i| i.family.as_deref()) {
            *families.entry(family.to_owned()).or_default() += 1;
        }
        families
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A trace without a place.
    pub(crate) fn trace(set: Set, number: u64, family: Option<&str>, calls: &[u16]) -> Item {
        Item {
            set,
            file: "f".into(),
            number,
            family: family.map(Into::into),
            calls: calls.iter().copied().map(Token).collect(),
            context: 0,
            from_start: true,
            place: None,
        }
    }

    /// A data set of traces.
    pub(crate) fn traces(train: Vec<Item>, test: Vec<Item>) -> DataSet {
        DataSet {
            kind: Kind::Traces,
            train,
            test,
            files: vec![],
            attacks: vec![],
            normal_container_seconds: 0.0,
            left_out: vec![],
        }
    }

    #[test]
    fn classes_are_forgotten_and_numbers_are_not() {
        let mut data = traces(vec![trace(Set::NormalTrain, 0, None, &[Token::new(257, 15).0, 3])], vec![]);
        data.forget_classes();
        assert_eq!(data.train[0].calls, [Token(257), Token(3)]);
        assert_eq!(data.left_out, ["argument classes of all calls"]);
    }

    #[test]
    fn the_last_fifth_is_held_out() {
        for (n, expect) in [(1, "x"), (2, ".x"), (5, "....x"), (10, "........xx"), (12, "..........xx")] {
            let data = traces((0..n).map(|i| trace(Set::NormalTrain, i, None, &[1])).collect(), vec![]);
            let got: String = data.held_out().iter().map(|h| if *h { 'x' } else { '.' }).collect();
            assert_eq!(got, expect);
        }
    }

    #[test]
    fn the_last_fifth_of_each_recordings_time_is_held_out() {
        let at = |recording, seconds: u64| {
            let place = Place { recording, container: 0, started_ns: seconds * 1_000_000_000 };
            Item { place: Some(place), ..trace(Set::NormalTrain, 0, None, &[1]) }
        };
        let train = vec![at(0, 100), at(0, 179), at(0, 180), at(0, 200), at(1, 500), at(1, 510), at(1, 501), at(2, 7)];
        let data = DataSet { kind: Kind::Recordings, ..traces(train, vec![]) };
        assert_eq!(data.held_out(), [false, false, true, true, false, true, false, false]);
    }
}
