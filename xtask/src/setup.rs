//! `xtask setup`: installs what a fresh machine lacks, and nothing else.
//!
//! In: which [`Part`]s a command needs. Out: they are there, or one error that says what to type. Never: touches
//! what is there already; a second run only looks (files, no processes) and takes milliseconds.
//!
//! Sources: the distribution's packages (as root, with apt), crates.io, `PyPI`. Programs that cargo builds and
//! libtorch go to `$SURPRISAL_CACHE` (default `~/.cache/surprisal`), shared by all checkouts.

mod bpf;
mod packages;

pub(crate) use bpf::Toolchain as BpfToolchain;

use crate::shell;
use anyhow::{Context as _, Result};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to set up; everything when nothing is named
    #[arg(value_enum)]
    parts: Vec<Part>,
}

/// What a command may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// A rustc that builds for BPF with its library source, and bpf-linker
    Bpf,
}

impl Part {
    const ALL: [Self; 1] = [Self::Bpf];
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let parts = if args.parts.is_empty() { &Part::ALL[..] } else { &args.parts };
    ensure(parts)?;
    for part in parts {
        match part {
            Part::Bpf => println!("{}", BpfToolchain::find()?),
        }
    }
    Ok(())
}

/// Makes sure that `parts` are there.
pub(crate) fn ensure(parts: &[Part]) -> Result<()> {
    for part in parts {
        match part {
            Part::Bpf => bpf::ensure(),
        }
        .with_context(|| format!("setting up {part:?}"))?;
    }
    Ok(())
}

/// Where installed tools live.
pub(crate) fn cache() -> Result<PathBuf> {
    let dir = match env::var_os("SURPRISAL_CACHE").filter(|v| !v.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(&env::var_os("HOME").context("neither SURPRISAL_CACHE nor HOME is set")?).join(".cache/surprisal"),
    };
    // Programs run in other directories get this path: it has to be absolute.
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    dir.canonicalize().with_context(|| format!("resolving {}", dir.display()))
}

/// Builds and installs a program from crates.io into `root`, unless it is there.
fn cargo_install(name: &str, version: &str, root: &Path, options: &[&str], env: &[(&str, &Path)], cost: &str) -> Result<()> {
    println!("setup: building {name} {version} from crates.io into {} ({cost})", root.display());
    let mut cargo = shell::cargo();
    // The workspace's .cargo/config.toml and target directory are not for foreign programs.
    cargo.current_dir(root).args(["install", name, "--version", version, "--locked", "--root"]).arg(root).args(options);
    cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "0").env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo.env_remove("CARGO_TARGET_DIR");
    for (key, value) in env {
        cargo.env(key, value);
    }
    shell::run(&mut cargo)
}
