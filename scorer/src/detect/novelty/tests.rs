//! Tests of `novelty`.

use super::*;
use proptest::prelude::*;

fn tokens(calls: &[u16]) -> Vec<Token> {
    calls.iter().copied().map(Token).collect()
}

fn known() -> KnownSets {
    let sequences = [tokens(&[1, 2, 3, 1]), tokens(&[3, 3, 2, 1]), tokens(&[4, 5])];
    KnownSets::learn(sequences.iter().map(Vec::as_slice))
}

#[test]
fn distances_by_hand() {
    let known = known();
    assert_eq!((known.len(), known.is_empty()), (2, false));
    for (calls, cosine_squared) in [
        (&[3, 2, 1][..], 1.0),
        (&[5, 5, 4], 1.0),
        (&[1, 2], 4.0 / 6.0),
        (&[1, 2, 3, 4], 9.0 / 12.0),
        (&[4, 1], 1.0 / 4.0),
        // Calls that training never saw make the set larger, each once.
        (&[4, 5, 9, 9, 8], 4.0 / 8.0),
        (&[9], 0.0),
    ] {
        let (got, expect) = (known.distance(&known.set(&tokens(calls))), 1.0 - f64::sqrt(cosine_squared));
        assert!((got - expect).abs() < 1e-15, "{calls:?}: {got}");
    }
}

#[test]
fn many_different_calls_take_several_words() {
    let (all, odd): (Vec<u16>, Vec<u16>) = ((0..200).collect(), (0..200).step_by(2).collect());
    let known = KnownSets::learn([tokens(&all).as_slice()]);
    let got = known.distance(&known.set(&tokens(&odd)));
    assert!((got - (1.0 - 0.5_f64.sqrt())).abs() < 1e-15);
}

#[test]
fn a_distance_counts_for_nats() {
    let novelty = Novelty::new(known(), 6.0);
    for (calls, expect) in [(&[9, 9][..], 6.0), (&[4, 1], 3.0), (&[4, 5, 4, 5], 0.0)] {
        let got = novelty.nats(&tokens(calls));
        assert!((got - expect).abs() < 1e-12, "{calls:?}: {got}");
    }
}

#[test]
fn a_deviation_of_distance_counts_like_one_of_surprisal() {
    for (held_out, expect) in [
        (&[(1.0, 0.0, 1), (3.0, 1.0, 1)][..], 2.0),
        (&[(1.0, 0.0, 1), (3.0, 0.1, 1)], 6.0),
        (&[(1.0, 0.0, 9), (3.0, 0.5, 9)], 4.0),
        (&[(1.0, 0.0, 3), (3.0, 0.0, 1)], 6.0),
        (&[], 6.0),
    ] {
        let got = nats_per_distance(held_out, 6.0);
        assert!((got - expect).abs() < 1e-9, "{held_out:?}: {got}");
    }
}

#[test]
fn what_is_damaged_is_refused() {
    let vocabulary = Vocabulary::new(tokens(&[1, 2, 3]));
    for (nats_per_distance, sets, error) in [
        (f64::NAN, vec![], KeptError::Nats),
        (-1.0, vec![], KeptError::Nats),
        (1.0, vec![vec![0], vec![]], KeptError::Set(1)),
        (1.0, vec![vec![3]], KeptError::Set(0)),
    ] {
        assert_eq!(Novelty::restore(&Kept { nats_per_distance, sets }, &vocabulary), Err(error));
    }
}

proptest! {
    #[test]
    fn what_is_kept_says_the_same(
        learned in prop::collection::vec(prop::collection::vec(0u16..150, 1..20), 1..20),
        asked in prop::collection::vec(0u16..200, 1..80),
    ) {
        let learned: Vec<_> = learned.iter().map(|c| tokens(c)).collect();
        let vocabulary = Vocabulary::new(learned.iter().flatten().copied());
        let novelty = Novelty::new(KnownSets::learn(learned.iter().map(Vec::as_slice)), 5.0);
        let again = Novelty::restore(&novelty.keep(&vocabulary), &vocabulary).expect("sound");
        prop_assert_eq!(again.keep(&vocabulary), novelty.keep(&vocabulary));
        let (a, b) = (novelty.nats(&tokens(&asked)), again.nats(&tokens(&asked)));
        prop_assert!((a - b).abs() < 1e-12 && (0.0..=5.0).contains(&a));
        prop_assert!(learned.iter().all(|l| novelty.nats(l).abs() < 1e-12));
    }
}
