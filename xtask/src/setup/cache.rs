//! Where installed tools live.
//!
//! In: the environment. Out: a directory that exists. Never: puts anything there.

use anyhow::{Context as _, Result};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// `$SURPRISAL_CACHE`, by default `~/.cache/surprisal`.
pub(crate) fn cache() -> Result<PathBuf> {
    let dir = match env::var_os("SURPRISAL_CACHE").filter(|v| !v.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(&env::var_os("HOME").context("neither SURPRISAL_CACHE nor HOME is set")?).join(".cache/surprisal"),
    };
    // Programs run in other directories get this path: it has to be absolute.
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    dir.canonicalize().with_context(|| format!("resolving {}", dir.display()))
}
