//! From a path as written to the file that defines what it names.
//!
//! In: a [`Tree`]. Out: the imports between its files. Never: looks into another crate; guesses: a name that no module
//! of the tree defines or passes on (a derive's, a macro's) belongs to the last module of its path.

use super::tree::{Module, ModulePath, Tree};
use std::path::PathBuf;

/// One file uses a name that another one defines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Import {
    pub(super) from: PathBuf,
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) to: PathBuf,
}

/// Re-exports that are followed before a path is taken as it stands: more is a re-export of itself.
const DEPTH: usize = 16;

/// All imports, those of a file of itself left out.
pub(super) fn imports(tree: &Tree) -> Vec<Import> {
    let mut imports = Vec::new();
    for (at, module) in &tree.modules {
        for written in module.written.iter().filter(|w| !w.reexport) {
            let Some(owner) = owner(tree, at, &written.path, DEPTH) else { continue };
            let to = &tree.modules[&owner].file;
            if *to != module.file {
                let name = written.path.join("::");
                imports.push(Import { from: module.file.clone(), line: written.line, name, to: to.clone() });
            }
        }
    }
    imports.sort();
    imports.dedup();
    imports
}

/// The module that defines what `path` names in module `at`; none for other crates and what is local.
fn owner(tree: &Tree, at: &ModulePath, path: &[String], depth: usize) -> Option<ModulePath> {
    let (mut here, rest) = start(tree, at, path, depth)?;
    let mut rest = rest;
    while let Some((name, after)) = rest.split_first() {
        let mut below = here.clone();
        below.push(name.clone());
        if tree.modules.contains_key(&below) {
            (here, rest) = (below, after);
            continue;
        }
        let module = &tree.modules[&here];
        if module.defined.contains(name) {
            return Some(here);
        }
        return Some(passed_on(tree, &here, module, name, after, depth).unwrap_or(here));
    }
    Some(here)
}

/// The module where the walk begins, and the names that are left.
fn start<'a>(tree: &Tree, at: &ModulePath, path: &'a [String], depth: usize) -> Option<(ModulePath, &'a [String])> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some((ModulePath::new(), rest)),
        "self" => Some((at.clone(), rest)),
        "super" => {
            let up = rest.iter().take_while(|name| *name == "super").count();
            let kept = at.len().checked_sub(up + 1)?;
            Some((at[..kept].to_vec(), &rest[up..]))
        }
        name => {
            let module = tree.modules.get(at)?;
            let mut below = at.clone();
            below.push(name.to_owned());
            if tree.modules.contains_key(&below) {
                return Some((below, rest));
            }
            // A name that `use` brings: a module goes on, a type ends the walk, for the `use` itself is read too.
            let through = module.imported.get(name).filter(|path| path.first() != Some(first))?;
            let depth = depth.checked_sub(1)?;
            let owner = owner(tree, at, through, depth)?;
            (through.last() == owner.last()).then_some((owner, rest))
        }
    }
}

/// Follows `pub use` in `module`, which lies at `here`.
fn passed_on(tree: &Tree, here: &ModulePath, module: &Module, name: &str, after: &[String], depth: usize) -> Option<ModulePath> {
    let depth = depth.checked_sub(1)?;
    if let Some(through) = module.imported.get(name) {
        let full = [through, after].concat();
        return owner(tree, here, &full, depth);
    }
    let defines = |glob: &Vec<String>| {
        let full: Vec<_> = glob.iter().cloned().chain([name.to_owned()]).collect();
        let found = owner(tree, here, &full, depth)?;
        tree.modules[&found].defined.contains(name).then_some(found)
    };
    module.globs.iter().find_map(defines)
}
