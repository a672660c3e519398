//! What training and test have in common. *Pure.*
//!
//! In: a [`DataSet`]. Out: how many files and traces are there twice, and the first of them. Never: removes one.
//!
//! A file that is both trained on and judged makes every figure worthless; so does a trace. Windows of recordings
//! are not compared: a server that does the same all day is not leakage.

use crate::evaluate::data::{DataSet, Item, Kind, Set};
use serde::Serialize;
use std::collections::HashMap;

/// Pairs that are named.
const NAMED: usize = 3;

/// What is on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Leakage {
    /// Files of `normal-test` or `attack` that are also in `normal-train`, byte for byte (after unpacking).
    pub files: u64,
    /// Traces of `normal-test` that are also in `normal-train`; 0 for recordings, as the next three.
    pub normal_test_traces: u64,
    /// Attack traces that are also in `normal-train`.
    pub attack_traces: u64,
    /// Attack traces that are also in `normal-test`: no leakage, but no method can tell them from normal.
    pub attack_traces_in_normal_test: u64,
    /// Different traces in `normal-train`.
    pub distinct_train_traces: u64,
    /// The first pairs, as `FILE = FILE`.
    pub first: Vec<String>,
}

impl Leakage {
    /// Looks for it.
    pub fn of(data: &DataSet) -> Self {
        let mut found = Self::default();
        let trained = data.files.iter().rev().filter(|f| f.set == Set::NormalTrain).map(|f| (f.digest, &f.path));
        let trained: HashMap<_, _> = trained.collect();
        for file in data.files.iter().filter(|f| f.set != Set::NormalTrain) {
            if let Some(twin) = trained.get(&file.digest) {
                found.files += 1;
                found.first.push(format!("{} = {twin}", file.path));
            }
        }
        if data.kind == Kind::Traces {
            found.traces(data);
        }
        found.first.truncate(NAMED);
        found
    }

    fn traces(&mut self, data: &DataSet) {
        // The first of equal traces is the one that is named.
        let first = |items: &mut dyn DoubleEndedIterator<Item = &Item>| -> HashMap<Vec<_>, String> {
            items.rev().map(|i| (i.calls.clone(), format!("{}:{}", i.file, i.number))).collect()
        };
        let train = first(&mut data.train.iter());
        let test = first(&mut data.test.iter().filter(|i| !i.is_attack()));
        self.distinct_train_traces = train.len() as u64;
        for item in &data.test {
            if let Some(twin) = train.get(&item.calls) {
                *(if item.is_attack() { &mut self.attack_traces } else { &mut self.normal_test_traces }) += 1;
                if self.first.len() < NAMED {
                    self.first.push(format!("{}:{} = {twin}", item.file, item.number));
                }
            }
            self.attack_traces_in_normal_test += u64::from(item.is_attack() && test.contains_key(&item.calls));
        }
    }

    /// There is none.
    pub fn is_none(&self) -> bool {
        (self.files, self.normal_test_traces, self.attack_traces) == (0, 0, 0)
    }
}

impl std::fmt::Display for Leakage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} file(s), {} normal trace(s) and {} attack trace(s) are both trained on and judged (first: {})",
            self.files,
            self.normal_test_traces,
            self.attack_traces,
            self.first.join("; ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::data::File;
    use crate::evaluate::data::tests::{trace, traces};

    fn file(set: Set, path: &str, digest: u8) -> File {
        File { set, path: path.into(), digest: [digest; 32] }
    }

    #[test]
    fn traces_on_both_sides_are_counted_and_named() {
        let train = vec![trace(Set::NormalTrain, 1, None, &[1, 2]), trace(Set::NormalTrain, 2, None, &[1, 2])];
        let test = vec![
            trace(Set::NormalTest, 3, None, &[1, 2, 3]),
            trace(Set::NormalTest, 4, None, &[1, 2]),
            trace(Set::Attack, 5, Some("a"), &[1, 2]),
            trace(Set::Attack, 6, Some("a"), &[1, 2, 3]),
            trace(Set::Attack, 7, Some("a"), &[2, 1]),
        ];
        let found = Leakage::of(&traces(train.clone(), test.clone()));
        let expect = Leakage {
            files: 0,
            normal_test_traces: 1,
            attack_traces: 1,
            attack_traces_in_normal_test: 2,
            distinct_train_traces: 1,
            first: vec!["f:4 = f:1".into(), "f:5 = f:1".into()],
        };
        assert_eq!(found, expect);
        assert!(!found.is_none());
        assert_eq!(
            found.to_string(),
            "0 file(s), 1 normal trace(s) and 1 attack trace(s) are both trained on and judged (first: f:4 = f:1; f:5 = f:1)"
        );
        // Windows of recordings are alike, and that is no leakage.
        let recordings = DataSet { kind: Kind::Recordings, ..traces(train, test) };
        assert!(Leakage::of(&recordings).is_none());
    }

    #[test]
    fn the_same_file_on_both_sides_is_found_whatever_its_name() {
        let files = vec![
            file(Set::NormalTrain, "normal-train/a", 1),
            file(Set::NormalTrain, "normal-train/b", 2),
            file(Set::NormalTest, "normal-test/c", 2),
            file(Set::Attack, "attack/d", 3),
            file(Set::Attack, "attack/e", 3),
        ];
        let found = Leakage::of(&DataSet { kind: Kind::Recordings, files, ..traces(vec![], vec![]) });
        assert_eq!((found.files, found.first.join(" ")), (1, "normal-test/c = normal-train/b".into()));
    }
}
