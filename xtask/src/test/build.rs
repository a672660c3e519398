//! Cargo over the whole workspace.
//!
//! In: a command. Out: it, always with the same features, so that no step builds again what another one has. Never: runs it.

use crate::shell;
use std::process::Command;

/// `cargo COMMAND` for all packages.
pub(super) fn workspace(command: &str) -> Command {
    let mut cargo = shell::cargo();
    cargo.args([command, "--workspace", "--locked"]);
    // On busy cores libgomp's spinning makes training twenty times slower.
    cargo.env("OMP_WAIT_POLICY", "PASSIVE");
    cargo
}
