//! A profile as its two files.
//!
//! In: a directory, or the two files' bytes; from training, what was learned. Out: a [`Profile`] that is whole, of this version and
//! consistent in itself, or the reason why there is none. Never: a profile that was not checked.

use crate::detect::names::Seen;
use crate::detect::novelty::Novelty;
use crate::detect::vocab::{Vocabulary, hex};
use crate::profile::error::ProfileError;
use crate::profile::file::{read_file, stage};
use crate::profile::metadata::{Cutting, FORMAT, Metadata};
use crate::profile::name::{check_workload, directory_name};
use crate::profile::weights;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use surprisal_proto::{names, token};

/// The metadata's file.
pub const METADATA: &str = "profile.json";
/// The weights' file.
pub const WEIGHTS: &str = "weights.safetensors";
/// Largest metadata read, bytes: far above any real one.
const METADATA_MAX: u64 = 4 << 20;
/// Largest weights read, bytes.
const WEIGHTS_MAX: u64 = 512 << 20;
/// A profile that was checked.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What `profile.json` holds.
    pub metadata: Metadata,
    /// The vocabulary, parsed.
    pub vocabulary: Vocabulary,
    /// The known sets of calls.
    pub novelty: Novelty,
    /// The weights' file.
    pub weights: Vec<u8>,
    /// [`Self::seen`], made once: serving asks several times a second.
    seen: OnceLock<Option<Arc<Seen>>>,
}

impl Profile {
    /// Puts together what training gave; fills in version and checksum.
    pub fn new(mut metadata: Metadata, vocabulary: Vocabulary, novelty: Novelty, weights: Vec<u8>) -> Self {
        metadata.weights_sha256 = hex(&Sha256::digest(&weights));
        let both = format!("{}{}", vocabulary.checksum(), metadata.weights_sha256);
        hex(&Sha256::digest(both.as_bytes()))[..12].clone_into(&mut metadata.version);
        metadata.vocabulary = vocabulary.tokens().iter().map(|t| names::spell(*t)).collect();
        metadata.novelty = novelty.keep(&vocabulary);
        Self { metadata, vocabulary, novelty, weights, seen: OnceLock::new() }
    }

    /// From the two files' bytes, all checks made.
    pub fn parse(metadata: &[u8], weights: Vec<u8>) -> Result<Self, ProfileError> {
        // Versions first: a newer file may have any shape.
        let value: serde_json::Value = serde_json::from_slice(metadata).map_err(ProfileError::Damaged)?;
        let check = |what, pointer: &str, expected: serde_json::Value| match value.pointer(pointer) {
            Some(found) if *found != expected => {
                Err(ProfileError::Version { what, found: found.to_string(), expected: expected.to_string() })
            }
            Some(_) => Ok(()),
            None => Err(ProfileError::Inconsistent(format!("{} is missing", &pointer[1..]))),
        };
        check("the profile's format", "/format", FORMAT.into())?;
        check("the kind of model", "/model", "lstm".into())?;
        check("the call numbering", "/abi", token::ABI.into())?;
        check("the token layout", "/token_layout", token::LAYOUT.into())?;
        for (pointer, ours) in [
            ("/cutting/calls", Cutting::OURS.calls),
            ("/cutting/context", Cutting::OURS.context),
            ("/cutting/shortest", Cutting::OURS.shortest),
        ] {
            check("the windows' rule", pointer, ours.into())?;
        }
        let metadata: Metadata = serde_json::from_value(value).map_err(ProfileError::Damaged)?;
        check_workload(&metadata.workload)?;
        if !metadata.sizes.are_valid() {
            return Err(ProfileError::Inconsistent("sizes are out of range".into()));
        }
        let tokens = metadata
            .vocabulary
            .iter()
            .map(|name| names::parse(name))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| ProfileError::Inconsistent(e.to_string()))?;
        let vocabulary = Vocabulary::new(tokens.iter().copied());
        if vocabulary.tokens() != tokens {
            return Err(ProfileError::Inconsistent("the vocabulary is not in order".into()));
        }
        let found = hex(&Sha256::digest(&weights));
        if found != metadata.weights_sha256 {
            return Err(ProfileError::Checksum { found, expected: metadata.weights_sha256 });
        }
        weights::check_vocabulary(&weights, &vocabulary.checksum()).map_err(ProfileError::Weights)?;
        weights::read(&weights, metadata.sizes, vocabulary.classes()).map_err(ProfileError::Weights)?;
        let novelty = Novelty::restore(&metadata.novelty, &vocabulary).map_err(|e| ProfileError::Inconsistent(e.to_string()))?;
        Ok(Self { metadata, vocabulary, novelty, weights, seen: OnceLock::new() })
    }

    /// Reads a profile's directory.
    pub fn read(dir: &Path) -> Result<Self, ProfileError> {
        let metadata = read_file(&dir.join(METADATA), METADATA_MAX)?;
        let weights = read_file(&dir.join(WEIGHTS), WEIGHTS_MAX)?;
        Self::parse(&metadata, weights)
    }

    /// Writes the profile below `profiles`; returns its directory.
    pub fn write(&self, profiles: &Path) -> Result<PathBuf, ProfileError> {
        let dir = profiles.join(directory_name(&self.metadata.workload));
        std::fs::create_dir_all(&dir).map_err(|source| ProfileError::Io { doing: "creating", path: dir.clone(), source })?;
        // Both are on the disk before the first takes its place: on a full one the old two stay, and fit each other.
        let staged = stage(&dir.join(WEIGHTS), &self.weights)
            .and_then(|weights| Ok((weights, stage(&dir.join(METADATA), &self.metadata_json()?)?)));
        let (weights, metadata) = staged.inspect_err(|_| {
            // Only a directory that is empty goes: one that was made for this.
            let _not_empty = std::fs::remove_dir(&dir);
        })?;
        weights.place()?;
        metadata.place()?;
        Ok(dir)
    }

    /// What its calls were about in training; `None`: it does not say.
    pub fn seen(&self) -> Option<Arc<Seen>> {
        let Metadata { names, training, .. } = &self.metadata;
        let seen = || Arc::new(Seen { known: names.clone(), container_seconds: training.container_seconds });
        self.seen.get_or_init(|| (!names.is_empty()).then(seen)).clone()
    }

    /// `profile.json`.
    pub fn metadata_json(&self) -> Result<Vec<u8>, ProfileError> {
        let mut text = serde_json::to_vec_pretty(&self.metadata).map_err(ProfileError::Damaged)?;
        text.push(b'\n');
        Ok(text)
    }
}

#[cfg(test)]
pub(crate) mod tests;
