//! One process per node: from the kernel's ring buffer to a scorer.
//!
//! In data-flow order:
//!
//! | module | in | out |
//! |---|---|---|
//! | [`bpf`] | the eBPF object | a ring buffer's bytes, counters: the only aya |
//! | [`decode`] | bytes | records of the ABI |
//! | [`sequence`] | records | each thread's runs, with gaps |
//! | [`names`] | bytes that a call was about | words that harm nobody |
//! | [`attribute`] | runs, births, ends | [`record::Record`]s: whose they are |
//! | [`capture`] | all of the above, on one thread | records, to every sink |
//! | [`procfs`] | `/proc`, the cgroup tree | what ran before the agent, network totals |
//! | [`bundle`] | a shim's OCI bundle | names |
//! | [`identity`] | a key from the kernel | a [`container::ContainerInfo`], joined late |
//! | [`kubernetes`] | the API server, where there is one | owners, labels, who opted out: joined late |
//! | [`container`] | names | ids, workloads, which containers are wanted |
//! | [`record`] | | the one type that flows from here on |
//! | [`uplink`] | records | batches to the scorer, each until it is acknowledged |
//! | [`jsonl`] | records | a file that rotates, or a recording |
//!
//! Around them: [`cli`], [`choice`] and [`config`] say what is wanted, [`preflight`] what this host offers; [`app`] owns every
//! task; [`logging`], [`metrics`], [`status`] and [`admin`] show how it goes; [`cause`] and [`exit`] say how it went.

pub mod admin;
pub mod app;
pub mod attribute;
pub mod bpf;
pub mod bundle;
pub mod capture;
pub mod cause;
pub mod choice;
pub mod cli;
pub mod config;
pub mod container;
pub mod decode;
pub mod exit;
pub mod identity;
pub mod jsonl;
pub mod kubernetes;
pub mod logging;
pub mod metrics;
pub mod names;
pub mod preflight;
pub mod procfs;
pub mod record;
pub mod sequence;
pub mod status;
pub mod uplink;
