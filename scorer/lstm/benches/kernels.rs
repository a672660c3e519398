//! Calls scored per second by each kernel on one core: `cargo bench -p surprisal-lstm`.
//!
//! In: nothing. Out: a table. Never: passes or fails. Weights and windows are random: only their sizes matter here. The
//! comparison with libraries, on a trained model and real windows, is `cargo xtask bench scorer`.

use std::time::{Duration, Instant};
use surprisal_lstm::{Ask, Kernel, Model, Sequence, Weights};

/// Windows judged together.
const WINDOWS: usize = 240;
/// Classes of a window: 16 of context, 64 that are scored.
const LENGTH: usize = 80;
const CONTEXT: usize = 16;
/// For each figure.
const TIME: Duration = Duration::from_millis(700);

fn main() {
    println!("{:<14} {:>7} {:>8} {:>12} {:>14}", "kernel", "hidden", "classes", "M calls/s", "with evidence");
    for (hidden, classes) in [(64, 80), (128, 80), (128, 512)] {
        let values =
            |n: usize, scale: f32| -> Vec<f32> { (0..n).map(|i| ((i * 7919 % 1009) as f32 / 504.5 - 1.0) * scale).collect() };
        let scale = 1.0 / (hidden as f32).sqrt();
        let (embedding, ih, hh) = (values(classes * 32, 1.0), values(4 * hidden * 32, scale), values(4 * hidden * hidden, scale));
        let (bias, head, head_bias) = (values(4 * hidden, scale), values(classes * hidden, scale), values(classes, scale));
        let weights = Weights {
            classes,
            embedding_width: 32,
            hidden,
            embedding: &embedding,
            weight_ih: &ih,
            weight_hh: &hh,
            bias_ih: &bias,
            bias_hh: &bias,
            head_weight: &head,
            head_bias: &head_bias,
        };
        let all: Vec<u16> = (0..=WINDOWS * LENGTH).map(|i| (i * 31 % classes) as u16).collect();
        let windows: Vec<_> = (0..WINDOWS)
            .map(|w| Sequence {
                inputs: &all[w * LENGTH..][..LENGTH],
                targets: &all[w * LENGTH + 1..][..LENGTH],
                scored_from: CONTEXT,
            })
            .collect();
        for kernel in Kernel::ALL.into_iter().filter(|k| k.is_available()) {
            let model = Model::new(&weights, kernel).expect("weights that fit");
            let speed = |ask: &Ask| {
                let (begun, mut rounds) = (Instant::now(), 0);
                while begun.elapsed() < TIME {
                    std::hint::black_box(model.judge(&windows, ask));
                    rounds += 1;
                }
                (rounds * WINDOWS * (LENGTH - CONTEXT)) as f64 / begun.elapsed().as_secs_f64() / 1e6
            };
            let (plain, evidence) = (speed(&Ask::default()), speed(&Ask { places: 24, likeliest: 5, ..Ask::default() }));
            println!("{:<14} {hidden:>7} {classes:>8} {plain:>12.2} {evidence:>14.2}", kernel.as_str());
        }
    }
}
