//! End-to-end tests, one module for each promise.

mod harness;
mod kubernetes;
