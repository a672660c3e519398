//! Messages and services of `surprisal.v1`.
#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    clippy::map_err_ignore,
    reason = "generated code"
)]

include!("generated/surprisal.v1.rs");
