//! The kernel/user ABI: what the eBPF programs write and the agent reads.
//!
//! In: nothing. Out: record layouts ([`abi`]), the two-byte token ([`token`]).
//! This library never touches a kernel; it compiles for BPF and for the host, where its tests run.
#![cfg_attr(not(test), no_std)]

pub mod abi;
pub mod token;
