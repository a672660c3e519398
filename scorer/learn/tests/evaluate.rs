//! `evaluate` as a person meets it: exit codes, what is said on which stream, the same figures twice.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::{Command, Output};

fn run(args: &[&str], data: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_surprisal-learn")).arg("evaluate").arg(data).args(args).output().expect("runs")
}

/// Normal traces go up, attacks go down.
fn data_set(train: &str, test: &str, attack: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join("attack")).expect("creates");
    for (name, text) in [("normal-train", train), ("normal-test", test), ("attack/down_1", attack)] {
        std::fs::write(dir.path().join(format!("{name}.txt")), text).expect("writes");
    }
    dir
}

const TRAIN: &str = "read write openat:1 close mmap brk read write\nread write openat:1 close mmap\nopenat:1 close mmap brk read\n\
                     read write openat:1 close mmap brk\nwrite openat:1 close mmap brk read write\n";
const TEST: &str = "openat:1 close mmap brk read write\nwrite openat:1 close mmap brk read\n";
const ATTACK: &str = "write read brk mmap close openat:1 write\n59, 59, 59, 59, 59, 59\n";

#[test]
fn figures_are_the_same_twice_and_stand_where_they_were_asked_for() {
    let dir = data_set(TRAIN, TEST, ATTACK);
    let args = ["--methods", "stide,isolation-forest", "--labelled-folds", "2", "--json", "-"];
    let (first, second) = (run(&args, dir.path()), run(&args, dir.path()));
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    assert_eq!(first.stdout, second.stdout);
    let report: serde_json::Value = serde_json::from_slice(&first.stdout).expect("only JSON on standard output");
    assert_eq!(report["protocols"]["normal-only"]["stide"]["auc"], 1.0);
    assert_eq!(report["protocols"]["normal-only"]["stide"]["families"]["down"]["items"], 2);
    assert!(report["protocols"]["labelled-cv"]["stide"]["not_applicable"].is_string());

    let out = dir.path().join("out");
    let (json, scores, plots) = (out.with_extension("json"), out.with_extension("tsv"), out.display().to_string());
    let (json, scores) = (json.display().to_string(), scores.display().to_string());
    let args = ["--methods", "stide", "--json", &json, "--save-scores", &scores, "--plots", &plots, "-o", "markdown"];
    let told = run(&args, dir.path());
    assert!(String::from_utf8_lossy(&told.stdout).contains("| stide"), "a table on standard output");
    for file in [json.as_str(), &scores, &format!("{plots}/roc.svg"), &format!("{plots}/roc-log.svg")] {
        assert!(std::fs::metadata(file).is_ok_and(|m| m.len() > 100), "{file}");
    }
}

#[test]
fn bad_data_is_one_line_and_65() {
    let leaking = data_set(TRAIN, TRAIN, ATTACK);
    let odd = data_set(TRAIN, "read\nread reed\n", ATTACK);
    let empty = tempfile::tempdir().expect("a directory");
    for (dir, expect) in [
        (&leaking, "1 file(s), 5 normal trace(s) and 0 attack trace(s) are both trained on and judged"),
        (&odd, "normal-test.txt:2: \"reed\" is no call of x86-64"),
        (&empty, "no normal-train there"),
    ] {
        let out = run(&["--methods", "stide"], dir.path());
        let error = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(65), "{error}");
        assert!(error.lines().count() == 1 && error.contains(expect), "{error}");
        assert!(out.stdout.is_empty());
    }
    assert!(run(&["--methods", "stide", "--allow-leakage"], leaking.path()).status.success());
    assert_eq!(run(&["--methods", "strange"], leaking.path()).status.code(), Some(2));
}
