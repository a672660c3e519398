//! The archive that a kernel unpacks into memory as its first file system.
//!
//! In: programs of the host. Out: one uncompressed `newc` archive (Documentation/driver-api/early-userspace of the
//! kernel) with them, the libraries they are linked with, busybox and the C programs of tests/fixtures. Never: a file of the
//! host's configuration.

use crate::{images::host_busybox, program};
use anyhow::{Context as _, Result, ensure};
use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

/// Where the fake shim is found; its name is what the agent looks at.
pub const SHIM: &str = "/bin/containerd-shim-fake";
/// Applets of busybox that the first process and the fake shim run.
const APPLETS: [&str; 6] = ["sh", "mount", "unshare", "nsenter", "poweroff", "ip"];
const DIRECTORIES: [&str; 10] = ["bin", "dev", "lib", "lib64", "proc", "run", "sys", "tmp", "lib/x86_64-linux-gnu", "usr"];

/// Writes the archive: `init` becomes the first process, `agent` `/bin/surprisal-agent`.
pub fn write(to: &Path, init: &Path, agent: &Path) -> Result<()> {
    let work = tempfile::tempdir_in(to.parent().context("a directory")?)?;
    let mut archive = Archive::default();
    for dir in DIRECTORIES {
        archive.add(dir, 0o040_755, &[]);
    }
    let mut libraries = BTreeSet::new();
    for (name, program) in [("init", init), ("bin/surprisal-agent", agent)] {
        libraries.extend(linked_with(program)?);
        archive.add(name, 0o100_755, &stripped(program, work.path())?);
    }
    for library in libraries {
        let name = library.strip_prefix("/").context("ldd gives absolute paths")?.to_str().context("UTF-8")?.to_owned();
        archive.add(&name, 0o100_755, &fs::read(&library).with_context(|| format!("reading {}", library.display()))?);
    }
    archive.add(SHIM.trim_start_matches('/'), 0o120_777, b"/init");
    archive.add("bin/busybox", 0o100_755, &fs::read(host_busybox()?)?);
    for applet in APPLETS {
        archive.add(&format!("bin/{applet}"), 0o120_777, b"busybox");
    }
    for source in program::sources()? {
        let name = source.file_stem().and_then(|n| n.to_str()).context("a source has a name")?.to_owned();
        if ["workload", "exact", "countdown"].contains(&name.as_str()) {
            program::compile(&source, work.path())?;
            archive.add(&format!("bin/{name}"), 0o100_755, &fs::read(work.path().join(&name))?);
        }
    }
    fs::write(to, archive.finish()).with_context(|| format!("writing {}", to.display()))
}

/// A copy without what only debuggers read: nine tenths of it.
fn stripped(program: &Path, work: &Path) -> Result<Vec<u8>> {
    let copy = work.join("stripped");
    let out = Command::new("strip").arg("-o").arg(&copy).arg(program).output().context("starting strip (Debian: binutils)")?;
    ensure!(out.status.success(), "strip {}: {}", program.display(), String::from_utf8_lossy(&out.stderr));
    Ok(fs::read(copy)?)
}

/// Libraries, and the loader, by `ldd`.
fn linked_with(program: &Path) -> Result<Vec<PathBuf>> {
    let out = Command::new("ldd").arg(program).output().context("starting ldd")?;
    ensure!(out.status.success(), "ldd {}: {}", program.display(), String::from_utf8_lossy(&out.stderr));
    Ok(parse_ldd(&String::from_utf8_lossy(&out.stdout)))
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`; the vDSO has no path.
fn parse_ldd(text: &str) -> Vec<PathBuf> {
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    text.lines().filter_map(path).collect()
}

/// A `newc` archive.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds an entry; a link's content is where it points.
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        // Number, mode, owner, group, links, time, size, device numbers (2 x 2), length of the name with its zero, checksum.
        let fields = [self.entries, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0]
            .map(|f| format!("{f:08X}"));
        let _infallible = write!(self.bytes, "070701{}{name}\0", fields.concat());
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_laid_out_as_the_kernel_reads_them() {
        let mut archive = Archive::default();
        archive.add("a", 0o100_755, b"12345");
        let bytes = archive.finish();
        let (header, rest) = bytes.split_at(110);
        assert_eq!(&header[..14], b"07070100000001");
        assert_eq!(&header[54..62], b"00000005", "size");
        assert_eq!(&header[94..102], b"00000002", "length of the name");
        // Header and name end on a multiple of four, and so does the content.
        assert_eq!(&rest[..10], b"a\x0012345\0\0\0");
        assert!(rest[10..].starts_with(b"070701"));
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn libraries_are_those_with_a_path() {
        let text = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x2)\n\t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        let expect = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(parse_ldd(text), expect);
        assert!(parse_ldd("\tstatically linked\n").is_empty());
    }
}
