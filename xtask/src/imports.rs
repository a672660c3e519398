//! No circle of imports between files: two files that import each other are one file that was cut in the wrong place.
//!
//! In: the sources of every target of the workspace, as cargo lists them. Out: nothing, or one circle a line, each import with
//! its file, line and name. Never: counts `mod x;` (a parent names its rooms), a re-export between the user and the file
//! that defines the name, or code that only tests compile.
//!
//! [`tree`] reads files into modules and the names that each defines and uses; [`resolve`] finds the file that defines a name.

mod resolve;
mod tree;

#[cfg(test)]
mod tests;

use crate::{shell, workspace};
use anyhow::{Context as _, Result, ensure};
use petgraph::{
    algo::{astar, tarjan_scc},
    graph::{DiGraph, NodeIndex},
    visit::EdgeRef as _,
};
use resolve::Import;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};
use tree::Tree;

/// Fails on a circle in any target.
pub(crate) fn check() -> Result<()> {
    let mut circles = BTreeSet::new();
    let (mut files, mut edges) = (BTreeSet::new(), 0);
    for root in roots()? {
        let tree = Tree::read(&root)?;
        let imports = resolve::imports(&tree);
        edges += imports.len();
        files.extend(tree.files());
        circles.extend(self::circles(&imports).iter().map(|circle| show(circle)));
    }
    println!("{} files, {edges} imports between them", files.len());
    let text: Vec<_> = circles.into_iter().collect();
    ensure!(text.is_empty(), "files import each other in a circle:\n{}", text.join("\n"));
    Ok(())
}

/// The root file of each target, build scripts excepted: they are one file each.
fn roots() -> Result<Vec<PathBuf>> {
    let out = shell::output(shell::cargo().args(["metadata", "--no-deps", "--format-version", "1", "--locked"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&out).context("reading cargo's metadata")?;
    let packages = metadata["packages"].as_array().context("no packages in cargo's metadata")?;
    let targets = packages.iter().filter_map(|p| p["targets"].as_array()).flatten();
    let roots: Vec<_> =
        targets.filter(|t| t["kind"][0] != "custom-build").filter_map(|t| t["src_path"].as_str()).map(PathBuf::from).collect();
    ensure!(!roots.is_empty(), "cargo's metadata name no source file");
    Ok(roots)
}

/// A shortest circle of each group of files that reach each other.
fn circles(imports: &[Import]) -> Vec<Vec<Import>> {
    let mut graph = DiGraph::<&Path, &Import>::new();
    let mut nodes = BTreeMap::<&Path, NodeIndex>::new();
    for import in imports {
        let [from, to] = [&import.from, &import.to].map(|file| *nodes.entry(file).or_insert_with(|| graph.add_node(file)));
        // The first place is enough.
        if graph.find_edge(from, to).is_none() {
            graph.add_edge(from, to, import);
        }
    }
    let groups = tarjan_scc(&graph).into_iter().filter(|group| group.len() > 1);
    let shortest = |group: Vec<NodeIndex>| {
        let back = |edge: petgraph::graph::EdgeReference<'_, &Import>| {
            let (_, path) = astar(&graph, edge.target(), |n| n == edge.source(), |_| 1, |_| 0)?;
            let mut circle = vec![(*edge.weight()).clone()];
            circle.extend(path.windows(2).filter_map(|p| graph.find_edge(p[0], p[1])).map(|e| graph[e].clone()));
            Some(circle)
        };
        graph.edges(group[0]).filter_map(back).min_by_key(Vec::len)
    };
    groups.filter_map(shortest).collect()
}

fn show(circle: &[Import]) -> String {
    let relative = |path: &Path| path.strip_prefix(workspace::root()).unwrap_or(path).display().to_string();
    let line = |i: &Import| format!("  {}:{} uses {} of {}", relative(&i.from), i.line, i.name, relative(&i.to));
    circle.iter().map(line).collect::<Vec<_>>().join("\n")
}
