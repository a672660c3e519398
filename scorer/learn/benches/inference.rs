//! Calls scored per second on one core: libraries, the fused kernels, and memory on top.
//!
//! In: recordings. Out: a table on stdout, with `--json` figures in a file. Never: passes or fails. Run by
//! `cargo xtask bench scorer`.
//!
//! One model is trained on the first half of the recordings (few passes: only its being trained matters), and everything
//! judges the same windows of the second half with the same weights, in turns: medians over rounds. *Memoised* judges the
//! second half in its order, in batches as serving does, after the first half was judged the same way.

use clap::Parser;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use surprisal_learn::lstm::model::{Lstm, set_threads};
use surprisal_learn::teach::learn;
use surprisal_scorer::detect::fused::{Fused, Kernel};
use surprisal_scorer::detect::memo::{self, Memo};
use surprisal_scorer::detect::model::{Encoded, LanguageModel, Sizes};
use surprisal_scorer::detect::{score, window};
use surprisal_scorer::profile::archive::Profile;
use surprisal_scorer::train::corpus::Corpus;
use surprisal_scorer::train::workload::{Piece, Workload};
use surprisal_scorer::train::{Options, progress::Progress};

#[derive(Parser)]
struct Args {
    /// Recordings of one workload, in the order of time
    #[arg(required = true)]
    recordings: Vec<PathBuf>,
    /// Widths of the hidden state; the first one's figures stand on top in the JSON
    #[arg(long, value_delimiter = ',', default_values_t = [128, 64])]
    hidden: Vec<u32>,
    /// Rounds
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Windows that the rows judge in each round
    #[arg(long, default_value_t = 1536)]
    windows: usize,
    /// Also judge with memories of other spans and agreements, to see what the constants are worth
    #[arg(long)]
    spans: bool,
    /// A Python that has PyTorch, for its row
    #[arg(long)]
    python: Option<PathBuf>,
    #[arg(long)]
    json: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

type Anything = Box<dyn std::error::Error>;

/// Windows judged together in serving.
const BATCH: usize = 256;

fn main() -> Result<(), Anything> {
    let args = Args::parse();
    set_threads(1);
    let mut corpus = Corpus::default();
    for path in &args.recordings {
        corpus.read(path, false, true)?;
    }
    let (name, workload) =
        corpus.finish().workloads.into_iter().max_by_key(|(_, w)| w.calls).ok_or("no workload in the recordings")?;
    let (first, second) = workload.pieces.split_at(workload.pieces.len() / 2);
    println!(
        "{name}: {} windows of {} calls, judged the second half, trained on the first",
        workload.pieces.len(),
        workload.calls
    );
    let mut sizes = Vec::new();
    for hidden in &args.hidden {
        sizes.push(size(&args, *hidden, &workload, first, second)?);
    }
    if let Some(path) = &args.json {
        let mut all = sizes.first().cloned().unwrap_or_default();
        all.insert("workload".into(), name.into());
        all.insert("sizes".into(), sizes.into());
        fs::write(path, format!("{:#}\n", serde_json::Value::Object(all)))?;
    }
    Ok(())
}

type Object = serde_json::Map<String, serde_json::Value>;

fn size(args: &Args, hidden: u32, workload: &Workload, first: &[Piece], second: &[Piece]) -> Result<Object, Anything> {
    let sizes = Sizes { embedding: 32, hidden };
    let mut data = workload.clone();
    data.pieces.truncate(first.len());
    let options = Options { sizes, max_windows: 1024, epochs: 6, budget: 1.0, seed: 1, threads: 2 };
    let profile = learn("bench", &data, options, &Progress::default())?;
    set_threads(1);
    let v = &profile.vocabulary;
    let (classes, unseen) = (v.classes(), v.unseen());
    let encode = |pieces: &[Piece]| pieces.iter().map(|p| Encoded::new(&p.window, v)).collect::<Vec<_>>();
    let (before, after) = (encode(first), encode(second));
    // Full windows only, so that no row pays for padding.
    let full: Vec<Encoded> = after
        .iter()
        .filter(|w| w.scored().len() == window::CALLS && w.inputs.len() + 1 == window::CALLS + window::CONTEXT)
        .take(args.windows)
        .cloned()
        .collect();
    let calls = (full.len() * window::CALLS) as f64;

    let tch = Lstm::load(&profile.weights, sizes, classes, unseen)?;
    let bf16 = Lstm::load(&profile.weights, sizes, classes, unseen)?.into_bf16();
    let kernels: Vec<Fused> = Kernel::ALL
        .into_iter()
        .filter(|k| k.is_available())
        .map(|k| Fused::load(&profile.weights, sizes, classes, unseen, k))
        .collect::<Result<_, _>>()?;
    let fastest = kernels.iter().find(|k| k.kernel() == Kernel::fastest()).ok_or("no kernel")?;

    let mut speeds: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut note = |name: String, calls: f64, work: &mut dyn FnMut()| {
        let begun = Instant::now();
        work();
        speeds.entry(name).or_default().push(calls / begun.elapsed().as_secs_f64());
    };
    let mut hits = memo::Counts::default();
    for _ in 0..args.rounds {
        for batch in [64, 256] {
            note(format!("tch f32, batch {batch}"), calls, &mut || drop(tch.surprisals(&full, batch)));
            note(format!("tch bf16, batch {batch}"), calls, &mut || drop(bf16.surprisals(&full, batch)));
        }
        for kernel in &kernels {
            let name = format!("fused {}", kernel.kernel());
            note(name.clone(), calls, &mut || drop(kernel.surprisals(&full)));
            note(format!("{name}, with evidence"), calls, &mut || drop(kernel.judge(&full)));
        }
        let mut memory = Memo::new(memo::ENTRIES);
        let mut through = |windows: &[Encoded]| {
            for part in windows.chunks(BATCH) {
                drop(memory.judge(0, fastest, part));
            }
        };
        through(&before);
        let scored = after.iter().map(|w| w.scored().len()).sum::<usize>() as f64;
        note("memoised, with evidence".into(), scored, &mut || through(&after));
        note(format!("fused {}, with evidence, the same windows", fastest.kernel()), scored, &mut || {
            for part in after.chunks(BATCH) {
                drop(fastest.judge(part));
            }
        });
        hits = memory.counts();
    }
    let speeds: BTreeMap<String, f64> = speeds.into_iter().map(|(name, all)| (name, median(all))).collect();
    println!("\nhidden {hidden}, {classes} classes, {} windows, one core, million calls/s:", full.len());
    for (name, speed) in &speeds {
        println!("  {name:<48} {:>8.3}", speed / 1e6);
    }
    let pytorch = pytorch(args, &profile, &full)?;
    let best = |prefix: &str| speeds.iter().filter(|(n, _)| n.starts_with(prefix)).map(|(_, s)| *s).fold(0.0, f64::max);
    let (tch_f32, fused) = (best("tch f32"), speeds[&format!("fused {}", fastest.kernel())]);
    let memoised = speeds["memoised, with evidence"];
    let same = speeds[&format!("fused {}, with evidence, the same windows", fastest.kernel())];
    let exact = speeds[&format!("fused {}", Kernel::exact())];
    let library = pytorch.values().copied().fold(best("tch"), f64::max);
    // Multiplications and additions: recurrent product at each class shown, head at each that is scored.
    let (h, c) = (f64::from(hidden), classes as f64);
    let steps = f64::from(u32::try_from(window::CALLS + window::CONTEXT - 1)?) / window::CALLS as f64;
    let flops = steps * 8.0 * h * h + 2.0 * h * c;
    let gemm = gemm_peak();
    println!("  gemm peak {gemm:.0} GFLOP/s; {} {:.0} GFLOP/s", fastest.kernel(), fused * flops / 1e9);
    println!(
        "  {} is {:.1}x tch f32, {:.1}x the best library row; {} is {:.1}x tch f32; memoised is {:.1}x {} on the same windows",
        fastest.kernel(),
        fused / tch_f32,
        fused / library,
        Kernel::exact(),
        exact / tch_f32,
        memoised / same,
        fastest.kernel()
    );
    let deviations = deviations(&profile, &tch, fastest, &before, &after, second)?;
    println!(
        "  memory: {} windows remembered, {} computed, {} audited (largest deviation {:.4} nats), {} entries barred",
        hits.remembered, hits.computed, hits.audited, hits.deviation, hits.barred
    );
    if args.spans {
        for spans in [&[16][..], &[24], &[8, 16, 32], &[12, 24, 48], &[12, 20, 32, 48], &[20, 40]] {
            for agree in [0.01, 0.02, 0.05, 0.1] {
                let mut memory = Memo::with(memo::ENTRIES, spans, agree);
                for part in before.chunks(BATCH) {
                    drop(memory.judge(0, fastest, part));
                }
                let (first, begun) = (memory.counts(), Instant::now());
                let mut answers = Vec::new();
                for part in after.chunks(BATCH) {
                    answers.extend(memory.judge(0, fastest, part)?);
                }
                let (took, all) = (begun.elapsed().as_secs_f64(), memory.counts());
                let exact = fastest.judge(&after)?;
                let off = exact
                    .iter()
                    .zip(&answers)
                    .map(|(a, b)| (a.nll.iter().sum::<f32>() - b.nll.iter().sum::<f32>()).abs() / a.nll.len() as f32);
                let share = 1.0 - (all.computed - first.computed) as f64 / after.len() as f64;
                println!(
                    "  spans {spans:?}, agreement {agree:.2}: {:.3} of windows remembered, {:.3} M calls/s, means off by {:.4} at most, {} barred, {} entries",
                    share,
                    after.iter().map(|w| w.scored().len()).sum::<usize>() as f64 / took / 1e6,
                    off.fold(0.0, f32::max),
                    all.barred,
                    memory.len()
                );
            }
        }
    }
    let mut figures = Object::new();
    let mut put = |name: &str, value: serde_json::Value| drop(figures.insert(name.into(), value));
    put("hidden", hidden.into());
    put("classes", classes.into());
    put("tch_f32", tch_f32.into());
    put("tch_bf16", best("tch bf16").into());
    put("pytorch_eager", pytorch.get("f32").copied().into());
    put("pytorch_eager_bf16", pytorch.get("bf16").copied().into());
    put("fused", fused.into());
    put("fused_kernel", fastest.kernel().as_str().into());
    put("fused_f32", exact.into());
    put("fused_with_evidence", same.into());
    put("memoised", memoised.into());
    put("gemm_peak_gflops", gemm.into());
    put("fused_gflops", (fused * flops / 1e9).into());
    put("rows", serde_json::to_value(&speeds)?);
    put("remembered_share", (hits.remembered as f64 / (hits.remembered + hits.computed) as f64).into());
    put("deviations", deviations);
    Ok(figures)
}

/// How far the fast ways are from libtorch on windows that the model did not learn, and whether a verdict changes.
fn deviations(
    profile: &Profile,
    tch: &Lstm,
    fused: &Fused,
    before: &[Encoded],
    after: &[Encoded],
    pieces: &[Piece],
) -> Result<serde_json::Value, Anything> {
    let exact = tch.judge(after)?;
    let quick = fused.judge(after)?;
    let mut memory = Memo::new(memo::ENTRIES);
    let mut remembered = Vec::new();
    for part in before.chunks(BATCH) {
        memory.judge(0, fused, part)?;
    }
    for part in after.chunks(BATCH) {
        remembered.extend(memory.judge(0, fused, part)?);
    }
    let threshold = profile.metadata.calibration.threshold.nats();
    let score = |i: usize, nll: &[f32]| {
        let calls = &pieces[i].window.calls;
        score::window(nll, calls, profile.novelty.nats(calls)).nats()
    };
    let mut all = Object::new();
    for (name, other) in [("fused", &quick), ("memoised", &remembered)] {
        let (mut scores, mut calls, mut verdicts) = (Vec::new(), 0f32, 0u64);
        for (i, (a, b)) in exact.iter().zip(other.iter()).enumerate() {
            let (x, y) = (score(i, &a.nll), score(i, &b.nll));
            scores.push((x - y).abs());
            verdicts += u64::from((x >= threshold) != (y >= threshold));
            calls = a.nll.iter().zip(&b.nll).fold(calls, |m, (a, b)| m.max((a - b).abs()));
        }
        scores.sort_unstable_by(f64::total_cmp);
        let at = |q: f64| scores[((scores.len() - 1) as f64 * q) as usize];
        println!(
            "  {name} against tch, {} windows: score off by {:.5} (median), {:.5} (99 %), {:.5} (most) nats; one call by {calls:.4} at most; {verdicts} verdicts differ at {threshold:.3}",
            scores.len(),
            at(0.5),
            at(0.99),
            at(1.0)
        );
        all.insert(name.into(), serde_json::json!({"windows": scores.len(), "score_median": at(0.5), "score_p99": at(0.99), "score_most": at(1.0), "call_most": calls, "verdicts": verdicts}));
    }
    Ok(all.into())
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_unstable_by(f64::total_cmp);
    all[all.len() / 2]
}

/// f32 matrix products of 1,024 x 1,024 on one core: what a library gets out of this processor.
fn gemm_peak() -> f64 {
    let matrix = || tch::Tensor::randn([1024, 1024], (tch::Kind::Float, tch::Device::Cpu));
    let (a, b) = (matrix(), matrix());
    let mut best = Duration::MAX;
    for _ in 0..8 {
        let begun = Instant::now();
        drop(a.matmul(&b));
        best = best.min(begun.elapsed());
    }
    2.0 * 1024f64.powi(3) / best.as_secs_f64() / 1e9
}

/// Calls per second of PyTorch in eager mode, by precision; none without a Python that has it.
fn pytorch(args: &Args, profile: &Profile, windows: &[Encoded]) -> Result<BTreeMap<String, f64>, Anything> {
    let Some(python) = &args.python else {
        println!("  PyTorch: not measured; give --python a Python that has it");
        return Ok(BTreeMap::new());
    };
    let dir = tempfile::tempdir()?;
    let write = |name: &str, bytes: &[u8]| -> Result<PathBuf, Anything> {
        let path = dir.path().join(name);
        fs::write(&path, bytes)?;
        Ok(path)
    };
    let weights = write("weights.safetensors", &profile.weights)?;
    let numbers = |of: fn(&Encoded) -> &[i64]| windows.iter().flat_map(of).flat_map(|c| c.to_le_bytes()).collect::<Vec<u8>>();
    let inputs = write("inputs", &numbers(|w| &w.inputs))?;
    let targets = write("targets", &numbers(|w| &w.targets))?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/eager.py");
    let length = windows.first().map_or(0, |w| w.inputs.len());
    let scored_from = windows.first().map_or(0, |w| w.scored_from);
    let mut command = Command::new(python);
    command.arg(script).args([weights, inputs, targets]).args([
        length.to_string(),
        scored_from.to_string(),
        args.rounds.to_string(),
    ]);
    let output = command.env("OMP_WAIT_POLICY", "PASSIVE").output()?;
    if !output.status.success() {
        println!("  PyTorch: not measured: {}", String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default());
        return Ok(BTreeMap::new());
    }
    let speeds: BTreeMap<String, f64> = serde_json::from_slice(&output.stdout)?;
    for (name, speed) in &speeds {
        println!("  {:<48} {:>8.3}", format!("PyTorch eager {name}"), speed / 1e6);
    }
    Ok(speeds)
}
