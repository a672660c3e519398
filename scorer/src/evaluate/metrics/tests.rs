use super::*;
use proptest::prelude::*;

fn close(got: Option<f64>, expect: f64) {
    let got = got.expect("defined");
    assert!((got - expect).abs() < 1e-12, "{got} is not {expect}");
}

fn at(normal: &[f64], attack: &[f64], threshold: f64) -> Confusion {
    let flag = |attack: bool| move |s: &f64| (attack, *s > threshold);
    Confusion::count(normal.iter().map(flag(false)).chain(attack.iter().map(flag(true))))
}

#[test]
fn a_hand_worked_example_with_ties() {
    let (normal, attack) = ([1.0, 2.0, 2.0, 3.0], [2.0, 3.0, 4.0]);
    // 2 beats 1 and ties with both 2s: 2. 3 beats three and ties with 3: 3.5. 4 beats all four. Of 12 pairs.
    close(auc(&normal, &attack), 9.5 / 12.0);
    let points: Vec<_> = roc(&normal, &attack).iter().map(|p| (p.from, p.fpr, p.tpr)).collect();
    let third = 1.0 / 3.0;
    assert_eq!(
        points,
        [(f64::INFINITY, 0.0, 0.0), (4.0, 0.0, third), (3.0, 0.25, 2.0 * third), (2.0, 0.75, 1.0), (1.0, 1.0, 1.0)]
    );
    for (fpr, tpr) in [(0.0, third), (0.24, third), (0.25, 2.0 * third), (0.74, 2.0 * third), (0.75, 1.0), (1.0, 1.0)] {
        close(tpr_at(&roc(&normal, &attack), fpr), tpr);
    }
    // Above 2: one of four normal, two of three attacks.
    let c = at(&normal, &attack, 2.0);
    assert_eq!((c.true_positives, c.false_positives, c.true_negatives, c.false_negatives), (2, 1, 3, 1));
    for (got, expect) in
        [(c.fpr(), 0.25), (c.precision(), 2.0 / 3.0), (c.recall(), 2.0 / 3.0), (c.accuracy(), 5.0 / 7.0), (c.f1(), 2.0 / 3.0)]
    {
        close(got, expect);
    }
}

/// What scikit-learn gives, by
/// `python -c "import numpy as np; from sklearn.metrics import *;
/// n=[i*37%101//7/4 for i in range(40)]; a=[i*53%97//6/4+.75 for i in range(25)]; y=np.r_[np.zeros(40),np.ones(25)]; s=np.r_[n,a];
/// f,t,_=roc_curve(y,s,drop_intermediate=False); p=s>2.75;
/// print(roc_auc_score(y,s),[t[f<=q].max() for q in(.001,.01,.05,.1,.2,.5)],confusion_matrix(y,p).ravel(),
/// precision_score(y,p),recall_score(y,p),accuracy_score(y,p),f1_score(y,p))"`; the interval is that of 20,000 resamples of
/// `roc_auc_score` drawn with `numpy.random.default_rng(1)`.
#[test]
fn agrees_with_scikit_learn() {
    let normal: Vec<f64> = (0..40u32).map(|i| f64::from(i * 37 % 101 / 7) / 4.0).collect();
    let attack: Vec<f64> = (0..25u32).map(|i| f64::from(i * 53 % 97 / 6) / 4.0 + 0.75).collect();
    close(auc(&normal, &attack), 0.670_500_000_000_000_1);
    let roc = roc(&normal, &attack);
    for (fpr, tpr) in [(0.001, 0.2), (0.01, 0.2), (0.05, 0.24), (0.1, 0.32), (0.2, 0.4), (0.5, 0.68)] {
        close(tpr_at(&roc, fpr), tpr);
    }
    let c = at(&normal, &attack, 2.75);
    assert_eq!((c.true_negatives, c.false_positives, c.false_negatives, c.true_positives), (33, 7, 15, 10));
    close(c.precision(), 0.588_235_294_117_647_1);
    close(c.recall(), 0.4);
    close(c.accuracy(), 0.661_538_461_538_461_5);
    close(c.f1(), 0.476_190_476_190_476_16);
    let [low, high] = auc_interval(&normal, &attack, 4000, 1).expect("defined");
    assert!((low - 0.532).abs() < 0.01 && (high - 0.7975).abs() < 0.01, "{low} {high}");
}

