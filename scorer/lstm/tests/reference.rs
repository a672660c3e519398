//! Every kernel that this processor has, against the textbook in double precision.
//!
//! The scorer's own tests pin the same kernels to libtorch.

use proptest::prelude::*;
use surprisal_lstm::{Answer, Ask, Kernel, Model, Sequence, Weights};

/// Matrices of random values, in the order of [`Weights`].
#[derive(Debug)]
struct Random {
    sizes: (usize, usize, usize),
    values: [Vec<f32>; 7],
}

impl Random {
    fn new((classes, embedding, hidden): (usize, usize, usize), seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        // xorshift64*: enough for weights.
        let mut next = || {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as f32 / (1u32 << 24) as f32 * 2.0 - 1.0
        };
        let bound = 1.5 / (hidden as f32).sqrt();
        let lengths = [
            (classes * embedding, 1.0),
            (4 * hidden * embedding, bound),
            (4 * hidden * hidden, bound),
            (4 * hidden, bound),
            (4 * hidden, bound),
            (classes * hidden, 4.0 * bound),
            (classes, 1.0),
        ];
        Self { sizes: (classes, embedding, hidden), values: lengths.map(|(n, bound)| (0..n).map(|_| next() * bound).collect()) }
    }

    fn weights(&self) -> Weights<'_> {
        let (classes, embedding_width, hidden) = self.sizes;
        let [embedding, weight_ih, weight_hh, bias_ih, bias_hh, head_weight, head_bias] =
            self.values.each_ref().map(Vec::as_slice);
        Weights { classes, embedding_width, hidden, embedding, weight_ih, weight_hh, bias_ih, bias_hh, head_weight, head_bias }
    }

    /// −ln p of every class after each input, by the definition.
    fn textbook(&self, inputs: &[u16]) -> Vec<Vec<f64>> {
        let (classes, width, hidden) = self.sizes;
        let [embedding, ih, hh, bias_ih, bias_hh, head, bias] =
            self.values.each_ref().map(|v| v.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let (mut state, mut cell) = (vec![0.0; hidden], vec![0.0; hidden]);
        let step = |class: &u16| {
            let x = &embedding[usize::from(*class) * width..][..width];
            let gate = |n: usize, unit: usize, state: &[f64]| {
                let row = n * hidden + unit;
                dot(x, &ih[row * width..][..width]) + dot(state, &hh[row * hidden..][..hidden]) + bias_ih[row] + bias_hh[row]
            };
            let old = state.clone();
            for unit in 0..hidden {
                let [input, forget, fresh, output] = [0, 1, 2, 3].map(|n| gate(n, unit, &old));
                cell[unit] = sigmoid(forget) * cell[unit] + sigmoid(input) * fresh.tanh();
                state[unit] = sigmoid(output) * cell[unit].tanh();
            }
            let logits: Vec<f64> = (0..classes).map(|c| dot(&state, &head[c * hidden..][..hidden]) + bias[c]).collect();
            let norm = logits.iter().map(|l| l.exp()).sum::<f64>().ln();
            logits.iter().map(|l| norm - l).collect()
        };
        inputs.iter().map(step).collect()
    }
}

fn kernels() -> impl Iterator<Item = Kernel> {
    Kernel::ALL.into_iter().filter(|k| k.is_available())
}

fn judge(model: &Model, sequences: &[(Vec<u16>, Vec<u16>, usize)], ask: &Ask) -> Vec<Answer> {
    let sequences: Vec<_> =
        sequences.iter().map(|(inputs, targets, scored_from)| Sequence { inputs, targets, scored_from: *scored_from }).collect();
    model.judge(&sequences, ask)
}

