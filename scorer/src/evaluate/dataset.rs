//! Traces in files of text.
//!
//! In: a folder as [`super`] lays it out. Out: a [`DataSet`] of whole traces. Never: a guess at what a token means.

use super::data::{DataSet, File, Item, Kind, Set};
use clap::ValueEnum;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use surprisal_proto::names;
use surprisal_proto::token::{NR_FOREIGN, Token};

/// How calls are numbered and named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Abi {
    /// 64-bit x86, as recordings have it.
    #[default]
    #[value(name = "x86-64")]
    #[serde(rename = "x86-64")]
    X86_64,
    /// 32-bit x86, as ADFA-LD has it.
    I386,
}

/// What one trace is in a file of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Traces {
    /// Every line; a file of one line is one trace.
    #[default]
    Line,
    /// Every file, however many lines it has.
    File,
}

/// A data set that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// One of the three parts is not there.
    #[error("{}: no {set} there (a folder, {set}.txt, {set}.jsonl or {set}.jsonl.zst)", dir.display())]
    Missing {
        /// The data set.
        dir: PathBuf,
        /// Which part.
        set: &'static str,
    },
    /// One of the three parts is there twice.
    #[error("both {} and {} are there: which one is meant?", first.display(), second.display())]
    Twice {
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// Something could not be read.
    #[error("reading {}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A word is no call.
    #[error("{}:{line}: {word:?} is no call of {abi} (a number below {NR_FOREIGN} or a name; --abi chooses the numbering)", path.display())]
    Token {
        /// File.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The word, shortened.
        word: String,
        /// The numbering.
        abi: &'static str,
    },
    /// A part holds nothing.
    #[error("{}: holds no {what}", path.display())]
    Empty {
        /// Which part.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// Recordings and files of text in one data set.
    #[error("{}: {set} holds recordings; they are not judged together with text", dir.display())]
    Mixed {
        /// The data set.
        dir: PathBuf,
        /// The part with recordings.
        set: &'static str,
    },
    /// A recording is bad.
    #[error("recording")]
    Recording(#[from] crate::train::recording::CorpusError),
    /// The times of an attack recording's attacks are missing or bad.
    #[error("{}: {reason}", path.display())]
    Attacks {
        /// File.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The recordings do not say whose windows are meant.
    #[error("{}: {reason}", dir.display())]
    Workload {
        /// The data set.
        dir: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Abi {
    /// As the command line spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86-64",
            Self::I386 => "i386",
        }
    }

    /// A call by number or by name. With i386 the token's number is the i386 one: methods need to tell calls
    /// apart, and a translation would lose those that x86-64 does not have.
    pub fn parse(self, word: &str) -> Option<Token> {
        let call = |nr: u16| (nr < NR_FOREIGN).then(|| Token::new(nr, 0));
        if word.bytes().all(|b| b.is_ascii_digit()) {
            return call(word.parse().ok()?);
        }
        match self {
            Self::X86_64 => names::parse(word).ok(),
            Self::I386 => match word.strip_prefix("syscall_") {
                Some(number) => call(number.parse().ok()?),
                None => call(word.parse::<syscalls::x86::Sysno>().ok()?.id() as u16),
            },
        }
    }

    /// The call's name.
    pub fn call(self, token: Token) -> String {
        match self {
            Self::X86_64 => names::words(token),
            Self::I386 => syscalls::x86::Sysno::new(usize::from(token.nr()))
                .map_or_else(|| format!("syscall_{}", token.nr()), |s| s.name().to_owned()),
        }
    }
}

/// Where a part of a data set lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Files of text.
    Text(Vec<PathBuf>),
    /// Recordings.
    Recordings(Vec<PathBuf>),
}

/// Endings of recordings.
const RECORDINGS: [&str; 2] = [".jsonl", ".jsonl.zst"];

fn ends(path: &Path, endings: &[&str]) -> bool {
    path.file_name().is_some_and(|n| endings.iter().any(|e| n.to_string_lossy().ends_with(e)))
}

/// Finds a part's files, in alphabetical order of their paths.
pub(super) fn find(dir: &Path, set: Set) -> Result<Source, DataError> {
    let name = set.name();
    let candidates = ["", ".txt", ".jsonl", ".jsonl.zst"].map(|ending| dir.join(format!("{name}{ending}")));
    let mut there = candidates.into_iter().filter(|p| p.exists());
    let Some(path) = there.next() else { return Err(DataError::Missing { dir: dir.to_owned(), set: name }) };
    if let Some(second) = there.next() {
        return Err(DataError::Twice { first: path, second });
    }
    if !path.is_dir() {
        let recording = ends(&path, &RECORDINGS);
        return Ok(if recording { Source::Recordings(vec![path]) } else { Source::Text(vec![path]) });
    }
    let mut files = Vec::new();
    walk(&path, &mut files)?;
    let (recordings, text): (Vec<_>, Vec<_>) =
        files.into_iter().filter(|p| ends(p, &RECORDINGS) || ends(p, &[".txt"])).partition(|p| ends(p, &RECORDINGS));
    match (recordings.is_empty(), text.is_empty()) {
        (true, true) => Err(DataError::Empty { path, what: "*.txt, *.jsonl or *.jsonl.zst" }),
        (false, true) => Ok(Source::Recordings(recordings)),
        (true, false) => Ok(Source::Text(text)),
        (false, false) => Err(DataError::Mixed { dir: dir.to_owned(), set: name }),
    }
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), DataError> {
    let failed = |source| DataError::Read { path: dir.to_owned(), source };
    let mut entries = std::fs::read_dir(dir).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        // A link to a folder is not followed, so that none can lead in a circle.
        if entry.file_type().map_err(failed)?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Reads files of text: one list for each of [`Set::ALL`].
pub(super) fn read(dir: &Path, parts: [Vec<PathBuf>; 3], abi: Abi, traces: Traces) -> Result<DataSet, DataError> {
    let mut data = DataSet {
        kind: Kind::Traces,
        train: Vec::new(),
        test: Vec::new(),
        files: Vec::new(),
        attacks: Vec::new(),
        normal_container_seconds: 0.0,
        left_out: Vec::new(),
    };
    for (set, paths) in Set::ALL.into_iter().zip(parts) {
        let into = if set == Set::NormalTrain { &mut data.train } else { &mut data.test };
        let before = into.len();
        for path in paths {
            let text = std::fs::read_to_string(&path).map_err(|source| DataError::Read { path: path.clone(), source })?;
            let below: Arc<str> = path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().into();
            let family = (set == Set::Attack).then(|| family(&below));
            data.files.push(File { set, path: below.clone(), digest: Sha256::digest(&text).into() });
            for (number, calls) in parse(&text, &path, abi, traces)? {
                let (file, family) = (below.clone(), family.clone());
                into.push(Item { set, file, number, family, calls, context: 0, from_start: true, place: None });
            }
        }
        if into.len() == before {
            return Err(DataError::Empty { path: dir.join(set.name()), what: "trace" });
        }
    }
    Ok(data)
}

/// A file's traces, each with the line that it begins in.
fn parse(text: &str, path: &Path, abi: Abi, traces: Traces) -> Result<Vec<(u64, Vec<Token>)>, DataError> {
    let mut found: Vec<(u64, Vec<Token>)> = Vec::new();
    for (line, content) in text.lines().enumerate() {
        if content.trim_start().starts_with('#') {
            continue;
        }
        let mut calls = Vec::new();
        for word in content.split(|c: char| c.is_whitespace() || c == ',').filter(|w| !w.is_empty()) {
            let token = abi.parse(word).ok_or_else(|| DataError::Token {
                path: path.to_owned(),
                line: line + 1,
                word: word.chars().take(40).collect(),
                abi: abi.name(),
            })?;
            calls.push(token);
        }
        match found.last_mut() {
            _ if calls.is_empty() => {}
            Some(last) if traces == Traces::File => last.1.append(&mut calls),
            _ => found.push((line as u64 + 1, calls)),
        }
    }
    Ok(found)
}

/// The attack that a file below `attack` holds: the name of the folder it lies in, or else its own, without a
/// number of one or two digits at the end (`Hydra_FTP_1` and `Hydra_FTP_10` are one family, a CVE keeps its number).
pub(super) fn family(below: &str) -> Arc<str> {
    let mut parts = below.split('/').skip(1);
    let name = match (parts.next(), parts.next()) {
        (Some(folder), Some(_)) => folder,
        (Some(file), None) => file.split('.').next().unwrap_or(file),
        _ => "attack",
    };
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit());
    match bare.strip_suffix(['_', '-']) {
        Some(stem) if !stem.is_empty() && (1..=2).contains(&(name.len() - bare.len())) => stem.into(),
        _ => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_numbers_or_names_of_the_abi() {
        for (abi, word, expect) in [
            (Abi::X86_64, "59", Some(Token(59))),
            (Abi::X86_64, "execve", Some(Token(59))),
            (Abi::X86_64, "openat:15", Some(Token::new(257, 15))),
            (Abi::X86_64, "socketcall", None),
            (Abi::I386, "execve", Some(Token(11))),
            (Abi::I386, "socketcall", Some(Token(102))),
            (Abi::I386, "11", Some(Token(11))),
            (Abi::I386, "syscall_11", Some(Token(11))),
            (Abi::I386, "openat:15", None),
            (Abi::I386, "1021", Some(Token(1021))),
            (Abi::I386, "1022", None),
            (Abi::X86_64, "65536", None),
            (Abi::X86_64, "-1", None),
            (Abi::X86_64, "0x3b", None),
        ] {
            assert_eq!(abi.parse(word), expect, "{word} of {}", abi.name());
        }
        assert_eq!((Abi::I386.call(Token(102)), Abi::X86_64.call(Token(59))), ("socketcall".into(), "execve".into()));
    }

    fn check(text: &str, traces: Traces, expect: &str) {
        let got = parse(text, Path::new("t.txt"), Abi::X86_64, traces);
        let got = match got {
            Err(e) => e.to_string(),
            Ok(found) => {
                let trace = |(line, calls): (u64, Vec<Token>)| {
                    format!("{line}:{}", calls.iter().map(|t| t.0.to_string()).collect::<Vec<_>>().join(" "))
                };
                found.into_iter().map(trace).collect::<Vec<_>>().join(" | ")
            }
        };
        assert_eq!(got, expect, "{text:?}");
    }

    #[test]
    fn lines_or_files_are_traces() {
        check("1 2\n3\n", Traces::Line, "1:1 2 | 2:3");
        check("# what it is\n\n1,2, read\n \n3\r\n", Traces::Line, "3:1 2 0 | 5:3");
        check("# what it is\n\n1,2\n3\n", Traces::File, "3:1 2 3");
        check("", Traces::Line, "");
        check(
            "1\n2 reed 3\n",
            Traces::Line,
            "t.txt:2: \"reed\" is no call of x86-64 (a number below 1022 or a name; --abi chooses the numbering)",
        );
    }

    #[test]
    fn a_family_is_a_folder_or_a_file() {
        for (below, expect) in [
            ("attack/Hydra_FTP/a.txt", "Hydra_FTP"),
            ("attack/Hydra_FTP_1/UAD-1.txt", "Hydra_FTP"),
            ("attack/Hydra_FTP_10/deep/UAD-1.txt", "Hydra_FTP"),
            ("attack/sqlmap.txt", "sqlmap"),
            ("attack/sqlmap-2.jsonl.zst", "sqlmap"),
            ("attack/CVE-2021-44228.txt", "CVE-2021-44228"),
            ("attack/cve2.txt", "cve2"),
            ("attack/7.txt", "7"),
            ("attack.txt", "attack"),
        ] {
            assert_eq!(&*family(below), expect, "{below}");
        }
    }

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
        let data = crate::evaluate::load(dir.path(), &crate::evaluate::Reading::default()).expect("reads");
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
            let error = crate::evaluate::load(dir.path(), &crate::evaluate::Reading::default()).expect_err("refused");
            crate::cause::chain(&error).replace(&*dir.path().to_string_lossy(), "D")
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
