//! End-to-end tests, one module for each promise.

mod capture;
mod deploy;
mod harness;
mod kubernetes;
mod line;
mod network;
