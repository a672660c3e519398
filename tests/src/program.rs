//! The C programs of tests/fixtures: what they do is known to the call.
//!
//! In: their sources. Out: static binaries, and what a test has to find of them. Never: more calls than they say.

use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// `calls`, by x86-64 number: the ones that the programs make on purpose, and that the C library never makes by itself.
pub const MARKERS: [u16; 5] = [GETPPID, GETUID, GETGID, GETPID, SCHED_YIELD];
/// `getppid`
pub const GETPPID: u16 = 110;
/// `getuid`
pub const GETUID: u16 = 102;
/// `getgid`
pub const GETGID: u16 = 104;
/// `getpid`
pub const GETPID: u16 = 39;
/// `sched_yield`
pub const SCHED_YIELD: u16 = 24;
/// `exit_group`
pub const EXIT_GROUP: u16 = 231;

/// All calls of `exact`, from its first to its last; the execve before them is the runtime's.
pub const EXACT: [u16; 6] = [GETPPID, GETUID, GETGID, GETPID, SCHED_YIELD, EXIT_GROUP];

/// The marker calls of thread `thread` of `workload sequence SEED THREADS LENGTH`.
pub fn sequence(seed: u32, thread: u32, length: usize) -> Vec<u16> {
    // Xorshift32, as in workload.c; its state is never 0.
    let mut state = seed.wrapping_add(thread.wrapping_mul(0x9e37_79b9)) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        MARKERS[state as usize % MARKERS.len()]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// The sources.
pub(crate) fn sources() -> Result<Vec<PathBuf>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut sources: Vec<_> = fs::read_dir(&dir)
        .with_context(|| format!("reading {}", dir.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "c"))
        .collect();
    sources.sort();
    Ok(sources)
}

/// Compiles `source` into `dir` under the source's name.
pub(crate) fn compile(source: &Path, dir: &Path) -> Result<()> {
    let name = source.file_stem().context("a source has a name")?;
    let mut gcc = Command::new("gcc");
    gcc.args(["-O2", "-Wall", "-Werror", "-static", "-o"]).arg(dir.join(name)).arg(source);
    // A source without the C library says so in its first line.
    if fs::read_to_string(source)?.starts_with("// freestanding") {
        gcc.args(["-ffreestanding", "-nostdlib", "-fno-stack-protector"]);
    }
    let out = gcc.output().context("starting gcc; `cargo xtask setup containers` installs it")?;
    if !out.status.success() {
        bail!("gcc {}: {}", source.display(), String::from_utf8_lossy(&out.stderr));
    }
    Ok(())
}
