//! `xtask image`: the two images as OCI archives, without a daemon, a registry or a network.
//!
//! In: programs in target/, and deploy/images/*.Containerfile, which say how they are started. Out:
//! `surprisal-agent.tar` and `surprisal-scorer.tar` for `ctr --namespace k8s.io images import`; the same inputs give
//! the same bytes. Never: takes more from this machine than the shared libraries that the programs name.
//!
//! A Containerfile builds in a clean place and is what to publish from; this packs what is built already, in seconds.

use crate::{build_ebpf, setup, setup::Part, shell, workspace};
use anyhow::{Context as _, Result, ensure};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::UNIX_EPOCH,
};
use surprisal_e2e::oci::{Image, Root};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Optimised programs
    #[arg(long)]
    release: bool,
    /// Pack what is in target/ and build nothing
    #[arg(long)]
    no_build: bool,
    /// Where the archives go [default: target/images]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// What is packed: the programs, the first of which names the image and is started, and the name of the Containerfile.
const IMAGES: [(&[&str], &str); 2] = [(&["surprisal-agent"], "agent"), (&["surprisal-scorer", "surprisal-learn"], "scorer")];

/// Where the loader looks by itself; a library from elsewhere goes beside the program.
const SYSTEM: [&str; 3] = ["/lib/", "/lib64/", "/usr/lib/"];

pub(crate) fn run(args: &Args) -> Result<()> {
    if !args.no_build {
        setup::ensure(&[Part::Bpf, Part::Libtorch])?;
        build_ebpf::build()?;
        // As `xtask test` builds them, so that nothing is compiled twice.
        let mut cargo = shell::cargo();
        cargo.args(["build", "--workspace", "--locked", "--bins"]);
        if args.release {
            cargo.arg("--release");
        }
        shell::run(&mut cargo)?;
    }
    let target = workspace::root().join("target");
    let programs = target.join(if args.release { "release" } else { "debug" });
    let output = args.output.clone().unwrap_or_else(|| target.join("images"));
    fs::create_dir_all(&output).with_context(|| format!("creating {}", output.display()))?;
    for (names, containerfile) in IMAGES {
        let name = names[0];
        let archive = output.join(format!("{name}.tar"));
        let packed: Vec<_> = names.iter().map(|name| programs.join(name)).collect();
        let made = make(name, &packed, containerfile, &archive).with_context(|| format!("image {name}"))?;
        let size = archive.metadata()?.len() / 1_000_000;
        let state = if made { "made" } else { "unchanged" };
        println!("localhost/{name}:dev  {size} MB  {}  ({state})", archive.display());
    }
    Ok(())
}

/// The debug programs that are built already: a step of `xtask test`, so that no end-to-end test waits for it.
pub(crate) fn pack_debug() -> Result<()> {
    run(&Args { release: false, no_build: true, output: None })
}

/// Packs `programs`, unless `archive` holds just that. Says whether it had to.
fn make(name: &str, programs: &[PathBuf], containerfile: &str, archive: &Path) -> Result<bool> {
    for program in programs {
        ensure!(program.is_file(), "{} is not there; without --no-build it is built", program.display());
    }
    let containerfile = workspace::root().join(format!("deploy/images/{containerfile}.Containerfile"));
    // By name: programs share most of them.
    let mut all = BTreeMap::new();
    for program in programs {
        all.extend(libraries(program)?);
    }
    let libraries: Vec<(String, PathBuf)> = all.into_iter().collect();
    let licences = files(&workspace::root().join(".licenses"))?;

    let mut inputs = [programs, std::slice::from_ref(&containerfile)].concat();
    inputs.extend(libraries.iter().map(|(_, path)| path.clone()).chain(licences.iter().cloned()));
    let (inputs, note) = (describe(&inputs)?, archive.with_extension("inputs"));
    if archive.exists() && fs::read_to_string(&note).is_ok_and(|text| text == inputs) {
        return Ok(false);
    }
    // Gone first: an interrupted run leaves no note beside another archive.
    if note.exists() {
        fs::remove_file(&note).with_context(|| format!("removing {}", note.display()))?;
    }

    let dir = archive.parent().context("an archive lies in a directory")?;
    let root = tempfile::tempdir_in(dir).with_context(|| format!("making a directory in {}", dir.display()))?;
    for empty in ["dev", "proc", "run", "sys", "tmp", "var/lib/surprisal"] {
        fs::create_dir_all(root.path().join(empty))?;
    }
    for program in programs {
        let inside = root.path().join("usr/local/bin").join(program.file_name().context("a program has a name")?);
        copy(program, &inside)?;
        // Debug information is nine tenths of it; symbols stay, for backtraces.
        shell::run(Command::new("strip").arg("--strip-debug").arg(&inside)).context("`cargo xtask setup` brings binutils")?;
    }
    for (name, path) in &libraries {
        let system = SYSTEM.iter().any(|dir| path.starts_with(dir));
        let place = if system { path.strip_prefix("/")?.to_owned() } else { Path::new("usr/local/lib").join(name) };
        copy(path, &root.path().join(place))?;
        if system {
            copy_copyright(path, root.path())?;
        }
    }
    for licence in &licences {
        let name = licence.file_name().context("a file has a name")?;
        copy(licence, &root.path().join("usr/share/doc/surprisal").join(name))?;
    }
    fs::create_dir_all(root.path().join("etc"))?;
    fs::write(root.path().join("etc/nsswitch.conf"), "hosts: files dns\n")?;

    let text = fs::read_to_string(&containerfile).with_context(|| format!("reading {}", containerfile.display()))?;
    let start = Start::parse(&text).with_context(|| containerfile.display().to_string())?;
    let image = Image {
        reference: format!("localhost/{name}:dev"),
        root: Root::Directory(root.path().to_owned()),
        entrypoint: start.entrypoint,
        command: start.command,
        environment: start.environment,
        user: start.user,
    };
    image.write(archive)?;
    fs::write(&note, inputs).with_context(|| format!("writing {}", note.display()))?;
    Ok(true)
}

