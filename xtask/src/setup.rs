//! `xtask setup`: installs what a fresh machine lacks, and nothing else.
//!
//! In: which [`Part`]s a command needs. Out: they are there, or one error that says what to type. Never: touches
//! what is there already; a second run only looks (files, no processes) and takes milliseconds.
//!
//! Sources: the distribution's packages (as root, with apt), crates.io, `PyPI`. Programs that cargo builds and
//! libtorch go to `$SURPRISAL_CACHE` (default `~/.cache/surprisal`), shared by all checkouts.

mod bpf;
mod libtorch;
mod packages;

pub(crate) use bpf::Toolchain as BpfToolchain;

use crate::shell;
use anyhow::{Context as _, Result};
use packages::Need;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to set up; everything that building and testing needs when nothing is named
    #[arg(value_enum)]
    parts: Vec<Part>,
}

/// What a command may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// A rustc that builds for BPF with its library source, and bpf-linker
    Bpf,
    /// libtorch for the scorer's LSTM
    Libtorch,
    /// containerd, runc and what makes images and networks for them
    Containers,
    /// etcd, kubectl and a validator of manifests
    Kubernetes,
    /// qemu, to run other kernels
    Vm,
    /// A C++ compiler, for the fuzzer
    Fuzz,
    /// cargo-nextest and cargo-deny
    Tools,
    /// Load generators and peers for `bench overhead`; only when it is named
    Bench,
}

impl Part {
    /// Everything that building and testing needs.
    pub(crate) const ALL: [Self; 7] =
        [Self::Bpf, Self::Libtorch, Self::Containers, Self::Kubernetes, Self::Vm, Self::Fuzz, Self::Tools];
}

const CONTAINERS: [Need; 11] = [
    Need { file: "containerd", package: "containerd" },
    Need { file: "ctr", package: "containerd" },
    Need { file: "runc", package: "runc" },
    Need { file: "/usr/lib/cni/bridge", package: "containernetworking-plugins" },
    Need { file: "busybox", package: "busybox-static" },
    Need { file: "mmdebstrap", package: "mmdebstrap" },
    Need { file: "ip", package: "iproute2" },
    Need { file: "nsenter", package: "util-linux" },
    Need { file: "unshare", package: "util-linux" },
    // The test programs that run in containers.
    Need { file: "gcc", package: "gcc" },
    // Tests of clocks that jump.
    Need { file: "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", package: "libfaketime" },
];

const VM: [Need; 4] = [
    Need { file: "qemu-system-x86_64", package: "qemu-system-x86" },
    Need { file: "/usr/share/seabios/bios-256k.bin", package: "seabios" },
    Need { file: "strip", package: "binutils" },
    Need { file: "busybox", package: "busybox-static" },
];

const KUBERNETES: [Need; 8] = [
    Need { file: "etcd", package: "etcd-server" },
    Need { file: "kubectl", package: "kubernetes-client" },
    Need { file: "openssl", package: "openssl" },
    Need { file: "zstd", package: "zstd" },
    Need { file: "tar", package: "tar" },
    Need { file: "iptables", package: "iptables" },
    Need { file: "nsenter", package: "util-linux" },
    Need { file: "python3", package: "python3" },
];

/// Each holds the schemas of a dozen versions: one those of today, one that of 1.20, the oldest that is tested.
const KUBERNETES_VALIDATE: [&str; 2] = ["1.37.0", "1.27.1"];
const NEXTEST: &str = "0.9.143";
const DENY: &str = "0.20.2";

pub(crate) fn run(args: &Args) -> Result<()> {
    let parts = if args.parts.is_empty() { &Part::ALL[..] } else { &args.parts };
    ensure(parts)?;
    for part in parts {
        match part {
            Part::Bpf => println!("{}", BpfToolchain::find()?),
            Part::Libtorch => println!("{}", libtorch::describe()?),
            Part::Containers => println!("containers: {}", place("containerd")?.display()),
            Part::Kubernetes => {
                println!("kubernetes: {}, {}", place("etcd")?.display(), kubernetes_validate(KUBERNETES_VALIDATE[0])?.display());
            }
            Part::Fuzz => println!("fuzz: {}", place("g++")?.display()),
            Part::Vm => println!("vm: {}", place("qemu-system-x86_64")?.display()),
            Part::Tools => println!("tools: {}, {}", nextest()?.display(), deny()?.display()),
            Part::Bench => println!("bench: {}, {}", place("wrk")?.display(), auditd()?.display()),
        }
    }
    Ok(())
}

/// Makes sure that `parts` are there.
pub(crate) fn ensure(parts: &[Part]) -> Result<()> {
    for part in parts {
        match part {
            Part::Bpf => bpf::ensure(),
            Part::Libtorch => libtorch::ensure(),
            Part::Containers => packages::ensure(&CONTAINERS),
            Part::Kubernetes => packages::ensure(&KUBERNETES)
                .and_then(|()| KUBERNETES_VALIDATE.into_iter().try_for_each(ensure_kubernetes_validate)),
            Part::Vm => packages::ensure(&VM),
            Part::Fuzz => packages::ensure(&[Need { file: "g++", package: "g++" }]),
            Part::Tools => ensure_tools(),
            Part::Bench => packages::ensure(&packages::BENCH).and_then(|()| ensure_auditd()),
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

fn place(program: &str) -> Result<PathBuf> {
    shell::find(program).with_context(|| format!("{program} is not in PATH"))
}

fn ensure_kubernetes_validate(version: &str) -> Result<()> {
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

fn ensure_auditd() -> Result<()> {
    let to = auditd()?;
    if to.exists() { Ok(()) } else { packages::unpack(&packages::AUDITD, &to) }
}

/// `python3 -m pip` works.
fn ensure_pip() -> Result<()> {
    let works = || shell::output(Command::new("python3").args(["-m", "pip", "--version"])).is_ok();
    if !works() {
        packages::install(&["python3-pip"])?;
    }
    Ok(())
}

fn ensure_tools() -> Result<()> {
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
fn cargo_install(name: &str, version: &str, root: &Path, options: &[&str], env: &[(&str, &Path)], cost: &str) -> Result<()> {
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
