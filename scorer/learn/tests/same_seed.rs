//! The same data and seed give the same table, to the byte; another seed gives another.
#![forbid(unsafe_code)]

use std::{fmt::Write as _, fs, path::Path, process::Command};

/// The baselines: they need no libtorch, and everything random in them is seeded.
const METHODS: &str = "stide,ngram,nearest-set,decision-tree,k-means,naive-bayes,svm,isolation-forest,random-forest";

/// Traces of calls 1 to 6 in some order, more of the high ones the higher `from`.
fn traces(count: u64, from: u64) -> String {
    let mut state = from + 1;
    let mut text = String::new();
    for _ in 0..count {
        for _ in 0..40 {
            // Knuth's generator: enough to be uneven.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let _ = write!(text, "{} ", from + 1 + (state >> 60) % 6);
        }
        text.push('\n');
    }
    text
}

/// JSON and every score.
fn evaluate(data: &Path, seed: u32) -> (String, String) {
    let scores = data.with_extension("tsv");
    let mut command = Command::new(env!("CARGO_BIN_EXE_surprisal-learn"));
    command.arg("evaluate").arg(data).args(["--abi", "i386", "--allow-leakage", "--labelled-folds", "3"]);
    command.args(["--methods", METHODS, "--bootstrap", "50", "--json", "-", "--seed", &seed.to_string()]);
    let out = command.arg("--save-scores").arg(&scores).output().expect("runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    (String::from_utf8(out.stdout).expect("text"), fs::read_to_string(scores).expect("written"))
}

#[test]
fn same_seed_same_table() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    fs::create_dir_all(data.join("attack")).expect("made");
    fs::write(data.join("normal-train.txt"), traces(60, 0)).expect("written");
    fs::write(data.join("normal-test.txt"), traces(30, 1)).expect("written");
    fs::write(data.join("attack/Some.txt"), traces(20, 2)).expect("written");
    let first = evaluate(&data, 1);
    for method in METHODS.split(',') {
        assert!(first.0.contains(&format!("\"{method}\"")), "{method} is in the figures");
        assert!(first.1.contains(method), "{method} is in the scores");
    }
    assert!(first == evaluate(&data, 1), "two runs with one seed differ");
    assert!(first.1 != evaluate(&data, 2).1, "two seeds give the same scores");
}
