//! Embeds the objects that `cargo xtask build-ebpf` made.
//!
//! `SURPRISAL_BPF_DIR` names another folder with them. Where there is none, an empty stub is embedded: user space
//! builds and tests without a BPF toolchain, and the agent says at start what it lacks.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=SURPRISAL_BPF_DIR");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let folder = env::var_os("SURPRISAL_BPF_DIR").map_or_else(
        || PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR")).join("../target/bpf"),
        PathBuf::from,
    );
    for name in ["surprisal-agent.bpf.o", "surprisal-agent-hash.bpf.o", "surprisal-agent-raw.bpf.o"] {
        let object = folder.join(name);
        println!("cargo::rerun-if-changed={}", object.display());
        let bytes = fs::read(&object).unwrap_or_else(|e| {
            println!(
                "cargo::warning=no {} ({e}): the agent will not be able to capture; run `cargo xtask build-ebpf`",
                object.display()
            );
            Vec::new()
        });
        fs::write(out.join(name), bytes).expect("OUT_DIR is writable");
    }
}
