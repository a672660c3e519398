//! Traces in files of text.
//!
//! In: files. Out: a [`DataSet`] of whole traces. Never: a guess at what a word means.

use crate::evaluate::abi::Abi;
use crate::evaluate::data::{DataSet, File, Item, Kind, Set};
use crate::evaluate::error::DataError;
use clap::ValueEnum;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use surprisal_proto::token::Token;

/// What one trace is in a file of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Traces {
    /// Every line; a file of one line is one trace.
    #[default]
    Line,
    /// Every file, however many lines it has.
    File,
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
}
