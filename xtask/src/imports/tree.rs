//! The modules of one target: where each lies, what it defines, and which paths it writes.
//!
//! In: the target's root file. Out: a [`Tree`]. Never: follows `mod` or reads items under `#[cfg(test)]`; expands macros: of a
//! macro's call it reads arguments that are expressions, which is what `format!`, `ensure!` and their like take.

use anyhow::{Context as _, Result};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};
use syn::{
    Attribute, Expr, File, Item, ItemMod, ItemUse, Macro, Meta, Token, UseTree, Visibility, parse::Parser as _,
    punctuated::Punctuated, spanned::Spanned as _, visit::Visit,
};

/// Names from the crate's root; the root itself is empty.
pub(super) type ModulePath = Vec<String>;

/// A target's modules.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) modules: BTreeMap<ModulePath, Module>,
}

/// What one module holds, inline ones apart from the file that they are written in.
#[derive(Debug, Default)]
pub(super) struct Module {
    pub(super) file: PathBuf,
    /// Items other than `use`.
    pub(super) defined: BTreeSet<String>,
    /// Names that `use` brings, and the path that each stands for, as written.
    pub(super) imported: BTreeMap<String, Vec<String>>,
    /// Paths before `::*`, as written.
    pub(super) globs: Vec<Vec<String>>,
    pub(super) written: Vec<Written>,
}

/// A path of two names or more, or one that `use` brings, as written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
    /// Passes a name on and uses nothing itself.
    pub(super) reexport: bool,
}

impl Tree {
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        let dir = root.parent().context("a source file lies in a directory")?;
        tree.read_file(root, dir, &Vec::new())?;
        Ok(tree)
    }

    pub(super) fn files(&self) -> BTreeSet<PathBuf> {
        self.modules.values().map(|m| m.file.clone()).collect()
    }

    /// `dir` is where the module's own submodules lie.
    fn read_file(&mut self, file: &Path, dir: &Path, path: &ModulePath) -> Result<()> {
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let parsed: File = syn::parse_file(&text).with_context(|| format!("parsing {}", file.display()))?;
        self.read_items(&parsed.items, file, dir, path)
    }

    fn read_items(&mut self, items: &[Item], file: &Path, dir: &Path, path: &ModulePath) -> Result<()> {
        let mut reader = Reader { module: Module { file: file.to_owned(), ..Module::default() } };
        let mut inner = Vec::new();
        for item in items {
            match item {
                Item::Mod(module) if !only_tests(&module.attrs) => {
                    reader.module.defined.insert(module.ident.to_string());
                    inner.push(module);
                }
                item => reader.visit_item(item),
            }
        }
        self.modules.insert(path.clone(), reader.module);
        for module in inner {
            self.read_module(module, file, dir, path)?;
        }
        Ok(())
    }

    fn read_module(&mut self, module: &ItemMod, file: &Path, dir: &Path, parent: &ModulePath) -> Result<()> {
        let name = module.ident.to_string();
        let mut path = parent.clone();
        path.push(name.clone());
        if let Some((_, items)) = &module.content {
            return self.read_items(items, file, &dir.join(&name), &path);
        }
        if let Some(place) = place(&module.attrs) {
            let file = file.parent().unwrap_or(dir).join(place);
            let dir = file.parent().unwrap_or(dir).to_owned();
            return self.read_file(&file, &dir, &path);
        }
        let flat = dir.join(format!("{name}.rs"));
        let file = if flat.is_file() { flat } else { dir.join(&name).join("mod.rs") };
        self.read_file(&file, &dir.join(&name), &path)
    }
}

/// `#[cfg(test)]`, or `#[test]` itself.
fn only_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|a| match &a.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        Meta::Path(path) => path.is_ident("test"),
        Meta::NameValue(_) => false,
    })
}

/// `#[path = "…"]`.
fn place(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|a| match &a.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

/// Collects what one module writes, its functions' bodies included.
struct Reader {
    module: Module,
}

impl Reader {
    fn read_use(&mut self, item: &ItemUse) {
        let reexport = !matches!(item.vis, Visibility::Inherited);
        let mut leaves = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut leaves);
        for leaf in leaves {
            let line = item.span().start().line;
            match leaf.name {
                Some(name) => drop(self.module.imported.insert(name, leaf.path.clone())),
                None => self.module.globs.push(leaf.path.clone()),
            }
            self.module.written.push(Written { path: leaf.path, line, reexport });
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        let (attributes, name) = match item {
            Item::Const(i) => (&i.attrs, Some(&i.ident)),
            Item::Enum(i) => (&i.attrs, Some(&i.ident)),
            Item::Fn(i) => (&i.attrs, Some(&i.sig.ident)),
            Item::Static(i) => (&i.attrs, Some(&i.ident)),
            Item::Struct(i) => (&i.attrs, Some(&i.ident)),
            Item::Trait(i) => (&i.attrs, Some(&i.ident)),
            Item::Type(i) => (&i.attrs, Some(&i.ident)),
            Item::Union(i) => (&i.attrs, Some(&i.ident)),
            Item::Macro(i) => (&i.attrs, i.ident.as_ref()),
            Item::Impl(i) => (&i.attrs, None),
            Item::Mod(i) => (&i.attrs, None),
            Item::Use(i) => (&i.attrs, None),
            _ => return syn::visit::visit_item(self, item),
        };
        if only_tests(attributes) {
            return;
        }
        self.module.defined.extend(name.map(ToString::to_string));
        match item {
            Item::Use(item) => self.read_use(item),
            item => syn::visit::visit_item(self, item),
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        // `::name` is another crate; a single name is local, or stands in a `use` that is read anyway.
        if path.leading_colon.is_none() && names.len() > 1 {
            self.module.written.push(Written { path: names, line: path.span().start().line, reexport: false });
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        syn::visit::visit_macro(self, call);
        let arguments = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(call.tokens.clone());
        // Anything else is a language of the macro's own.
        let Ok(arguments) = arguments else { return };
        // The parsed tree lives here only; paths are copied out of it.
        let mut inner = Reader { module: Module::default() };
        for argument in &arguments {
            inner.visit_expr(argument);
        }
        self.module.written.append(&mut inner.module.written);
    }
}

/// One name of a `use`; none for `*`.
struct Leaf {
    name: Option<String>,
    path: Vec<String>,
}

fn flatten(tree: &UseTree, prefix: &mut Vec<String>, leaves: &mut Vec<Leaf>) {
    match tree {
        UseTree::Path(part) => {
            prefix.push(part.ident.to_string());
            flatten(&part.tree, prefix, leaves);
            prefix.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, prefix, leaves)),
        UseTree::Glob(_) => leaves.push(Leaf { name: None, path: prefix.clone() }),
        UseTree::Name(name) => leaf(&name.ident.to_string(), None, prefix, leaves),
        UseTree::Rename(name) => leaf(&name.ident.to_string(), Some(name.rename.to_string()), prefix, leaves),
    }
}

/// `self` in a group is the path before it.
fn leaf(ident: &str, rename: Option<String>, prefix: &[String], leaves: &mut Vec<Leaf>) {
    let mut path = prefix.to_vec();
    if ident != "self" {
        path.push(ident.to_owned());
    }
    let name = rename.or_else(|| path.last().cloned());
    leaves.push(Leaf { name, path });
}
