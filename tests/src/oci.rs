//! OCI image archives of one layer, without a daemon or a registry.
//!
//! In: a root file system as a directory or a tar file, and how to start it. Out: an archive that
//! `ctr image import` takes; the same input gives the same bytes. Never: compresses (import would undo it).

use anyhow::{Context as _, Result};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read as _, Write as _},
    path::{Path, PathBuf},
};

/// A root file system.
#[derive(Clone, Debug)]
pub enum Root {
    /// Packed with owner 0, no times, in the order of names.
    Directory(PathBuf),
    /// Taken as it is.
    Tar(PathBuf),
}

/// An image.
#[derive(Clone, Debug)]
pub struct Image {
    /// `localhost/redis:test`
    pub reference: String,
    /// What is in it.
    pub root: Root,
    /// Program and arguments that cannot be replaced; may be empty.
    pub entrypoint: Vec<String>,
    /// Program and arguments, or arguments of the entry point.
    pub command: Vec<String>,
    /// `NAME=value`, added to a usual PATH.
    pub environment: Vec<String>,
    /// `uid`, `uid:gid` or a name; empty: root.
    pub user: String,
}

impl Image {
    /// An image that starts `command` as root.
    pub fn new(reference: &str, root: Root, command: &[&str]) -> Self {
        Self {
            reference: reference.to_owned(),
            root,
            entrypoint: Vec::new(),
            command: command.iter().map(|s| (*s).to_owned()).collect(),
            environment: Vec::new(),
            user: String::new(),
        }
    }

    /// Writes the archive.
    pub fn write(&self, archive: &Path) -> Result<()> {
        let dir = archive.parent().context("an archive lies in a directory")?;
        let packed;
        let layer = match &self.root {
            Root::Tar(path) => path.as_path(),
            Root::Directory(root) => {
                let mut file = tempfile::NamedTempFile::new_in(dir)?;
                pack(root, file.as_file_mut()).with_context(|| format!("packing {}", root.display()))?;
                packed = file.into_temp_path();
                &packed
            }
        };
        let (layer_digest, layer_size) = digest_file(layer)?;
        let config = self.config(&layer_digest);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest(&config), "size": config.len(),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": layer_digest, "size": layer_size,
            }],
        })
        .to_string();
        let tag = self.reference.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest(&manifest), "size": manifest.len(),
                "platform": { "architecture": "amd64", "os": "linux" },
                "annotations": {
                    "org.opencontainers.image.ref.name": tag,
                    "io.containerd.image.name": self.reference,
                },
            }],
        })
        .to_string();
        // Whole or not at all: others may look for it while it is written.
        let file = tempfile::NamedTempFile::new_in(dir)?;
        let mut tar = tar::Builder::new(BufWriter::new(file));
        add(&mut tar, "oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        add(&mut tar, "index.json", &index)?;
        add(&mut tar, &blob(&digest(&config)), &config)?;
        add(&mut tar, &blob(&digest(&manifest)), &manifest)?;
        let mut header = header(layer_size);
        tar.append_data(&mut header, blob(&layer_digest), BufReader::new(File::open(layer)?))?;
        let file = tar.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.persist(archive).with_context(|| format!("writing {}", archive.display()))?;
        Ok(())
    }

    fn config(&self, layer_digest: &str) -> String {
        let mut environment = vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()];
        environment.extend(self.environment.iter().cloned());
        json!({
            "architecture": "amd64",
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {
                "Env": environment, "Entrypoint": self.entrypoint, "Cmd": self.command,
                "WorkingDir": "/", "User": self.user,
            },
            "rootfs": { "type": "layers", "diff_ids": [layer_digest] },
            "history": [{ "created": "1970-01-01T00:00:00Z" }],
        })
        .to_string()
    }
}

fn blob(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header
}

fn add<W: io::Write>(tar: &mut tar::Builder<W>, path: &str, text: &str) -> Result<()> {
    Ok(tar.append_data(&mut header(text.len() as u64), path, text.as_bytes())?)
}

/// Packs `root` in the order of names, owned by root, without times.
fn pack(root: &Path, out: &mut File) -> Result<()> {
    let mut tar = tar::Builder::new(BufWriter::new(out));
    tar.mode(tar::HeaderMode::Deterministic);
    pack_directory(root, Path::new(""), &mut tar)?;
    tar.into_inner()?.flush()?;
    Ok(())
}

fn pack_directory<W: io::Write>(root: &Path, below: &Path, tar: &mut tar::Builder<W>) -> Result<()> {
    let mut entries: Vec<_> = fs::read_dir(root.join(below))?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (name, kind) = (below.join(entry.file_name()), entry.file_type()?);
        let mut header = tar::Header::new_gnu();
        if kind.is_symlink() {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            tar.append_link(&mut header, &name, fs::read_link(entry.path())?)?;
        } else {
            use std::os::unix::fs::PermissionsExt as _;
            let metadata = entry.metadata()?;
            header.set_mode(metadata.permissions().mode() & 0o7777);
            if kind.is_dir() {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_size(0);
                tar.append_data(&mut header, &name, io::empty())?;
                pack_directory(root, &name, tar)?;
            } else {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_size(metadata.len());
                tar.append_data(&mut header, &name, BufReader::new(File::open(entry.path())?))?;
            }
        }
    }
    Ok(())
}

fn digest_file(path: &Path) -> Result<(String, u64)> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok((spell(&hash.finalize()), size));
        }
        hash.update(&buffer[..n]);
        size += n as u64;
    }
}

fn digest(text: &str) -> String {
    spell(&Sha256::digest(text.as_bytes()))
}

fn spell(hash: &[u8]) -> String {
    hash.iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_same_tree_gives_the_same_bytes() {
        let dir = tempfile::tempdir().expect("a directory");
        let archives: Vec<_> = ["one", "two"]
            .iter()
            .map(|name| {
                let root = dir.path().join(name);
                fs::create_dir_all(root.join("bin")).expect("bin");
                fs::write(root.join("bin/true"), "#!").expect("true");
                symlink("true", root.join("bin/false")).expect("false");
                let archive = dir.path().join(format!("{name}.tar"));
                Image::new("localhost/x:test", Root::Directory(root), &["/bin/true"]).write(&archive).expect("an archive");
                fs::read(archive).expect("its bytes")
            })
            .collect();
        assert_eq!(archives[0], archives[1]);
        let mut tar = tar::Archive::new(&*archives[0]);
        let names: Vec<_> = tar
            .entries()
            .expect("entries")
            .map(|e| e.expect("an entry").path().expect("a path").to_string_lossy().into_owned())
            .collect();
        assert_eq!(names.len(), 5);
        assert_eq!(names[..2], ["oci-layout", "index.json"]);
    }
}
