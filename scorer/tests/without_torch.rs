//! A binary without libtorch says so, and still asks.
#![cfg(not(feature = "tch"))]
#![forbid(unsafe_code)]

use std::process::Command;

#[test]
fn what_needs_libtorch_says_so() {
    for (args, code) in [
        (vec!["train", "--profiles", "/nonexistent", "/nonexistent.jsonl"], 78),
        (vec!["scores", "list", "--server", "http://127.0.0.1:1"], 69),
    ] {
        let out = Command::new(env!("CARGO_BIN_EXE_surprisal-scorer")).args(&args).output().expect("runs");
        let error = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {error}");
        assert_eq!((error.lines().count(), error.contains("built without libtorch")), (1, code == 78), "{error}");
    }
}
