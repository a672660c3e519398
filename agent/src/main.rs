//! Parses, configures, runs, and turns errors into documented exit codes.

fn main() {}
