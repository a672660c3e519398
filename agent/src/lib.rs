//! One process per node: from the kernel's ring buffer to a scorer.
//!
//! In data-flow order:
//!
//! | module | in | out |
//! |---|---|---|
//! | [`bpf`] | the eBPF object | a ring buffer's bytes, counters: the only aya |
//! | [`decode`] | bytes | records of the ABI |
//! | [`sequence`] | records | each thread's runs, with gaps, attributed to containers |
//! | [`procfs`] | `/proc`, the cgroup tree | what ran before the agent, network totals |
//! | [`bundle`] | a shim's OCI bundle | names |
//! | [`identity`] | a key from the kernel | a [`container::ContainerInfo`], joined late |
//! | [`record`] | | the one type that flows from here on |
//! | [`jsonl`] | records | a file that rotates, or a recording |
//!
//! Around them: [`app`] owns every task.

pub mod admin;
pub mod app;
pub mod attribute;
pub mod bpf;
pub mod bundle;
pub mod capture;
pub mod cli;
pub mod config;
pub mod container;
pub mod decode;
pub mod exit;
pub mod identity;
pub mod jsonl;
pub mod logging;
pub mod metrics;
pub mod preflight;
pub mod procfs;
pub mod record;
pub mod sequence;
pub mod uplink;
