//! Tests of the model and its teacher.

use crate::lstm::model::Lstm;
use crate::lstm::teacher::Teacher;
use surprisal_scorer::detect::evidence::CANDIDATES;
use surprisal_scorer::detect::model::{Encoded, LanguageModel as _, ModelError, Sizes};
use surprisal_scorer::detect::vocab::{BOS, UNKNOWN};
use surprisal_scorer::profile::weights;

const SIZES: Sizes = Sizes { embedding: 8, hidden: 16 };
const CLASSES: usize = 9;
const UNSEEN: usize = 100;

fn window(calls: &[i64], scored_from: usize) -> Encoded {
    let inputs = std::iter::once(BOS).chain(calls[..calls.len() - 1].iter().copied()).collect();
    Encoded { inputs, targets: calls.to_vec(), scored_from }
}

fn saved(model: &Lstm) -> Vec<u8> {
    weights::write(&model.weights().expect("weights"), "v").expect("serialises")
}

fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4), "{a:?} is not {b:?}");
}

#[test]
fn what_is_loaded_says_what_was_saved() {
    let model = Lstm::new(SIZES, CLASSES, UNSEEN, 7).expect("a model");
    let windows = [window(&[3, 4, 5, 3], 0), window(&[8, 8], 1)];
    let bytes = saved(&model);
    let again = Lstm::load(&bytes, SIZES, CLASSES, UNSEEN).expect("loads");
    assert_eq!(again.judge(&windows).expect("judges"), model.judge(&windows).expect("judges"));
    assert_eq!(saved(&again), bytes);
    let other = Lstm::load(&bytes, SIZES, CLASSES + 1, UNSEEN).map_err(ModelError::from).expect_err("other sizes").to_string();
    assert_eq!(other, "the weights do not fit: tensor embedding: is F32 [9, 8], expected F32 [10, 8]");
}

#[test]
fn an_answer_does_not_depend_on_neighbours() {
    let model = Lstm::new(SIZES, CLASSES, UNSEEN, 7).expect("a model");
    let windows: Vec<_> =
        (1..80).map(|n| window(&(0..n).map(|i| 3 + (i * n) % 6).collect::<Vec<_>>(), usize::from(n > 20) * 16)).collect();
    let together = model.judge(&windows).expect("judges");
    for (window, judged) in windows.iter().zip(&together) {
        let alone = &model.judge(std::slice::from_ref(window)).expect("judges")[0];
        close(&alone.nll, &judged.nll);
        assert_eq!(judged.nll.len(), window.targets.len() - window.scored_from);
        assert!(judged.top.len() == judged.nll.len().min(CANDIDATES));
        let top: Vec<_> = judged.top.iter().map(|p| judged.nll[p.index]).collect();
        assert!(top.is_sorted_by(|a, b| *a >= b - 1e-5), "{top:?}");
        let highest = judged.nll.iter().copied().fold(f32::MIN, f32::max);
        close(&top[..1], &[highest]);
    }
    assert!(model.judge(&[]).expect("nothing").is_empty());
}

#[test]
fn probabilities_sum_to_one_and_the_unknown_share_theirs() {
    let model = Lstm::new(SIZES, CLASSES, UNSEEN, 7).expect("a model");
    // The same place with every class in turn.
    let windows: Vec<_> = (0..CLASSES as i64).map(|class| window(&[3, 4, class], 2)).collect();
    let judged = model.judge(&windows).expect("judges");
    let sum: f64 = (0i64..)
        .zip(&judged)
        .map(|(class, j)| (f64::from(-j.nll[0])).exp() * if class == UNKNOWN { UNSEEN as f64 } else { 1.0 })
        .sum();
    assert!((sum - 1.0).abs() < 1e-4, "{sum}");
    let (class, p) = judged[0].top[0].expected[0];
    assert!(
        (f64::from(-judged[class as usize].nll[0]).exp() * if class == UNKNOWN { UNSEEN as f64 } else { 1.0 } - f64::from(p))
            .abs()
            < 1e-4
    );
}

#[test]
fn a_loop_is_learned_and_what_breaks_it_is_surprising() {
    let mut teacher = Teacher::new(Lstm::new(SIZES, CLASSES, UNSEEN, 7).expect("a model"), 7).expect("a teacher");
    let turn = [3, 4, 5, 6].repeat(12);
    for _ in 0..150 {
        teacher.step(&[(window(&turn, 0), 1.0)], 0.01).expect("learns");
    }
    let mut broken = turn.clone();
    broken[30] = 7;
    let judged = teacher.model.judge(&[window(&turn, 8), window(&broken, 8)]).expect("judges");
    assert!(judged[0].nll.iter().all(|n| *n < 0.5), "{:?}", judged[0].nll);
    let worst = &judged[1].top[0];
    assert_eq!((worst.index, worst.expected[0].0), (22, turn[30]));
    assert!(judged[1].nll[22] > 3.0);
}
