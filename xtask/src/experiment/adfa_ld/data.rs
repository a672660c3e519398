//! ADFA-LD as the experiment gets it, and as `evaluate` wants it.
//!
//! In: `train.txt`, `val.txt`, `attack.txt` (a trace a line, i386 call numbers) and `attack.labels.tsv` (a line a trace, the
//! second column `FAMILY_N`), in a folder or a `.tar.zst`. Out: normal-train.txt, normal-test.txt and attack/FAMILY.txt. Never:
//! a changed trace.

use crate::shell::Exit;
use anyhow::{Context as _, Result};
use std::{collections::BTreeMap, fmt::Write as _, fs, io::Read as _, path::Path};

/// Exit code: the data set is bad.
const BAD_DATA: u8 = 65;

const FILES: [&str; 4] = ["train.txt", "val.txt", "attack.txt", "attack.labels.tsv"];

/// Traces and calls of the parts, as Creech and Hu published them.
const PUBLISHED: [(&str, usize, usize); 3] =
    [("train.txt", 833, 308_077), ("val.txt", 4372, 2_122_085), ("attack.txt", 746, 317_388)];

/// The data set.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AdfaLd {
    /// A trace a line.
    train: Vec<String>,
    test: Vec<String>,
    /// Each with its family.
    attack: Vec<(String, String)>,
}

/// Reads a folder or a `.tar.zst`; bad data is exit code 65.
pub(super) fn read(path: &Path) -> Result<AdfaLd> {
    let mut texts = BTreeMap::new();
    if path.is_dir() {
        for name in FILES {
            let file = path.join(name);
            let text = fs::read_to_string(&file).map_err(|e| bad(format!("reading {}: {e}", file.display())))?;
            texts.insert(name, text);
        }
    } else {
        texts = unpack(path).map_err(|e| bad(format!("reading {} as .tar.zst: {e:#}", path.display())))?;
    }
    parse(&texts).map_err(|what| bad(format!("{}: {what}", path.display())))
}

fn bad(what: String) -> anyhow::Error {
    Exit::new(BAD_DATA, what).into()
}

/// The files of an archive, in whatever folder they lie there.
fn unpack(path: &Path) -> Result<BTreeMap<&'static str, String>> {
    let file = fs::File::open(path)?;
    let mut texts = BTreeMap::new();
    let mut archive = tar::Archive::new(zstd::Decoder::new(file)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let inside = entry.path()?.into_owned();
        let Some(name) = FILES.into_iter().find(|n| inside.file_name().is_some_and(|f| f == *n)) else { continue };
        let mut text = String::new();
        entry.read_to_string(&mut text).with_context(|| inside.display().to_string())?;
        texts.insert(name, text);
    }
    Ok(texts)
}

fn parse(texts: &BTreeMap<&str, String>) -> Result<AdfaLd, String> {
    let lines = |name: &str| -> Result<Vec<String>, String> {
        let text = texts.get(name).ok_or_else(|| format!("{name} is missing"))?;
        Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
    };
    let families = lines("attack.labels.tsv")?.iter().map(|line| family(line)).collect::<Result<Vec<_>, _>>()?;
    let attack = lines("attack.txt")?;
    if attack.len() != families.len() {
        return Err(format!("attack.txt has {} traces, attack.labels.tsv {} labels", attack.len(), families.len()));
    }
    let read = AdfaLd { train: lines("train.txt")?, test: lines("val.txt")?, attack: families.into_iter().zip(attack).collect() };
    let none = [("train.txt", read.train.len()), ("val.txt", read.test.len()), ("attack.txt", read.attack.len())];
    match none.into_iter().find(|(_, traces)| *traces == 0) {
        Some((name, _)) => Err(format!("{name} is empty")),
        None => Ok(read),
    }
}

/// `Hydra_FTP` of `7<TAB>Hydra_FTP_3<TAB>…`.
fn family(line: &str) -> Result<String, String> {
    let label = line.split('\t').nth(1).ok_or_else(|| format!("attack.labels.tsv: {line:?} has no second column"))?;
    let family = match label.rsplit_once('_') {
        Some((family, n)) if !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => family,
        _ => label,
    };
    // It becomes a file's name.
    let plain = !family.is_empty() && family.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    if plain { Ok(family.to_owned()) } else { Err(format!("attack.labels.tsv: {family:?} names no family")) }
}

impl AdfaLd {
    /// Where it is not what was published, in words.
    pub(super) fn differences(&self) -> Vec<String> {
        let calls = |line: &String| line.split_whitespace().count();
        let count = |lines: &[String]| (lines.len(), lines.iter().map(calls).sum::<usize>());
        let attack = (self.attack.len(), self.attack.iter().map(|(_, line)| calls(line)).sum());
        PUBLISHED
            .into_iter()
            .zip([count(&self.train), count(&self.test), attack])
            .filter(|((_, traces, calls), is)| (*traces, *calls) != *is)
            .map(|((name, traces, calls), is)| {
                format!("{name} has {} traces with {} calls, published were {traces} with {calls}", is.0, is.1)
            })
            .collect()
    }

