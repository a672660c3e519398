//! Tests of `memo`.

use super::*;
use std::cell::Cell;

/// What it says of a call: its class, and how far back the last class 9 is, if that is within its reach.
struct Fake {
    reach: usize,
    asked: Cell<usize>,
}

impl Fake {
    fn new(reach: usize) -> Self {
        Self { reach, asked: Cell::new(0) }
    }
}

impl LanguageModel for Fake {
    fn judge(&self, windows: &[Encoded]) -> Result<Vec<Judged>, ModelError> {
        self.asked.set(self.asked.get() + windows.len());
        let one = |w: &Encoded| {
            let nats = |t: usize| {
                let back = w.inputs[..=t].iter().rev().take(self.reach).position(|c| *c == 9);
                w.targets[t] as f32 + back.map_or(0.0, |b| 1.0 + b as f32)
            };
            let nll: Vec<f32> = (w.scored_from..w.targets.len()).map(nats).collect();
            let top = (0..nll.len()).filter(|i| nll[*i] >= OWN).map(|index| Position { index, expected: vec![(7, nll[index])] });
            let mut top: Vec<_> = top.collect();
            top.sort_by(|a, b| nll[b.index].total_cmp(&nll[a.index]));
            top.truncate(CANDIDATES);
            Judged { nll, top }
        };
        Ok(windows.iter().map(one).collect())
    }
}

/// A window of a thread that goes on, of these classes.
fn window(classes: &[i64]) -> Encoded {
    Encoded { inputs: classes[..classes.len() - 1].to_vec(), targets: classes[1..].to_vec(), scored_from: 15 }
}

/// A window of zeros with a 9 at some places.
fn marked(at: &[usize]) -> Encoded {
    let mut classes = vec![0; LONGEST];
    for at in at {
        classes[*at] = 9;
    }
    window(&classes)
}

#[test]
fn what_two_windows_agree_on_is_remembered_as_it_was_said() {
    let (model, mut memo) = (Fake::new(5), Memo::new(1 << 12));
    let given = [marked(&[20]), marked(&[40])];
    let exact = model.judge(&given).expect("judges");
    for _ in 0..4 {
        assert_eq!(memo.judge(1, &model, &given).expect("judges"), exact);
    }
    let asked = model.asked.get();
    assert!(asked < 2 + 4 * 2 && memo.counts().remembered > 0, "{asked}: {:?}", memo.counts());
    // A window that was never seen, of calls that were, each after the same last calls.
    let other = [marked(&[30])];
    let remembered = memo.judge(1, &model, &other).expect("judges");
    assert_eq!(model.asked.get(), asked);
    assert_eq!(remembered, model.judge(&other).expect("judges"));
    // Another model's number is another model.
    let asked = model.asked.get();
    memo.judge(2, &model, &given).expect("judges");
    assert_eq!(model.asked.get(), asked + 2);
    assert_eq!(memo.counts().barred, 0);
}

#[test]
fn what_depends_on_more_is_known_by_more() {
    // It looks 20 classes back: the shortest span is contradicted and barred, the next one holds.
    let (model, mut memo) = (Fake::new(20), Memo::new(1 << 14));
    let given: Vec<_> = (20..60).map(|at| marked(&[at])).collect();
    for _ in 0..8 {
        memo.judge(1, &model, &given).expect("judges");
    }
    assert!(memo.counts().barred > 0 && memo.counts().remembered > 0, "{:?}", memo.counts());
    assert_eq!(memo.judge(1, &model, &given).expect("judges"), model.judge(&given).expect("judges"));
}

#[test]
fn an_audit_measures_and_mends_what_further_calls_change() {
    // It looks further back than any span: what was remembered of a plain window is wrong for one that began otherwise.
    let (model, mut memo) = (Fake::new(LONGEST), Memo::new(1 << 14));
    let plain = marked(&[]);
    for _ in 0..4 {
        memo.judge(1, &model, std::slice::from_ref(&plain)).expect("judges");
    }
    let (before, other) = (memo.counts(), vec![marked(&[0]); AUDIT as usize]);
    memo.judge(1, &model, &other).expect("judges");
    assert_eq!(memo.counts().remembered, before.remembered + AUDIT);
    assert!(memo.counts().audited == 1 && memo.counts().deviation > 10.0, "{:?}", memo.counts());
    // The one that was compared barred what it contradicts.
    assert_eq!(memo.judge(1, &model, &other).expect("judges"), model.judge(&other).expect("judges"));
}

#[test]
fn it_is_bounded_and_a_longer_window_is_not_a_shorter_one() {
    let (model, mut memo) = (Fake::new(3), Memo::new(100));
    for n in 0..200 {
        let classes: Vec<i64> = (0..LONGEST as i64).map(|i| (i * (n + 3) + n) % 50).collect();
        memo.judge(1, &model, &[window(&classes)]).expect("judges");
    }
    assert!(memo.len() <= 100 && !memo.is_empty(), "{}", memo.len());
    let both = [window(&[1; 20]), window(&[1; 21])];
    let mut memo = Memo::new(1 << 12);
    for _ in 0..4 {
        assert_eq!(memo.judge(1, &model, &both).expect("judges"), model.judge(&both).expect("judges"));
    }
}
