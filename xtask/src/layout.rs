//! The top level of the repository is a fixed list: a newcomer sees the flow, and nothing beside it.
//!
//! In: the names that git tracks, and new ones that it does not ignore. Out: nothing, or what is missing and what does not
//! belong there. Never: looks below the top.

use crate::{shell, workspace};
use anyhow::{Result, ensure};
use std::{collections::BTreeSet, process::Command};

/// All of it but dotfiles.
const TOP: [&str; 10] =
    ["Cargo.toml", "Cargo.lock", "README.md", "agent", "agent-ebpf", "deploy", "proto", "scorer", "tests", "xtask"];

/// Fails unless the tracked top level is [`TOP`] exactly.
pub(crate) fn check() -> Result<()> {
    // Tracked and new files, less what git ignores.
    let files =
        shell::output(Command::new("git").current_dir(workspace::root()).args(["ls-files", "-z", "-co", "--exclude-standard"]))?;
    let wrong = differences(files.split('\0').filter(|path| workspace::root().join(path).exists()));
    ensure!(wrong.is_empty(), "the top level: {}", wrong.join(", "));
    Ok(())
}

/// What is missing at the top of `files`, and what does not belong there.
fn differences<'a>(files: impl Iterator<Item = &'a str>) -> Vec<String> {
    let top = files.filter_map(|path| path.split('/').next()).filter(|name| !name.is_empty() && !name.starts_with('.'));
    let found: BTreeSet<_> = top.collect();
    let expect = BTreeSet::from(TOP);
    let missing = expect.difference(&found).map(|name| format!("{name} is missing"));
    let extra = found.difference(&expect).map(|name| format!("{name} does not belong there"));
    missing.chain(extra).collect()
}

#[cfg(test)]
mod tests {
    use super::{TOP, differences};

    #[test]
    fn the_top_level_is_the_list() {
        let files = |names: &[&str]| differences(names.iter().copied());
        assert!(files(&TOP).is_empty());
        let dotfiles = [&TOP[..], &[".ci/run", ".gitignore", ""]].concat();
        assert!(files(&dotfiles).is_empty());
        let more = [&TOP[..], &["fuzz/Cargo.toml", "notes.md"]].concat();
        assert_eq!(files(&more), ["fuzz does not belong there", "notes.md does not belong there"]);
        assert_eq!(files(&TOP[1..]), ["Cargo.toml is missing"]);
    }
}
