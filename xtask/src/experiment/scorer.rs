//! The scorer that experiments start.
//!
//! In: the tree. Out: where the program is. Never: a debug build.

use crate::{
    setup::{self, Part},
    shell, workspace,
};
use anyhow::Result;
use std::path::PathBuf;

/// Built to train: figures do not wait for a debug build.
pub(super) fn build() -> Result<PathBuf> {
    setup::ensure(&[Part::Libtorch])?;
    let build = ["build", "--release", "--locked", "--package", "surprisal-scorer", "--package", "surprisal-learn"];
    shell::run(shell::cargo().args(build))?;
    Ok(workspace::target().join("release/surprisal-scorer"))
}
