//! End-to-end tests, one module for each promise.

mod deploy;
mod harness;
mod kubernetes;