fn sequences(classes: u16) -> impl Strategy<Value = Vec<(Vec<u16>, Vec<u16>, usize)>> {
    let one = (0..=80usize).prop_flat_map(move |n| {
        let class = || prop::collection::vec(0..classes, n);
        (class(), class(), 0..=n)
    });
    prop::collection::vec(one, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn kernels_say_what_the_textbook_says(
        (sizes, given) in (3..90usize, 1..20usize, 1..70usize).prop_flat_map(|s| (Just(s), sequences(s.0 as u16))),
        seed: u64,
    ) {
        let random = Random::new(sizes, seed);
        let expected: Vec<_> = given.iter().map(|(inputs, ..)| random.textbook(inputs)).collect();
        for kernel in kernels() {
            let model = Model::new(&random.weights(), kernel).expect("weights that fit");
            let shared = (1, 2.5);
            let answers = judge(&model, &given, &Ask { shared, places: 7, likeliest: 3, ..Ask::default() });
            prop_assert_eq!(answers.len(), given.len());
            for ((answer, expected), (_, targets, from)) in answers.iter().zip(&expected).zip(&given) {
                prop_assert_eq!(answer.nll.len(), targets.len() - from);
                let cost = |target: u16| if target == shared.0 { f64::from(shared.1) } else { 0.0 };
                let exact: Vec<f64> = targets.iter().zip(expected).map(|(t, e)| e[usize::from(*t)] + cost(*t)).skip(*from).collect();
                // One call may be off by more in 8 bits; what counts is a window's mean.
                let (each, mean) = if kernel.is_quantised() { (0.35, 0.05) } else { (1e-4, 1e-4) };
                let off = |(a, b): (&f32, &f64)| f64::from(*a) - b;
                for pair in answer.nll.iter().zip(&exact) {
                    prop_assert!(off(pair).abs() <= each, "{kernel}: {pair:?}");
                }
                let sum: f64 = answer.nll.iter().zip(&exact).map(off).sum();
                prop_assert!(exact.len() < 32 || sum.abs() / exact.len() as f64 <= mean, "{kernel}: {sum} over {}", exact.len());
                prop_assert_eq!(answer.places.len(), exact.len().min(7));
                for place in &answer.places {
                    let all = &expected[from + place.index];
                    prop_assert!(place.expected.windows(2).all(|w| w[0].1 >= w[1].1));
                    let likeliest = all.iter().copied().fold(f64::INFINITY, f64::min);
                    prop_assert!((f64::from(place.expected[0].1).ln() + likeliest).abs() <= each, "{kernel}");
                    for (class, p) in &place.expected {
                        prop_assert!((f64::from(*p).ln() + all[usize::from(*class)]).abs() <= each, "{kernel}");
                    }
                }
                let top = answer.places.first().map(|p| answer.nll[p.index]);
                prop_assert_eq!(top, answer.nll.iter().copied().max_by(f32::total_cmp));
            }
        }
    }

    #[test]
    fn company_changes_nothing(given in sequences(40), seed: u64) {
        let random = Random::new((40, 8, 24), seed);
        for kernel in kernels() {
            let model = Model::new(&random.weights(), kernel).expect("weights that fit");
            let ask = Ask { places: 3, likeliest: 2, ..Ask::default() };
            let together = judge(&model, &given, &ask);
            for (one, answer) in given.iter().zip(&together) {
                prop_assert_eq!(&judge(&model, std::slice::from_ref(one), &ask)[0], answer);
            }
        }
    }
}

#[test]
fn a_class_that_is_not_there_is_class_0() {
    let random = Random::new((5, 2, 3), 7);
    for kernel in kernels() {
        let model = Model::new(&random.weights(), kernel).expect("weights that fit");
        let strange = (vec![0, 9, 1], vec![4, 65535, 2], 0);
        let tamed = (vec![0, 0, 1], vec![4, 0, 2], 0);
        assert_eq!(judge(&model, &[strange], &Ask::default()), judge(&model, &[tamed], &Ask::default()));
    }
}

#[test]
fn weights_of_any_size_do_not_overflow() {
    // Saturated gates, states at ±1, logits in the thousands.
    let mut random = Random::new((9, 4, 20), 3);
    random.values.iter_mut().flatten().for_each(|v| *v *= 1000.0);
    for kernel in kernels() {
        let model = Model::new(&random.weights(), kernel).expect("weights that fit");
        let given = ((0..80).map(|i| i % 9).collect(), (0..80).map(|i| (i * 5) % 9).collect(), 0);
        for answer in judge(&model, &[given], &Ask { places: 5, likeliest: 9, ..Ask::default() }) {
            assert!(answer.nll.iter().all(|n| n.is_finite() && *n >= 0.0), "{kernel}: {:?}", answer.nll);
            assert!(answer.places.iter().flat_map(|p| &p.expected).all(|(_, p)| (0.0..=1.001).contains(p)), "{kernel}");
        }
    }
}
