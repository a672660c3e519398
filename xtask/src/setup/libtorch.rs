//! libtorch for the crate `tch`.
//!
//! In: `LIBTORCH` (a directory), `LIBTORCH_USE_PYTORCH=1` (python3's own torch), or neither. Out: one of them, or a
//! CPU-only tree in the cache, linked from .tools/libtorch, where .cargo/config.toml looks. Never: replaces what the
//! user set.
//!
//! `PyPI` carries the CUDA build only. The recipe keeps the CPU libraries of that wheel and gives them stand-ins for
//! the two CUDA libraries that they name: every function is there and answers "no CUDA".

use super::{
    cache::cache,
    packages::{self, Need},
    tools,
};
use crate::{shell, workspace};
use anyhow::{Context as _, Result, bail};
use std::{
    env,
    fmt::Write as _,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

/// What tch 0.26 is made for.
const VERSION: &str = "2.13.0";
const WHEEL_SHA256: &str = "60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7";
/// Says which version a tree is; upstream's own archives have it too.
const MARKER: &str = "build-version";
const NEEDS: [Need; 5] = [
    Need { file: "python3", package: "python3" },
    Need { file: "cc", package: "gcc" },
    Need { file: "c++", package: "g++" },
    Need { file: "nm", package: "binutils" },
    Need { file: "strip", package: "binutils" },
];

/// Where libtorch comes from here.
enum Source {
    /// `LIBTORCH`.
    Directory(PathBuf),
    /// `LIBTORCH_USE_PYTORCH`.
    Python,
    /// The cache.
    Cache(PathBuf),
}

fn source() -> Result<Source> {
    if env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        return Ok(Source::Python);
    }
    // cargo sets LIBTORCH from .cargo/config.toml for xtask too; only another value is the user's.
    match env::var_os("LIBTORCH").map(PathBuf::from) {
        Some(dir) if dir != link() => Ok(Source::Directory(dir)),
        _ => Ok(Source::Cache(cache()?.join("libtorch"))),
    }
}

fn link() -> PathBuf {
    workspace::root().join(".tools/libtorch")
}

/// One line: what is used.
pub(super) fn describe() -> Result<String> {
    Ok(match source()? {
        Source::Directory(dir) => format!("libtorch: LIBTORCH={}", dir.display()),
        Source::Python => "libtorch: python3's torch (LIBTORCH_USE_PYTORCH)".to_owned(),
        Source::Cache(dir) => format!("libtorch: {VERSION}, {}", dir.display()),
    })
}

pub(super) fn ensure() -> Result<()> {
    match source()? {
        Source::Directory(dir) if dir.join("lib").is_dir() => Ok(()),
        Source::Directory(dir) => bail!("LIBTORCH={}: there is no lib directory in it", dir.display()),
        Source::Python => Ok(()),
        Source::Cache(dir) => {
            if !is_current(&dir) {
                packages::ensure(&NEEDS)?;
                install(&dir)?;
            }
            place_link(&dir)
        }
    }
}

fn is_current(dir: &Path) -> bool {
    fs::read_to_string(dir.join(MARKER)).is_ok_and(|v| v.trim() == VERSION)
}

fn place_link(dir: &Path) -> Result<()> {
    let link = link();
    if fs::read_link(&link).is_ok_and(|to| to == dir) {
        return Ok(());
    }
    if link.symlink_metadata().is_ok() {
        fs::remove_file(&link).with_context(|| format!("{} is in the way", link.display()))?;
    }
    fs::create_dir_all(workspace::root().join(".tools"))?;
    symlink(dir, &link).with_context(|| format!("linking {}", link.display()))
}

