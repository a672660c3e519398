//! The toolchain for the BPF target: rustc, its library's source, bpf-linker of the same LLVM.
//!
//! In: `SURPRISAL_BPF_TOOLCHAIN` = `rustup`, `debian` or `auto` (default). Out: a [`Toolchain`]. Never: builds.
//!
//! - **rustup**: a nightly with rust-src, and bpf-linker in PATH. What a developer usually has; `auto` takes it when
//!   it is whole.
//! - **debian**: rustc-web with rust-web-src, the stable compiler that Debian keeps current for browsers, and a
//!   bpf-linker built against the libLLVM of that very rustc.

use super::{
    cache::cache,
    packages::{self, Need},
    tools,
};
use crate::shell;
use anyhow::{Context as _, Result, bail};
use std::{
    env, fs,
    os::unix,
    path::{Path, PathBuf},
    process::Command,
};

const LINKER_VERSION: &str = "0.13.0";
const RUSTC: &str = "/usr/bin/rustc";
const NEEDS: [Need; 3] = [
    Need { file: RUSTC, package: "rustc-web" },
    Need { file: "/usr/lib/rustlib/src/rust/library/core/Cargo.toml", package: "rust-web-src" },
    // bpf-linker's build compiles a little C++.
    Need { file: "c++", package: "g++" },
];

/// What builds BPF objects here.
pub(crate) struct Toolchain {
    /// rustup toolchain, or none: then [`Self::rustc`] says which compiler.
    pub(crate) rustup: Option<String>,
    /// The compiler.
    pub(crate) rustc: PathBuf,
    /// bpf-linker.
    pub(crate) linker: PathBuf,
    /// Source of the standard library, `…/lib/rustlib/src/rust`.
    pub(crate) library: PathBuf,
}

impl std::fmt::Display for Toolchain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = self.rustup.as_deref().map_or("debian".to_owned(), |t| format!("rustup {t}"));
        write!(f, "bpf: {kind}, {}, {}", self.rustc.display(), self.linker.display())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Auto,
    Rustup,
    Debian,
}

fn choice() -> Result<Choice> {
    Ok(match env::var("SURPRISAL_BPF_TOOLCHAIN").as_deref() {
        Err(_) | Ok("" | "auto") => Choice::Auto,
        Ok("rustup") => Choice::Rustup,
        Ok("debian") => Choice::Debian,
        Ok(other) => bail!("SURPRISAL_BPF_TOOLCHAIN={other}: expected rustup, debian or auto"),
    })
}

impl Toolchain {
    /// What is installed; an error says what is missing.
    pub(crate) fn find() -> Result<Self> {
        match choice()? {
            Choice::Rustup => Self::rustup().context("SURPRISAL_BPF_TOOLCHAIN=rustup"),
            Choice::Debian => Self::debian(),
            Choice::Auto => Self::rustup().or_else(|_| Self::debian()),
        }
    }

    fn rustup() -> Result<Self> {
        let home = match env::var_os("RUSTUP_HOME") {
            Some(home) => PathBuf::from(home),
            None => Path::new(&env::var_os("HOME").context("HOME is not set")?).join(".rustup"),
        };
        let linker = shell::find("bpf-linker").context("no bpf-linker in PATH")?;
        // Directories, not `rustup toolchain list`: its proxies take a third of a second.
        let mut names: Vec<_> = fs::read_dir(home.join("toolchains"))
            .with_context(|| format!("no rustup toolchains under {}", home.display()))?
            .filter_map(|e| e.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with("nightly"))
            .collect();
        // `nightly-x86_64-…` sorts behind the dated ones, and is preferred.
        names.sort_unstable();
        for name in names.into_iter().rev() {
            let sysroot = home.join("toolchains").join(&name);
            let library = sysroot.join("lib/rustlib/src/rust");
            if library.join("library/core/Cargo.toml").exists() {
                return Ok(Self { rustup: Some(name), rustc: sysroot.join("bin/rustc"), linker, library });
            }
        }
        bail!("no nightly toolchain with rust-src under {}", home.display())
    }