#[test]
fn what_is_not_defined_is_not_invented() {
    assert_eq!((auc(&[], &[1.0]), auc(&[1.0], &[]), auc_interval(&[], &[1.0], 9, 1), auc_interval(&[0.0], &[1.0], 0, 1)), {
        (None, None, None, None)
    });
    assert_eq!((roc(&[], &[1.0]).len(), tpr_at(&[], 0.1), threshold(&[], 0.01)), (0, None, None));
    let nothing_flagged = at(&[0.0], &[0.0], 0.0);
    assert_eq!((nothing_flagged.precision(), nothing_flagged.f1(), nothing_flagged.recall()), (None, Some(0.0), Some(0.0)));
    assert_eq!(at(&[0.0], &[], 1.0).recall(), None);
}

#[test]
fn the_threshold_lets_through_no_more_than_asked() {
    let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
    for (scores, fpr, expect) in [
        (hundred.as_slice(), 0.01, 99.0),
        (&hundred, 0.05, 95.0),
        (&hundred, 0.0, 100.0),
        (&hundred[..50], 0.01, 50.0),
        (&hundred, 1.0, 1.0),
        // Ties at the quantile: none of them may be flagged.
        (&[0.0, 0.0, 0.0, 0.0, 1.0], 0.2, 0.0),
        (&[0.0, 0.0, 0.0, 1.0, 1.0], 0.2, 1.0),
    ] {
        assert_eq!(threshold(scores, fpr), Some(expect), "{} scores at {fpr}", scores.len());
    }
}

fn scores() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((0u8..12).prop_map(f64::from), 1..40)
}

proptest! {
    #[test]
    fn the_auc_is_the_share_of_pairs_and_the_area(normal in scores(), attack in scores()) {
        let pairs = normal.iter().flat_map(|n| attack.iter().map(move |a| if a > n { 1.0 } else if a < n { 0.0 } else { 0.5 }));
        let expect = pairs.sum::<f64>() / (normal.len() * attack.len()) as f64;
        let roc = roc(&normal, &attack);
        let area: f64 = roc.windows(2).map(|p| (p[1].fpr - p[0].fpr) * f64::midpoint(p[0].tpr, p[1].tpr)).sum();
        let got = auc(&normal, &attack).expect("defined");
        prop_assert!((got - expect).abs() < 1e-9 && (area - expect).abs() < 1e-9, "{} {} {}", got, area, expect);
        let [low, high] = auc_interval(&normal, &attack, 50, 7).expect("defined");
        prop_assert!((0.0..=high).contains(&low) && high <= 1.0);
        prop_assert_eq!(auc_interval(&normal, &attack, 50, 7), Some([low, high]), "seeded");
    }

    #[test]
    fn every_point_of_the_roc_is_what_its_score_flags(normal in scores(), attack in scores()) {
        for p in &roc(&normal, &attack)[1..] {
            let c = at(&normal, &attack, p.from - 0.5);
            prop_assert_eq!((c.fpr(), c.recall()), (Some(p.fpr), Some(p.tpr)));
        }
    }

    #[test]
    fn a_threshold_keeps_its_promise_on_its_own_scores(normal in scores(), percent in 0u8..100) {
        let fpr = f64::from(percent) / 100.0;
        let t = threshold(&normal, fpr).expect("scores");
        let above = |t: f64| normal.iter().filter(|s| **s > t).count() as f64 / normal.len() as f64;
        prop_assert!(above(t) <= fpr + 1e-9);
        prop_assert!(above(t - 0.5) > fpr + 1e-9 || normal.iter().all(|s| *s >= t));
    }
}