fn install(dir: &Path) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        bail!("the recipe knows x86_64 only; set LIBTORCH to a libtorch {VERSION} of this machine");
    }
    let parent = dir.parent().context("the cache has no parent")?;
    println!("setup: libtorch {VERSION}, CPU only, into {} (527 MB to download, 400 MB on disk)", dir.display());
    let work = tempfile::Builder::new().prefix("libtorch.").tempdir_in(parent)?;
    extract(&download(work.path())?, work.path())?;
    let torch = work.path().join("torch");
    let lib = torch.join("lib");
    for entry in fs::read_dir(&lib)? {
        fs::set_permissions(entry?.path(), fs::Permissions::from_mode(0o755))?;
    }
    let cpu = lib.join("libtorch_cpu.so");
    shell::run(Command::new("strip").arg("--strip-unneeded").arg(&cpu).arg(lib.join("libc10.so")))?;
    let symbols = shell::output(Command::new("nm").args(["-D", "--undefined-only"]).arg(&cpu))?;
    // cudaErrorNoDevice and CUPTI_ERROR_UNKNOWN.
    for (soname, code) in [("libcudart.so.13", 100), ("libcupti.so.13", 999)] {
        stand_in(work.path(), &lib, soname, &imports(&symbols, soname), code)?;
    }
    // In the wheel it only names libtorch_cpu.so and libtorch_cuda.so.
    compile_library(work.path(), &lib, "libtorch.so", "", None)?;
    fs::write(torch.join(MARKER), format!("{VERSION}\n"))?;
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("removing the old {}", dir.display()))?;
    }
    fs::rename(&torch, dir).with_context(|| format!("moving libtorch to {}", dir.display()))
}

/// The wheel. Fixed tags give the same file whatever python3 runs pip; the hash pins its bytes.
fn download(work: &Path) -> Result<PathBuf> {
    let requirement = work.join("requirements.txt");
    fs::write(&requirement, format!("torch=={VERSION} --hash=sha256:{WHEEL_SHA256}\n"))?;
    tools::ensure_pip()?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "-q", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "--implementation", "cp"]);
    pip.args(["--python-version", "3.11", "--abi", "cp311", "--platform", "manylinux_2_28_x86_64", "--require-hashes"]);
    shell::run(pip.arg("-r").arg(&requirement).arg("-d").arg(work))?;
    Ok(work.join(format!("torch-{VERSION}-cp311-cp311-manylinux_2_28_x86_64.whl")))
}

/// python3 is there for pip anyway; unzip may not be.
fn extract(wheel: &Path, work: &Path) -> Result<()> {
    const SCRIPT: &str = r#"
import sys, zipfile
keep = ("torch/include/", "torch/lib/libtorch_cpu.so", "torch/lib/libc10.so", "torch/lib/libgomp.so.1")
wheel = zipfile.ZipFile(sys.argv[1])
wheel.extractall(sys.argv[2], [name for name in wheel.namelist() if name.startswith(keep)])
"#;
    shell::run(Command::new("python3").args(["-c", SCRIPT]).arg(wheel).arg(work))?;
    fs::remove_file(wheel).context("removing the wheel")
}

/// Functions that `nm`'s listing imports from `soname`.
fn imports(listing: &str, soname: &str) -> Vec<String> {
    listing
        .lines()
        .filter_map(|line| line.trim().strip_prefix("U ")?.split_once('@').filter(|(_, of)| *of == soname))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn stand_in(work: &Path, lib: &Path, soname: &str, functions: &[String], code: u32) -> Result<()> {
    let (mut source, mut map) = (String::new(), format!("{soname} {{ global:\n"));
    for name in functions {
        let is_text = soname.starts_with("libcudart") && (name.ends_with("GetErrorString") || name.ends_with("GetErrorName"));
        if is_text {
            writeln!(source, "const char *{name}(void) {{ return \"no CUDA (CPU-only libtorch)\"; }}")?;
        } else {
            writeln!(source, "int {name}(void) {{ return {code}; }}")?;
        }
        writeln!(map, "{name};")?;
    }
    map.push_str("local: *; };\n");
    compile_library(work, lib, soname, &source, Some(&map))
}

fn compile_library(work: &Path, lib: &Path, soname: &str, source: &str, map: Option<&str>) -> Result<()> {
    let file = work.join(format!("{soname}.c"));
    fs::write(&file, format!("{source}\n"))?;
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-s", "-o"]).arg(lib.join(soname)).arg(&file).arg(format!("-Wl,-soname,{soname}"));
    if let Some(map) = map {
        let path = work.join(format!("{soname}.map"));
        fs::write(&path, map)?;
        cc.arg(format!("-Wl,--version-script={}", path.display()));
    }
    shell::run(&mut cc)
}

#[cfg(test)]
mod tests {
    #[test]
    fn finds_imports_of_one_library() {
        let nm =
            "                 U cudaFree@libcudart.so.13\n                 U cuptiX@libcupti.so.13\n  U malloc@GLIBC_2.2.5\n";
        assert_eq!(super::imports(nm, "libcudart.so.13"), ["cudaFree"]);
        assert_eq!(super::imports(nm, "libcupti.so.13"), ["cuptiX"]);
        assert!(super::imports(nm, "libnone.so").is_empty());
    }
}
