use super::{circles, resolve, tree::Tree};
use std::fs;

/// Files of a crate whose root is `lib.rs`; the circles in it, as file names.
fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("created");
        fs::write(path, text).expect("written");
    }
    let tree = Tree::read(&dir.path().join("lib.rs")).expect("it parses");
    let names = |circle: &Vec<resolve::Import>| {
        let mut names: Vec<_> =
            circle.iter().map(|i| i.from.strip_prefix(dir.path()).expect("inside").display().to_string()).collect();
        names.sort();
        names
    };
    circles(&resolve::imports(&tree)).iter().map(names).collect()
}

#[test]
fn circles_are_found_however_they_are_written() {
    let lib = "mod a; mod b;";
    for (what, a, b) in [
        ("use", "use crate::b::B; pub struct A;", "use crate::a::A; pub struct B;"),
        ("use of a parent's child", "use super::b::B; pub struct A;", "use super::a::A; pub struct B;"),
        ("groups and new names", "use crate::{b::{B as C}}; pub struct A;", "use crate::{a::{self}}; pub struct B;"),
        ("paths in bodies", "pub fn f() { crate::b::g() }", "pub fn g() { super::a::f() }"),
        ("modules that `use` brings", "use super::b; pub fn f() { b::g() }", "use super::a; pub fn g() { a::f() }"),
        ("macros' arguments", "pub fn f() { println!(\"{}\", crate::b::g()) }", "pub fn g() -> u8 { crate::a::f(); 1 }"),
        ("types in signatures", "pub struct A(crate::b::B);", "pub struct B; impl B { fn f(_: &crate::a::A) {} }"),
        ("globs", "use crate::b::*; pub struct A;", "use crate::a::*; pub struct B;"),
        ("inline modules", "pub mod i { pub use crate::b::B; use crate::b::B as C; }", "use crate::a::i; pub struct B;"),
    ] {
        assert_eq!(circles_of(&[("lib.rs", lib), ("a.rs", a), ("b.rs", b)]), [["a.rs", "b.rs"]], "{what}");
    }
}

#[test]
fn what_is_no_circle() {
    let lib = "mod a; mod b;";
    for (what, a, b) in [
        ("one way", "use crate::b::B; pub struct A;", "pub struct B;"),
        ("tests", "use crate::b::B; pub struct A;", "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }"),
        ("a test's function", "use crate::b::B; pub struct A;", "pub struct B; #[cfg(test)] fn f() { crate::a::f() }"),
        ("other crates", "use b::B; pub fn f() { ::b::f() }", "use a::A; use std::fmt;"),
        ("methods of types", "use crate::b::B; pub fn f() { B::new() }", "pub struct B; impl B { fn new() {} }"),
    ] {
        assert_eq!(circles_of(&[("lib.rs", lib), ("a.rs", a), ("b.rs", b)]), Vec::<Vec<String>>::new(), "{what}");
    }
}

#[test]
fn a_reexport_is_the_defining_file() {
    // The parent passes `Key` on; the child uses a sibling through it, and the parent uses nothing of its own.
    let parent = "mod key; mod id; pub use {key::Key, id::*};";
    let none = circles_of(&[
        ("lib.rs", "mod parent;"),
        ("parent.rs", parent),
        ("parent/key.rs", "use super::Id; pub struct Key(Id);"),
        ("parent/id.rs", "pub struct Id;"),
    ]);
    assert_eq!(none, Vec::<Vec<String>>::new());
    let one = circles_of(&[
        ("lib.rs", "mod parent;"),
        ("parent.rs", parent),
        ("parent/key.rs", "use super::Id; pub struct Key(Id);"),
        ("parent/id.rs", "use crate::parent::Key; pub struct Id;"),
    ]);
    assert_eq!(one, [["parent/id.rs", "parent/key.rs"]]);
}

#[test]
fn a_parent_and_its_child() {
    let child = "use super::Shared; pub fn f(_: Shared) {}";
    let both = circles_of(&[("lib.rs", "mod child; pub struct Shared; fn g() { child::f(Shared) }"), ("child.rs", child)]);
    assert_eq!(both, [["child.rs", "lib.rs"]]);
    // A parent that only names its rooms.
    assert_eq!(circles_of(&[("lib.rs", "mod child; pub struct Shared;"), ("child.rs", child)]), Vec::<Vec<String>>::new());
}

#[test]
fn the_shortest_circle_of_a_group_is_named() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "use crate::c::C; pub struct B;"),
        ("c.rs", "use crate::a::A; pub struct C;"),
    ];
    assert_eq!(circles_of(&files), [["a.rs", "b.rs", "c.rs"]]);
}
