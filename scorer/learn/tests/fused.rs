//! The kernels that serve say what libtorch says, of models that were and were not taught, and give the same verdicts.
#![forbid(unsafe_code)]

use proptest::prelude::*;
use std::path::Path;
use surprisal_learn::lstm::model::Lstm;
use surprisal_learn::teach::learn;
use surprisal_scorer::detect::fused::{Fused, Kernel};
use surprisal_scorer::detect::memo::{self, Memo};
use surprisal_scorer::detect::model::{Encoded, LanguageModel, Sizes};
use surprisal_scorer::detect::score;
use surprisal_scorer::detect::window::SHORTEST;
use surprisal_scorer::profile::weights;
use surprisal_scorer::train::{Options, corpus::Corpus, progress::Progress, workload::Workload};

/// Nats a call that f32 may be off by.
const EXACT: f64 = 1e-4;
/// And a window's mean in 8 bits.
const QUANTISED: f64 = 0.005;

fn kernels() -> impl Iterator<Item = Kernel> {
    Kernel::ALL.into_iter().filter(|k| k.is_available())
}

fn windows(classes: i64) -> impl Strategy<Value = Vec<Encoded>> {
    let one = (1..=80usize).prop_flat_map(move |n| {
        (prop::collection::vec(0..classes, n + 1), 0..n).prop_map(|(all, scored_from)| {
            let (inputs, targets) = (all[..all.len() - 1].to_vec(), all[1..].to_vec());
            Encoded { inputs, targets, scored_from }
        })
    });
    prop::collection::vec(one, 1..30)
}

/// As a score takes it: a short window is divided as if it were of [`SHORTEST`] calls.
fn mean(of: &[f64]) -> f64 {
    of.iter().sum::<f64>() / of.len().max(SHORTEST) as f64
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_model_of_any_size_is_the_same(
        (classes, given) in (4..120i64).prop_flat_map(|c| (Just(c), windows(c))),
        (embedding, hidden) in (1..40u32, 1..140u32),
        seed in 0..1000i64,
    ) {
        let (sizes, unseen) = (Sizes { embedding, hidden }, 100);
        let reference = Lstm::new(sizes, classes as usize, unseen, seed).expect("a model");
        let bytes = weights::write(&reference.weights().expect("weights"), "v").expect("serialises");
        let expected = reference.judge(&given).expect("judges");
        for kernel in kernels() {
            let fused = Fused::load(&bytes, sizes, classes as usize, unseen, kernel).expect("loads");
            for (one, said) in expected.iter().zip(fused.judge(&given).expect("judges")) {
                prop_assert_eq!(one.nll.len(), said.nll.len());
                let off: Vec<f64> = one.nll.iter().zip(&said.nll).map(|(a, b)| f64::from(a - b)).collect();
                if kernel.is_quantised() {
                    prop_assert!(mean(&off).abs() <= QUANTISED, "{kernel}: {off:?}");
                } else {
                    prop_assert!(off.iter().all(|o| o.abs() <= EXACT), "{kernel}: {off:?}");
                    for place in &said.top {
                        // Where surprisals are nearly equal, either may be among the most surprising.
                        let Some(same) = one.top.iter().find(|p| p.index == place.index) else { continue };
                        for ((_, p), (_, q)) in same.expected.iter().zip(&place.expected) {
                            prop_assert!((p - q).abs() < 1e-4, "{kernel}: {same:?} {place:?}");
                        }
                    }
                }
            }
        }
    }
}

/// The demo's recordings: a normal life of a redis, and an attacked one.
fn recorded(name: &str) -> Workload {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/demo").join(name);
    let mut corpus = Corpus::default();
    corpus.read(&path, true, true).expect("a recording");
    corpus.finish().workloads.into_values().next().expect("a workload")
}

#[test]
fn verdicts_on_recorded_workloads_are_the_same() {
    let mut normal = recorded("normal.jsonl.zst");
    normal.pieces.truncate(2000);
    let sizes = Sizes { embedding: 32, hidden: 64 };
    let options = Options { sizes, max_windows: 300, epochs: 6, budget: 1.0, seed: 1, threads: 1 };
    let profile = learn("redis", &normal, options, &Progress::default()).expect("learns");
    let v = &profile.vocabulary;
    let threshold = profile.metadata.calibration.threshold.nats();
    let pieces: Vec<_> = recorded("attack.jsonl.zst").pieces.into_iter().chain(normal.pieces).collect();
    let encoded: Vec<_> = pieces.iter().map(|p| Encoded::new(&p.window, v)).collect();
    let reference = Lstm::load(&profile.weights, sizes, v.classes(), v.unseen()).expect("loads");
    let exact = reference.judge(&encoded).expect("judges");
    let score = |i: usize, nll: &[f32]| {
        let calls = &pieces[i].window.calls;
        score::window(nll, calls, profile.novelty.nats(calls)).nats()
    };
    let anomalous = exact.iter().enumerate().filter(|(i, j)| score(*i, &j.nll) >= threshold).count();
    assert!(anomalous > 0 && anomalous < pieces.len() / 2, "{anomalous} of {}", pieces.len());
    for kernel in [Kernel::fastest(), Kernel::exact()] {
        let fused = Fused::load(&profile.weights, sizes, v.classes(), v.unseen(), kernel).expect("loads");
        let mut memo = Memo::new(memo::ENTRIES);
        for (i, part) in encoded.chunks(256).enumerate() {
            let (said, remembered) = (fused.judge(part).expect("judges"), memo.judge(1, &fused, part).expect("judges"));
            for (k, (said, remembered)) in said.iter().zip(&remembered).enumerate() {
                let at = i * 256 + k;
                let expected = score(at, &exact[at].nll);
                let (fused, memoised) = (score(at, &said.nll), score(at, &remembered.nll));
                let allowed = if kernel.is_quantised() { QUANTISED } else { EXACT };
                assert!((fused - expected).abs() <= allowed, "{kernel}, window {at}: {fused} of {expected}");
                assert!(
                    (memoised - expected).abs() <= allowed + f64::from(memo::AGREE) / 4.0,
                    "{kernel}, window {at}: {memoised} of {expected}"
                );
                // A score within what arithmetic may be off by has no verdict of its own.
                if (expected - threshold).abs() > allowed {
                    assert_eq!(fused >= threshold, expected >= threshold, "{kernel}, window {at}: {fused} of {threshold}");
                    assert_eq!(memoised >= threshold, expected >= threshold, "{kernel}, window {at}: {memoised} of {threshold}");
                }
            }
        }
        assert!(memo.counts().remembered > 0, "{:?}", memo.counts());
    }
}
