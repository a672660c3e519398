//! `xtask setup`: installs what a fresh machine lacks, and nothing else.
//!
//! In: which [`Part`]s a command needs. Out: they are there, or one error that says what to type. Never: touches
//! what is there already; a second run only looks (files, no processes) and takes milliseconds.
//!
//! Sources: the distribution's packages (as root, with apt), crates.io, `PyPI`. Programs that cargo builds and
//! libtorch go to `$SURPRISAL_CACHE` (default `~/.cache/surprisal`), shared by all checkouts.

mod bpf;
mod cache;
mod libtorch;
mod packages;
mod tools;

pub(crate) use bpf::Toolchain as BpfToolchain;
pub(crate) use cache::cache;
pub(crate) use tools::{auditd, deny, kubernetes_validate, nextest};

use crate::shell;
use anyhow::{Context as _, Result};
use packages::Need;
use std::path::PathBuf;

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

const CONTAINERS: [Need; 12] = [
    Need { file: "containerd", package: "containerd" },
    Need { file: "ctr", package: "containerd" },
    Need { file: "runc", package: "runc" },
    // CRI-O's and podman's monitor.
    Need { file: "conmon", package: "conmon" },
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

pub(crate) fn run(args: &Args) -> Result<()> {
    let parts = if args.parts.is_empty() { &Part::ALL[..] } else { &args.parts };
    ensure(parts)?;
    for part in parts {
        match part {
            Part::Bpf => println!("{}", BpfToolchain::find()?),
            Part::Libtorch => println!("{}", libtorch::describe()?),
            Part::Containers => println!("containers: {}", place("containerd")?.display()),
            Part::Kubernetes => {
                println!(
                    "kubernetes: {}, {}",
                    place("etcd")?.display(),
                    kubernetes_validate(tools::KUBERNETES_VALIDATE[0])?.display()
                );
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
                .and_then(|()| tools::KUBERNETES_VALIDATE.into_iter().try_for_each(tools::ensure_kubernetes_validate)),
            Part::Vm => packages::ensure(&VM),
            Part::Fuzz => packages::ensure(&[Need { file: "g++", package: "g++" }]),
            Part::Tools => tools::ensure(),
            Part::Bench => packages::ensure(&packages::BENCH).and_then(|()| tools::ensure_auditd()),
        }
        .with_context(|| format!("setting up {part:?}"))?;
    }
    Ok(())
}

fn place(program: &str) -> Result<PathBuf> {
    shell::find(program).with_context(|| format!("{program} is not in PATH"))
}
