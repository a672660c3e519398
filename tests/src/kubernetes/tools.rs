//! The programs that make a node, and where they are.
//!
//! In: `SURPRISAL_K8S_BIN`, the cache, `PATH`. Out: [`Tools`], or the reason why this machine has none. Never:
//! downloads; `cargo xtask setup kubernetes` brings what Debian packages.

use anyhow::{Context as _, Result, bail};
use std::{
    env, fs,
    io::BufReader,
    path::{Path, PathBuf},
};

/// Compiled from Debian's own source package, so not in any index: see [`Tools::find`].
const CONTROL_PLANE: [&str; 4] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"];
/// The archive that holds them.
const ARCHIVE: &str = "k8s-1.20.2-bin.tar.zst";
/// From packages.
const PACKAGED: [&str; 7] = ["etcd", "kubectl", "containerd", "ctr", "openssl", "nsenter", "unshare"];
/// Static, so that an image of it needs nothing else.
pub(super) const BUSYBOX: &str = "/bin/busybox";
/// Debian's place of the CNI plug-ins.
pub(super) const CNI: &str = "/usr/lib/cni";

/// Where the node's programs are.
#[derive(Clone, Debug)]
pub struct Tools {
    control_plane: PathBuf,
    packaged: Vec<(&'static str, PathBuf)>,
}

/// What looking for them gave.
#[derive(Debug)]
pub enum Found {
    /// All there.
    Tools(Tools),
    /// No control plane at hand; the text says where it was looked for.
    Missing(String),
}

impl Tools {
    /// Looks for the control plane in `$SURPRISAL_K8S_BIN` (default `../shared/kubernetes`, seen from the
    /// repository): the four programs, or the archive, which is unpacked into the cache once. A control plane
    /// without the packaged rest is an error: this machine is meant to run the test, and would not.
    pub fn find() -> Result<Found> {
        let dir = match env::var_os("SURPRISAL_K8S_BIN").filter(|v| !v.is_empty()) {
            Some(dir) => PathBuf::from(dir),
            None => repository().join("../shared/kubernetes"),
        };
        let archive = dir.join(ARCHIVE);
        let control_plane = if holds_control_plane(&dir) {
            dir
        } else if archive.is_file() {
            unpack(&archive)?
        } else {
            return Ok(Found::Missing(format!("no control plane at {} (SURPRISAL_K8S_BIN)", dir.display())));
        };
        let packaged = PACKAGED.map(|name| Ok((name, packaged(name)?))).into_iter().collect::<Result<_>>()?;
        for file in [BUSYBOX, CNI] {
            if !Path::new(file).exists() {
                bail!("{file} is missing; `cargo xtask setup` installs it");
            }
        }
        Ok(Found::Tools(Self { control_plane, packaged }))
    }

    /// Full path of a program of [`CONTROL_PLANE`] or [`PACKAGED`].
    pub(super) fn path(&self, program: &str) -> PathBuf {
        match self.packaged.iter().find(|(name, _)| *name == program) {
            Some((_, path)) => path.clone(),
            None => self.control_plane.join(program),
        }
    }
}

/// The repository's root.
pub(super) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository")
}

fn holds_control_plane(dir: &Path) -> bool {
    CONTROL_PLANE.iter().all(|name| dir.join(name).is_file())
}

fn cache() -> Result<PathBuf> {
    let dir = match env::var_os("SURPRISAL_CACHE").filter(|v| !v.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(&env::var_os("HOME").context("neither SURPRISAL_CACHE nor HOME is set")?).join(".cache/surprisal"),
    };
    Ok(dir.join("kubernetes"))
}

/// Any version of `kubectl` does: the tests use what versions 1.20 to 1.32 have in common.
fn packaged(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|p| p.is_file())
        .with_context(|| format!("{name} is missing; `cargo xtask setup` installs it"))
}

/// Unpacks `archive` into the cache, once for each archive; 360 MB.
fn unpack(archive: &Path) -> Result<PathBuf> {
    let len = archive.metadata().with_context(|| format!("reading {}", archive.display()))?.len();
    let cache = cache()?;
    let dir = cache.join(format!("control-plane-{len}"));
    if holds_control_plane(&dir) {
        return Ok(dir);
    }
    fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;
    // Under another name until it is whole: a killed run leaves no half of it.
    let partial = tempfile::tempdir_in(&cache).with_context(|| format!("creating a directory in {}", cache.display()))?;
    let file = fs::File::open(archive).with_context(|| format!("opening {}", archive.display()))?;
    let reader = zstd::Decoder::new(BufReader::new(file)).context("starting zstd")?;
    tar::Archive::new(reader).unpack(partial.path()).with_context(|| format!("unpacking {}", archive.display()))?;
    if !holds_control_plane(partial.path()) {
        bail!("{} does not hold {}", archive.display(), CONTROL_PLANE.join(", "));
    }
    let partial = partial.keep();
    match fs::rename(&partial, &dir) {
        Ok(()) => Ok(dir),
        // Another process was faster.
        Err(_) if holds_control_plane(&dir) => {
            fs::remove_dir_all(&partial).with_context(|| format!("removing {}", partial.display()))?;
            Ok(dir)
        }
        Err(error) => Err(error).with_context(|| format!("renaming {} to {}", partial.display(), dir.display())),
    }
}