    fn debian() -> Result<Self> {
        let linker = root()?.join("bin/bpf-linker");
        let library = PathBuf::from("/usr/lib/rustlib/src/rust");
        for path in [Path::new(RUSTC), &linker, &library.join("library/core/Cargo.toml")] {
            if !path.exists() {
                bail!("{} is missing; `cargo xtask setup bpf` installs it", path.display());
            }
        }
        Ok(Self { rustup: None, rustc: RUSTC.into(), linker, library })
    }
}

fn root() -> Result<PathBuf> {
    Ok(cache()?.join("bpf"))
}

pub(super) fn ensure() -> Result<()> {
    match choice()? {
        Choice::Auto if Toolchain::rustup().is_ok() => Ok(()),
        Choice::Rustup => ensure_rustup(),
        Choice::Auto | Choice::Debian => ensure_debian(),
    }
}

fn ensure_rustup() -> Result<()> {
    if Toolchain::rustup().is_ok() {
        return Ok(());
    }
    println!("setup: installing rustup's nightly with rust-src (about 250 MB to download)");
    shell::run(Command::new("rustup").args([
        "toolchain",
        "install",
        "nightly",
        "--profile",
        "minimal",
        "--component",
        "rust-src",
    ]))?;
    if shell::find("bpf-linker").is_none() {
        println!("setup: building bpf-linker from crates.io (minutes)");
        shell::run(shell::cargo().current_dir("/").args(["install", "bpf-linker", "--locked"]))?;
    }
    Toolchain::rustup().map(|_| ())
}

fn ensure_debian() -> Result<()> {
    if Toolchain::debian().is_ok_and(|t| linker_runs(&t.linker)) {
        return Ok(());
    }
    packages::ensure(&NEEDS)?;
    // The linker must use the LLVM of the rustc that emits the bitcode.
    let version = shell::output(Command::new(RUSTC).arg("-vV"))?;
    let major = llvm_major(&version).with_context(|| format!("no LLVM version in what {RUSTC} -vV says"))?;
    let root = root()?;
    let lib = root.join("llvm/lib");
    fs::create_dir_all(&lib)?;
    // All that the build needs of LLVM is the library by its development name; the -dev package would be 87 MB.
    let link = lib.join("libLLVM.so");
    if link.symlink_metadata().is_ok() {
        fs::remove_file(&link)?;
    }
    unix::fs::symlink(libllvm(&major)?, &link)?;
    let linker = root.join("bin/bpf-linker");
    if linker_runs(&linker) {
        return Ok(());
    }
    let features = format!("llvm-{major}");
    let options = ["--no-default-features", "--features", &features, "--force"];
    let env = [("LLVM_PREFIX", &*root.join("llvm"))];
    tools::cargo_install("bpf-linker", LINKER_VERSION, &root, &options, &env, "20 MB to download, 3 MB on disk, about 2 minutes")
}

/// A linker whose libLLVM an upgrade has replaced is as good as none.
fn linker_runs(linker: &Path) -> bool {
    Command::new(linker).arg("--version").output().is_ok_and(|o| o.status.success())
}

fn llvm_major(version: &str) -> Option<String> {
    let rest = version.lines().find_map(|l| l.strip_prefix("LLVM version: "))?;
    rest.split('.').next().map(str::to_owned)
}

fn libllvm(major: &str) -> Result<PathBuf> {
    let cache = shell::output(Command::new("/sbin/ldconfig").arg("-p"))?;
    cache
        .lines()
        .filter(|l| l.trim_start().starts_with(&format!("libLLVM.so.{major}")))
        .find_map(|l| l.split(" => ").nth(1))
        .map(PathBuf::from)
        .with_context(|| format!("ldconfig knows no libLLVM.so.{major}, which rustc-web should have brought"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_llvm_major() {
        assert_eq!(super::llvm_major("rustc 1.96.0\nLLVM version: 22.1.8\n").as_deref(), Some("22"));
        assert_eq!(super::llvm_major("rustc 1.96.0\n"), None);
    }
}
