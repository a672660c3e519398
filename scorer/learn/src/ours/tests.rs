//! Tests of the project's own methods.

use crate::ours::base::{FITS, How};
use crate::ours::trainer::Trainer;
use crate::ours::windows::windows;
use surprisal_proto::token::Token;
use surprisal_scorer::detect::model::Sizes;
use surprisal_scorer::evaluate::baseline::method::Example;
use surprisal_scorer::evaluate::methods::{Fitter as _, Ours};
use surprisal_scorer::train::progress::Progress;

const HOW: How = How { sizes: Sizes { embedding: 8, hidden: 16 }, max_windows: 1000, epochs: 12, threads: 1 };

fn trace(calls: &[u16]) -> Vec<Token> {
    calls.iter().map(|c| Token(*c)).collect()
}

fn example(calls: &[Token]) -> Example<'_> {
    Example { calls, context: 0, from_start: true }
}

#[test]
fn traces_are_cut_as_threads_are_and_windows_left_whole() {
    let long = trace(&[7; 150]);
    let lengths: Vec<_> = windows(&example(&long)).iter().map(|w| (w.context.len(), w.calls.len())).collect();
    assert_eq!(lengths, [(0, 64), (16, 64), (16, 22)]);
    let window = Example { context: 16, from_start: false, ..example(&long[..80]) };
    let [one] = windows(&window).try_into().expect("one");
    assert_eq!((one.context.len(), one.calls.len(), one.from_start), (16, 64, false));
}

#[test]
fn another_loop_is_stranger_and_the_same_seed_says_the_same() {
    let normal: Vec<_> = (0..40u16).map(|n| trace(&[3, 4, 5, 6 + n % 2].repeat(20))).collect();
    let normal: Vec<_> = normal.iter().map(|t| example(t)).collect();
    let (known, other) = (trace(&[3, 4, 5, 6].repeat(10)), trace(&[5, 4, 9, 6].repeat(10)));
    let judged = [example(&known), example(&other)];
    let progress = Progress::default();
    for ours in [Ours::Lstm, Ours::Surprisal] {
        let trainer = Trainer { ours, how: HOW };
        let method = trainer.fit(&normal, 1, &progress).expect("fits");
        let said = method.score(&judged);
        assert!(said[1] > said[0] + 0.5, "{said:?}");
        FITS.with_borrow_mut(Vec::clear);
        assert_eq!(trainer.fit(&normal, 1, &progress).expect("fits").score(&judged), said);
        let attack = [trace(&[5, 4, 9, 6].repeat(30)), trace(&[4, 5, 9, 6].repeat(30))];
        let attack: Vec<_> = attack.iter().map(|t| example(t)).collect();
        let method = trainer.fit_labelled(&normal, &attack, 1, &progress).expect("fits");
        let said = method.score(&judged);
        let even = method.decision().unwrap_or(0.5);
        assert!(said[0] < even && said[1] > even, "{said:?}");
    }
}
