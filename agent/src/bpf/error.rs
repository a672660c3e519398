//! Why the programs are not in the kernel.
//!
//! In: what aya or the kernel said. Out: [`LoadError`], which says what was tried. Pure.

use super::btf;
use aya::{
    EbpfError,
    maps::MapError,
    programs::{ProgramError, links::LinkError},
};
use std::io;

/// Why the programs are not in the kernel.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Built without the objects.
    #[error("this agent was built without its eBPF programs; run `cargo xtask build-ebpf` and build it again")]
    NotEmbedded,
    /// Offsets.
    #[error(transparent)]
    Btf(#[from] btf::Error),
    /// aya's own reading of BTF.
    #[error("reading the kernel's BTF")]
    KernelTypes(#[source] aya::BtfError),
    /// Not allowed.
    #[error("not allowed to load eBPF programs: needs CAP_BPF and CAP_PERFMON (or root)")]
    NotAllowed,
    /// Object or maps.
    #[error("creating the maps")]
    Load(#[source] Box<EbpfError>),
    /// One program.
    #[error("{action} the program {program}")]
    Program {
        /// "loading" or "attaching".
        action: &'static str,
        /// Its name.
        program: &'static str,
        /// What the kernel said.
        #[source]
        source: Box<ProgramError>,
    },
    /// One map.
    #[error("the map {map}")]
    Map {
        /// Its name.
        map: &'static str,
        /// What the kernel said.
        #[source]
        source: Box<MapError>,
    },
    /// An iterator could not be made.
    #[error("starting the iterator {program}")]
    Iterator {
        /// Its name.
        program: &'static str,
        /// What the kernel said.
        #[source]
        source: Box<LinkError>,
    },
    /// An iterator stopped half-way.
    #[error("running the iterator {program}")]
    IteratorRead {
        /// Its name.
        program: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Counting and timing runs.
    #[error(
        "cannot switch on the kernel's statistics of eBPF programs, which needs CAP_SYS_ADMIN (or root); --bpf-stats asks for it"
    )]
    Stats(#[source] io::Error),
    /// The object lacks a part.
    #[error("the embedded object has no {0}: it is not this agent's")]
    Incomplete(&'static str),
}

impl LoadError {
    /// Rights, rather than this kernel's abilities, are missing.
    pub fn is_rights(&self) -> bool {
        match self {
            Self::NotAllowed => true,
            Self::Stats(source) => source.kind() == io::ErrorKind::PermissionDenied,
            _ => false,
        }
    }
}
