//! Recordings as `train` reads them: cut into windows by workload.
//!
//! What must hold: no panic, whatever times, numbers and names the lines have; windows are not longer than the rule says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{cell::OnceCell, path::PathBuf};
use surprisal_scorer::{detect::window, train::corpus::Corpus};

/// `Corpus` reads files: one in memory, written over each time.
fn file() -> PathBuf {
    PathBuf::from(format!("/dev/shm/surprisal-fuzz-corpus.{}", std::process::id()))
}

thread_local! {
    static FILE: OnceCell<PathBuf> = const { OnceCell::new() };
}

fuzz_target!(|bytes: &[u8]| {
    FILE.with(|path| {
        let path = path.get_or_init(file);
        std::fs::write(path, bytes).expect("/dev/shm takes a file");
        let mut corpus = Corpus::default();
        let read = corpus.read(path, true, true);
        std::fs::remove_file(path).expect("it was written");
        if read.is_err() {
            return;
        }
        for workload in corpus.finish().workloads.values() {
            for window in workload.pieces.iter().map(|p| &p.window) {
                assert!((1..=window::CALLS).contains(&window.calls.len()) && window.context.len() <= window::CONTEXT);
            }
        }
    });
});
