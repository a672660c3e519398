//! What the scorer answers: the gRPC services beside ingest, and the admin endpoint.
//!
//! In: requests. Out: what the registry, the profiles and the metrics say. Never: judges, or changes anything but profiles
//! and thresholds.

pub mod admin;
pub mod profiles;
pub mod query;
pub mod status;
