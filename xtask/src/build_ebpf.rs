//! `xtask build-ebpf`: from agent-ebpf/ to target/bpf/surprisal-agent.bpf.o and its fallbacks, which agent/build.rs embeds.
//!
//! In: the BPF toolchain of `setup`. Out: objects without DWARF and with BTF, the same bytes in every checkout.
//! Never: host code; it shares Cargo.lock with the workspace and nothing else.

use crate::{
    setup::{self, BpfToolchain, Part},
    shell, workspace,
};
use anyhow::{Context as _, Result};
use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};
use sha2::{Digest as _, Sha256};
use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print nothing when it works
    #[arg(long)]
    quiet: bool,
}

const PACKAGE: &str = "surprisal-agent-ebpf";
const TARGET: &str = "bpfel-unknown-none";
/// Objects, their binaries and features: task storage; a hash map for kernels before 5.12; plain raw tracepoints besides; what
/// `bench hooks` attaches.
const VARIANTS: [(&str, &str, &[&str]); 4] = [
    ("surprisal-agent.bpf.o", PACKAGE, &[]),
    ("surprisal-agent-hash.bpf.o", PACKAGE, &["hash-threads"]),
    ("surprisal-agent-raw.bpf.o", PACKAGE, &["raw-tracepoints"]),
    ("surprisal-bench.bpf.o", "surprisal-bench-ebpf", &[]),
];

pub(crate) fn run(args: &Args) -> Result<()> {
    make(args.quiet)
}

/// Makes the objects and says what they are.
pub(crate) fn build() -> Result<()> {
    make(false)
}

fn make(quiet: bool) -> Result<()> {
    setup::ensure(&[Part::Bpf])?;
    let toolchain = BpfToolchain::find()?;
    let out = workspace::root().join("target/bpf");
    for (name, binary, features) in VARIANTS {
        compile(&toolchain, &out, binary, features)?;
        let object = out.join(name);
        let bytes = strip(&out.join(TARGET).join("bpf").join(binary))?;
        // An unchanged object keeps its time, so that the agent is not built again.
        if fs::read(&object).ok().as_deref() != Some(&bytes) {
            fs::write(&object, &bytes).with_context(|| format!("writing {}", object.display()))?;
        }
        if !quiet {
            println!("{} {} bytes sha256:{}", object.display(), bytes.len(), hex(&Sha256::digest(&bytes)));
        }
    }
    Ok(())
}

fn compile(toolchain: &BpfToolchain, out: &Path, binary: &str, features: &[&str]) -> Result<()> {
    let mut cargo = shell::cargo();
    match &toolchain.rustup {
        Some(name) => cargo.env("RUSTUP_TOOLCHAIN", name),
        None => cargo.env("RUSTC", &toolchain.rustc).env("RUSTC_BOOTSTRAP", "1"),
    };
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(toolchain)?.join("\x1f"));
    for name in ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_TARGET_DIR"] {
        cargo.env_remove(name);
    }
    cargo.args(["build", "--package", PACKAGE, "--bin", binary, "--profile", "bpf", "--locked"]);
    cargo.args(["-Zbuild-std=core", "--target", TARGET, "--target-dir"]).arg(out);
    cargo.arg("--features").arg(features.join(","));
    shell::run(&mut cargo)
}

fn flags(toolchain: &BpfToolchain) -> Result<Vec<String>> {
    // DWARF is what the linker makes BTF from; it is stripped afterwards.
    let mut flags = vec![
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        format!("-Clinker={}", toolchain.linker.display()),
        "--cfg=bpf_target_arch=\"x86_64\"".to_owned(),
    ];
    let cargo_home = match env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => Path::new(&env::var_os("HOME").context("HOME is not set")?).join(".cargo"),
    };
    let library = toolchain.library.canonicalize().context("resolving the library's source")?;
    // No path of this machine in BTF or DWARF.
    let remapped =
        [(workspace::root(), "/surprisal"), (&cargo_home, "/cargo"), (&toolchain.library, "/rust"), (&library, "/rust")];
    flags.extend(remapped.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())));
    Ok(flags)
}

/// The object without DWARF, which is nine tenths of it; `.BTF` and `.BTF.ext` stay.
fn strip(object: &Path) -> Result<Vec<u8>> {
    let data = fs::read(object).with_context(|| format!("reading {}", object.display()))?;
    let mut elf = Builder::read(&*data).with_context(|| format!("parsing {}", object.display()))?;
    for section in &mut elf.sections {
        let name = section.name.as_slice();
        section.delete |= name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    // LLVM keeps the names of sections among those of symbols; the writer wants a table for them.
    if !elf.sections.iter().any(|s| matches!(s.data, SectionData::SectionString)) {
        let names = elf.sections.add();
        names.name = b".shstrtab"[..].into();
        names.sh_type = SHT_STRTAB;
        names.data = SectionData::SectionString;
    }
    // Symbols and string-table entries that only they used.
    elf.delete_orphans();
    let mut stripped = Vec::new();
    elf.write(&mut stripped).with_context(|| format!("writing {} without DWARF", object.display()))?;
    Ok(stripped)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
