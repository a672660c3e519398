//! Tools that are neither of Debian's packages nor libtorch: what cargo or pip installs, and what is only unpacked.
//!
//! In: a pinned version. Out: the program in the cache. Never: installs one that the user has already.

use super::{cache::cache, packages};
use crate::shell;
use anyhow::{Context as _, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Each holds the schemas of a dozen versions: one those of today, one that of 1.20, the oldest that is tested.
pub(super) const KUBERNETES_VALIDATE: [&str; 2] = ["1.37.0", "1.27.1"];
const NEXTEST: &str = "0.9.143";
const DENY: &str = "0.20.2";

/// A version of the validator of manifests.
pub(crate) fn kubernetes_validate(version: &str) -> Result<PathBuf> {
    Ok(cache()?.join("kubernetes-validate").join(version).join("bin/kubernetes-validate"))
}

/// Where Debian's auditd is unpacked: installing it would start it.
pub(crate) fn auditd() -> Result<PathBuf> {
    Ok(cache()?.join("auditd"))
}

/// cargo-nextest: the user's own, else the cache's.
pub(crate) fn nextest() -> Result<PathBuf> {
    match shell::find("cargo-nextest") {
        Some(path) => Ok(path),
        None => Ok(cache()?.join("bin/cargo-nextest")),
    }
}

/// cargo-deny of the pinned version: its checks change between versions.
pub(crate) fn deny() -> Result<PathBuf> {
    Ok(cache()?.join("deny").join(DENY).join("bin/cargo-deny"))
}

pub(super) fn ensure_kubernetes_validate(version: &str) -> Result<()> {
    let program = kubernetes_validate(version)?;
    if program.exists() {
        return Ok(());
    }
    let venv = program.parent().and_then(Path::parent).context("the cache has no parent")?;
    println!("setup: kubernetes-validate {version} from PyPI into {} (15 MB to download)", venv.display());
    // Debian splits venv from python3; where it is missing, `-m venv` fails.
    let make = |venv: &Path| shell::output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv));
    if make(venv).is_err() {
        packages::install(&["python3-venv"])?;
        make(venv)?;
    }
    let pip = venv.join("bin/python3");
    let version = format!("kubernetes-validate=={version}");
    shell::run(Command::new(pip).args(["-m", "pip", "install", "-q", &version]))
}

pub(super) fn ensure_auditd() -> Result<()> {
    let to = auditd()?;
    if to.exists() { Ok(()) } else { packages::unpack(&packages::AUDITD, &to) }
}

/// `python3 -m pip` works.
pub(super) fn ensure_pip() -> Result<()> {
    let works = || shell::output(Command::new("python3").args(["-m", "pip", "--version"])).is_ok();
    if !works() {
        packages::install(&["python3-pip"])?;
    }
    Ok(())
}

pub(super) fn ensure() -> Result<()> {
    let nextest = nextest()?;
    if !nextest.exists() {
        cargo_install("cargo-nextest", NEXTEST, &cache()?, &[], &[], "20 MB on disk, about 5 minutes")?;
    }
    let deny = deny()?;
    if !deny.exists() {
        let root = deny.parent().and_then(Path::parent).context("the cache has no parent")?;
        fs::create_dir_all(root)?;
        // It runs for seconds: not worth an optimised build.
        cargo_install("cargo-deny", DENY, root, &["--debug"], &[], "60 MB on disk, about 3 minutes")?;
    }
    Ok(())
}

/// Builds and installs a program from crates.io into `root`.
pub(super) fn cargo_install(
    name: &str,
    version: &str,
    root: &Path,
    options: &[&str],
    env: &[(&str, &Path)],
    cost: &str,
) -> Result<()> {
    println!("setup: building {name} {version} from crates.io into {} ({cost})", root.display());
    let mut cargo = shell::cargo();
    // The workspace's .cargo/config.toml and target directory are not for foreign programs.
    cargo.current_dir(root).args(["install", name, "--version", version, "--locked", "--root"]).arg(root).args(options);
    cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "0").env("CARGO_PROFILE_DEV_DEBUG", "0");
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR"] {
        cargo.env_remove(name);
    }
    for (key, value) in env {
        cargo.env(key, value);
    }
    shell::run(&mut cargo)
}
