//! Reads a data set, whatever its files hold.
//!
//! In: a folder, and how it is read. Out: a [`DataSet`], or why there is none. Never: traces and recordings together.

use crate::evaluate::abi::Abi;
use crate::evaluate::data::{DataSet, Set};
use crate::evaluate::error::DataError;
use crate::evaluate::layout::{self, Source};
use crate::evaluate::recorded;
use crate::evaluate::text::{self, Traces};
use std::path::Path;

/// How a data set is read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Numbering of calls.
    pub abi: Abi,
    /// What a trace is.
    pub traces: Traces,
    /// Whose windows are taken from recordings; `None`: the only workload there is.
    pub workload: Option<String>,
}

/// Reads a data set.
pub fn load(dir: &Path, reading: &Reading) -> Result<DataSet, DataError> {
    let mut texts = [const { Vec::new() }; 3];
    let mut recordings = [const { Vec::new() }; 3];
    for (n, set) in Set::ALL.into_iter().enumerate() {
        match layout::find(dir, set)? {
            Source::Text(files) => texts[n] = files,
            Source::Recordings(files) => recordings[n] = files,
        }
    }
    let recorded = Set::ALL.into_iter().zip(&recordings).find(|(_, files)| !files.is_empty());
    match recorded {
        None => text::read(dir, texts, reading.abi, reading.traces),
        Some(_) if texts.iter().all(Vec::is_empty) => recorded::read(dir, recordings, reading.workload.as_deref()),
        Some((set, _)) => Err(DataError::Mixed { dir: dir.to_owned(), set: set.name() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::chain;
    use crate::evaluate::data::Item;

    fn write(dir: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().expect("below")).expect("creates");
            std::fs::write(path, text).expect("writes");
        }
    }

    #[test]
    fn files_and_folders_are_found_and_read() {
        let dir = tempfile::tempdir().expect("a directory");
        write(
            dir.path(),
            &[
                ("normal-train.txt", "1 2\n3\n"),
                ("normal-test/b.txt", "4\n"),
                ("normal-test/a.txt", "5\n"),
                ("normal-test/.hidden.txt", "x\n"),
                ("normal-test/notes.md", "x\n"),
                ("attack/one/x.txt", "6\n"),
                ("attack/two.txt", "7\n8\n"),
            ],
        );
        let data = load(dir.path(), &Reading::default()).expect("reads");
        let shown = |items: &[Item]| {
            let item = |i: &Item| {
                format!(
                    "{}:{}={}{}",
                    i.file,
                    i.number,
                    i.calls[0].0,
                    i.family.as_deref().map(|f| format!("!{f}")).unwrap_or_default()
                )
            };
            items.iter().map(item).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown(&data.train), "normal-train.txt:1=1 normal-train.txt:2=3");
        assert_eq!(
            shown(&data.test),
            "normal-test/a.txt:1=5 normal-test/b.txt:1=4 attack/one/x.txt:1=6!one attack/two.txt:1=7!two attack/two.txt:2=8!two"
        );
        assert_eq!(data.files.len(), 5);
        let families: Vec<_> = data.families().into_iter().map(|(f, n)| format!("{f} {n}")).collect();
        assert_eq!(families, ["one 1", "two 2"]);
    }

    #[test]
    fn what_is_no_data_set_is_named() {
        let refused = |files: &[(&str, &str)]| {
            let dir = tempfile::tempdir().expect("a directory");
            write(dir.path(), files);
            let error = load(dir.path(), &Reading::default()).expect_err("refused");
            chain(&error).replace(&*dir.path().to_string_lossy(), "D")
        };
        let (train, test) = (("normal-train.txt", "1\n"), ("normal-test.txt", "2\n"));
        for (files, expect) in [
            (vec![train, test], "D: no attack there (a folder, attack.txt, attack.jsonl or attack.jsonl.zst)"),
            (vec![train, test, ("attack.txt", "# nothing\n")], "D/attack: holds no trace"),
            (vec![train, test, ("attack/readme", "x")], "D/attack: holds no *.txt, *.jsonl or *.jsonl.zst"),
            (
                vec![train, test, ("attack.txt", "1"), ("attack/a.txt", "1")],
                "both D/attack and D/attack.txt are there: which one is meant?",
            ),
            (vec![train, test, ("attack.jsonl", "1")], "D: attack holds recordings; they are not judged together with text"),
            (
                vec![train, test, ("attack/a.jsonl", "1"), ("attack/b.txt", "1")],
                "D: attack holds recordings; they are not judged together with text",
            ),
        ] {
            assert_eq!(refused(&files), expect);
        }
    }
}