    /// One of `n` traces of each part, at least 1.
    pub(super) fn every(self, n: usize) -> Self {
        fn thin<T>(all: Vec<T>, n: usize) -> Vec<T> {
            all.into_iter().step_by(n).collect()
        }
        Self { train: thin(self.train, n), test: thin(self.test, n), attack: thin(self.attack, n) }
    }

    /// Writes it into the new folder `dir` as `evaluate` wants it.
    pub(super) fn lay_out(&self, dir: &Path) -> Result<()> {
        let mut families: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
        for (family, line) in &self.attack {
            families.entry(family).or_default().push(line);
        }
        let write = |name: &Path, lines: &[&String]| {
            let mut text = String::new();
            for line in lines {
                let _ = writeln!(text, "{line}");
            }
            fs::write(name, text).with_context(|| format!("writing {}", name.display()))
        };
        fs::create_dir_all(dir.join("attack")).with_context(|| format!("making {}", dir.display()))?;
        write(&dir.join("normal-train.txt"), &self.train.iter().collect::<Vec<_>>())?;
        write(&dir.join("normal-test.txt"), &self.test.iter().collect::<Vec<_>>())?;
        for (family, lines) in families {
            write(&dir.join("attack").join(format!("{family}.txt")), &lines)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> BTreeMap<&'static str, String> {
        let labels = "1\tAdduser_1\tAdduser_1/a.txt\n2\tHydra_FTP_10\tb.txt\n3\tAdduser_2\tc.txt\n";
        let texts = ["6 6 63\n1 2\n", "3\n\n4 5 \n", "11 12\n13\n14\n", labels];
        FILES.into_iter().zip(texts.map(str::to_owned)).collect()
    }

    #[test]
    fn the_layout_is_that_of_evaluate() {
        let dir = tempfile::tempdir().expect("a directory");
        let source = dir.path().join("source");
        fs::create_dir(&source).expect("made");
        for (name, text) in texts() {
            fs::write(source.join(name), text).expect("written");
        }
        // As a folder and as an archive with a folder in it.
        let archive = dir.path().join("data.tar.zst");
        let zstd = zstd::Encoder::new(fs::File::create(&archive).expect("made"), 1).expect("starts");
        let mut tar = tar::Builder::new(zstd);
        tar.append_dir_all("some/folder", &source).expect("packed");
        tar.into_inner().expect("packed").finish().expect("packed");
        for from in [source, archive] {
            let data = read(&from).expect("good data");
            let out = from.with_extension("out");
            data.lay_out(&out).expect("written");
            let text = |name: &str| fs::read_to_string(out.join(name)).expect(name);
            assert_eq!(text("normal-train.txt"), "6 6 63\n1 2\n");
            assert_eq!(text("normal-test.txt"), "3\n4 5\n");
            assert_eq!(text("attack/Adduser.txt"), "11 12\n14\n");
            assert_eq!(text("attack/Hydra_FTP.txt"), "13\n");
            let first = data.every(2);
            assert_eq!((first.train.len(), first.test.len(), first.attack.len()), (1, 1, 2));
        }
    }

    #[test]
    fn counts_are_compared_with_the_published() {
        let differences = parse(&texts()).expect("good data").differences();
        assert_eq!(differences.len(), 3);
        assert_eq!(differences[0], "train.txt has 2 traces with 5 calls, published were 833 with 308077");
    }

    #[test]
    fn bad_data_is_said_in_one_line() {
        let check = |name: &'static str, text: Option<&str>, expect: &str| {
            let mut texts = texts();
            match text {
                Some(text) => drop(texts.insert(name, text.to_owned())),
                None => drop(texts.remove(name)),
            }
            assert_eq!(parse(&texts).expect_err("bad"), expect);
        };
        check("val.txt", None, "val.txt is missing");
        check("train.txt", Some("\n"), "train.txt is empty");
        check("attack.txt", Some("1\n2\n"), "attack.txt has 2 traces, attack.labels.tsv 3 labels");
        check("attack.labels.tsv", Some("1 Adduser_1\n"), "attack.labels.tsv: \"1 Adduser_1\" has no second column");
        check("attack.labels.tsv", Some("1\t../x_1\n"), "attack.labels.tsv: \"../x\" names no family");
        let error = read(Path::new("/nonexistent.tar.zst")).expect_err("is not there");
        assert_eq!(error.downcast_ref::<Exit>().map(|e| e.code), Some(BAD_DATA));
        assert_eq!(format!("{error:#}").lines().count(), 1);
    }

    #[test]
    fn families_by_hand() {
        for (line, expect) in [("1\tWeb_Shell_10\tx", "Web_Shell"), ("1\tAdduser\tx", "Adduser"), ("1\tA_b\tx", "A_b")] {
            assert_eq!(family(line).as_deref(), Ok(expect));
        }
    }
}