/// How the last stage of a Containerfile starts its program.
#[derive(Debug, Default, PartialEq, Eq)]
struct Start {
    entrypoint: Vec<String>,
    command: Vec<String>,
    environment: Vec<String>,
    user: String,
}

impl Start {
    fn parse(containerfile: &str) -> Result<Self> {
        let mut start = Self::default();
        for line in containerfile.lines() {
            let Some((instruction, rest)) = line.split_once(' ') else { continue };
            let list = || serde_json::from_str(rest).with_context(|| format!("{line}: not a JSON list of strings"));
            match instruction {
                "FROM" => start = Self::default(),
                "ENTRYPOINT" => start.entrypoint = list()?,
                "CMD" => start.command = list()?,
                "ENV" => start.environment.push(rest.to_owned()),
                "USER" => rest.clone_into(&mut start.user),
                _ => {}
            }
        }
        ensure!(!start.entrypoint.is_empty(), "no ENTRYPOINT in the last stage");
        Ok(start)
    }
}

/// The shared libraries of `program`, the loader among them: names, and where the loader finds them.
fn libraries(program: &Path) -> Result<Vec<(String, PathBuf)>> {
    parse_ldd(&shell::output(Command::new("ldd").arg(program))?)
}

/// Lines of `ldd`: `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)` or `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn parse_ldd(text: &str) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        let (name, path) = match line.split_once(" => ") {
            Some((name, rest)) => (name, rest),
            None => (line, line),
        };
        ensure!(!path.starts_with("not found"), "{name} is not found on this machine");
        // The kernel's own (vdso) has no path.
        if let Some((path, _)) = path.rsplit_once(" (")
            && path.starts_with('/')
        {
            let name = name.split(' ').next().and_then(|n| n.rsplit('/').next()).unwrap_or(name);
            found.push((name.to_owned(), PathBuf::from(path)));
        }
    }
    found.sort();
    Ok(found)
}

/// What Debian says of a library's licence, where this is Debian.
fn copy_copyright(library: &Path, root: &Path) -> Result<()> {
    // Packages own the real file, under its name in /usr or before the two were merged.
    let real = library.canonicalize()?;
    for path in [real.clone(), Path::new("/").join(real.strip_prefix("/usr").unwrap_or(&real))] {
        let Ok(owner) = shell::output(Command::new("dpkg").arg("--search").arg(&path)) else { continue };
        let package = owner.split(':').next().unwrap_or_default();
        let copyright = Path::new("/usr/share/doc").join(package).join("copyright");
        if copyright.is_file() {
            return copy(&copyright, &root.join(copyright.strip_prefix("/")?));
        }
    }
    Ok(())
}

/// Copies contents and mode; links are followed.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let dir = to.parent().context("a file lies in a directory")?;
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    fs::copy(from, to).map(drop).with_context(|| format!("copying {} to {}", from.display(), to.display()))
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    let mut files = entries.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// Path, size and time of each input: what has to be the same for the archive to be.
fn describe(inputs: &[PathBuf]) -> Result<String> {
    let mut text = String::new();
    for path in inputs {
        let metadata = path.metadata().with_context(|| format!("reading {}", path.display()))?;
        let changed = metadata.modified()?.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        writeln!(text, "{} {changed} {}", metadata.len(), path.display())?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ldd() {
        let text = "\tlinux-vdso.so.1 (0x00007f)\n\tlibc10.so => /src/.tools/libtorch/lib/libc10.so (0x00007f)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found = parse_ldd(text).expect("all are found");
        let expect = [
            ("ld-linux-x86-64.so.2", "/lib64/ld-linux-x86-64.so.2"),
            ("libc.so.6", "/lib/x86_64-linux-gnu/libc.so.6"),
            ("libc10.so", "/src/.tools/libtorch/lib/libc10.so"),
        ];
        assert_eq!(found, expect.map(|(name, path)| (name.to_owned(), path.into())));
        assert!(parse_ldd("\tlibx.so => not found\n").is_err());
    }

    #[test]
    fn the_last_stage_starts() {
        let start = Start::parse("FROM a AS b\nUSER 1\nENTRYPOINT [\"x\"]\nFROM c\nENV A=1\nUSER 2:3\nENTRYPOINT [\"/y\"]\n");
        let expect = Start {
            entrypoint: vec!["/y".to_owned()],
            command: Vec::new(),
            environment: vec!["A=1".to_owned()],
            user: "2:3".to_owned(),
        };
        assert_eq!(start.expect("an entry point"), expect);
        assert!(Start::parse("FROM a\nENTRYPOINT [\"x\"]\nFROM c\n").is_err());
        assert!(Start::parse("FROM a\nENTRYPOINT x\n").is_err());
    }

    #[test]
    fn shipped_containerfiles_start_their_programs() {
        for (names, containerfile) in IMAGES {
            let name = names[0];
            let path = workspace::root().join(format!("deploy/images/{containerfile}.Containerfile"));
            let start = Start::parse(&fs::read_to_string(path).expect("it is shipped")).expect("it has an entry point");
            assert_eq!(start.entrypoint, [format!("/usr/local/bin/{name}")]);
        }
    }
}
