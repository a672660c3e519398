//! End-to-end tests, one module for each promise.

mod attacks;
mod bad_input;
mod capture;
mod deploy;
mod faults;
mod harness;
mod kernels;
mod kubernetes;
mod line;
mod listing;
mod monitors;
mod naming;
mod nested;
mod network;
mod overload;
mod quiet;
mod servers;
