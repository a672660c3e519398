//! Profiles: what is normal for a workload, as files.
//!
//! In: a directory. Out: [`Profile`]s that are whole, of this version and consistent in themselves, or one
//! clear reason. Never: a half-written file: each is written beside its name and renamed over it.
//!
//! ```text
//! DIR/thresholds.json                        overrides, see `store`
//! DIR/<workload, %-escaped>/profile.json     metadata: vocabulary, sizes, calibration, checksum of the weights
//! DIR/<workload, %-escaped>/weights.safetensors
//! ```
//!
//! The weights are written first. A reader that comes in between finds a checksum that does not match,
//! keeps what it has, and looks again.

pub mod store;
pub mod weights;

use crate::detect::model::Sizes;
use crate::detect::novelty::{Kept, Novelty};
use crate::detect::vocab::{Vocabulary, hex};
use crate::judge::threshold::Calibration;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use surprisal_proto::{names, token, v1};

/// Version of the metadata's format.
pub const FORMAT: u32 = 2;
/// The metadata's file.
pub const METADATA: &str = "profile.json";
/// The weights' file.
pub const WEIGHTS: &str = "weights.safetensors";
/// Largest metadata read, bytes: far above any real one.
const METADATA_MAX: u64 = 4 << 20;
/// Largest weights read, bytes.
const WEIGHTS_MAX: u64 = 512 << 20;
/// Longest workload name, bytes.
pub const WORKLOAD_MAX: usize = 512;

/// What `profile.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// [`FORMAT`].
    pub format: u32,
    /// Kind of model: "lstm".
    pub model: String,
    /// What shares this profile: "namespace/owner/container".
    pub workload: String,
    /// Identifies model and vocabulary: the start of a checksum over both.
    pub version: String,
    /// When it was trained.
    pub trained_at: Timestamp,
    /// Image that the training data came from; empty: not known.
    #[serde(default)]
    pub image: String,
    /// Numbering of calls.
    pub abi: String,
    /// Layout of tokens.
    pub token_layout: u32,
    /// How calls were cut: it must be how they are cut when they are judged.
    pub cutting: Cutting,
    /// Sizes of the model.
    pub sizes: Sizes,
    /// Tokens of the vocabulary, as recordings spell them, ascending.
    pub vocabulary: Vec<String>,
    /// The sets of calls that were used together, and what a new one counts for.
    pub novelty: Kept,
    /// What it was trained on, and how.
    pub training: Training,
    /// The threshold, and what it stands on.
    pub calibration: Calibration,
    /// SHA-256 of the weights' file, hexadecimal.
    pub weights_sha256: String,
}

/// The numbers of `window`'s rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cutting {
    /// Calls in a window.
    pub calls: usize,
    /// Calls before it.
    pub context: usize,
    /// Least divisor of a window's surprisal.
    pub shortest: usize,
}

impl Cutting {
    /// This program's.
    pub const OURS: Self = Self {
        calls: crate::detect::window::CALLS,
        context: crate::detect::window::CONTEXT,
        shortest: crate::detect::window::SHORTEST,
    };
}

/// What a model was trained on, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Calls in the recordings.
    pub calls: u64,
    /// Windows in the recordings.
    pub windows: u64,
    /// Windows that differ, trained on.
    pub distinct_windows: u64,
    /// Windows left out because there were more than the program trains on.
    pub sampled_out: u64,
    /// Windows not used because a gap cut them.
    pub gapped: u64,
    /// Windows that would have been held out, but do something that is nowhere else in the recordings.
    pub one_offs: u64,
    /// Container-seconds recorded.
    pub container_seconds: f64,
    /// Passes over the windows.
    pub epochs: u32,
    /// Mean surprisal of held-out windows after each pass, nats a call.
    pub held_out_by_epoch: Vec<f64>,
    /// Seed of everything random.
    pub seed: u64,
}

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
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A file could not be read or written.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is larger than any real one.
    #[error("{} is larger than {max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        max: u64,
    },
    /// The metadata is no JSON of this shape.
    #[error("profile.json is damaged")]
    Damaged(#[source] serde_json::Error),
    /// Another version of something.
    #[error("{what} is {found}, this program reads {expected}: train it again")]
    Version {
        /// Of what.
        what: &'static str,
        /// In the file.
        found: String,
        /// Here.
        expected: String,
    },
    /// Something in the metadata contradicts itself.
    #[error("profile.json is damaged: {0}")]
    Inconsistent(String),
    /// The weights are not those that the metadata was written for.
    #[error(
        "weights.safetensors is damaged, or not the file that profile.json was written for (SHA-256 {found}, expected {expected})"
    )]
    Checksum {
        /// Of the file.
        found: String,
        /// In the metadata.
        expected: String,
    },
    /// The weights do not fit the metadata.
    #[error("weights.safetensors cannot be used")]
    Weights(#[source] weights::WeightsError),
    /// A workload's name cannot be one.
    #[error("{0:?} is no workload name: it must be 1 to {WORKLOAD_MAX} bytes without control characters")]
    Workload(String),
}

/// Whether this can be a workload's name.
pub fn check_workload(workload: &str) -> Result<(), ProfileError> {
    if workload.is_empty() || workload.len() > WORKLOAD_MAX || workload.chars().any(char::is_control) {
        return Err(ProfileError::Workload(workload.chars().take(80).collect()));
    }
    Ok(())
}

/// A workload's directory: every byte but letters, digits, `-`, `_` and inner `.` is escaped as `%XX`. A name
/// that would be too long for a file system ends in its checksum.
pub fn directory_name(workload: &str) -> String {
    const LONGEST: usize = 200;
    let mut name = String::new();
    for (i, byte) in workload.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            b'.' if i > 0 => name.push('.'),
            _ => {
                let _ = write!(name, "%{byte:02X}");
            }
        }
    }
    if name.len() > LONGEST {
        name.truncate(LONGEST - 34);
        name.push_str("%~");
        name.push_str(&hex(&Sha256::digest(workload.as_bytes()))[..32]);
    }
    name
}

impl Profile {
    /// Puts together what training gave; fills in version and checksum.
    pub fn new(mut metadata: Metadata, vocabulary: Vocabulary, novelty: Novelty, weights: Vec<u8>) -> Self {
        metadata.weights_sha256 = hex(&Sha256::digest(&weights));
        let both = format!("{}{}", vocabulary.checksum(), metadata.weights_sha256);
        hex(&Sha256::digest(both.as_bytes()))[..12].clone_into(&mut metadata.version);
        metadata.vocabulary = vocabulary.tokens().iter().map(|t| names::spell(*t)).collect();
        metadata.novelty = novelty.keep(&vocabulary);
        Self { metadata, vocabulary, novelty, weights }
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
        Ok(Self { metadata, vocabulary, novelty, weights })
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

    /// `profile.json`.
    pub fn metadata_json(&self) -> Result<Vec<u8>, ProfileError> {
        let mut text = serde_json::to_vec_pretty(&self.metadata).map_err(ProfileError::Damaged)?;
        text.push(b'\n');
        Ok(text)
    }

    /// As the wire has it; the threshold in force is the caller's to know.
    pub fn to_proto(&self) -> v1::Profile {
        let m = &self.metadata;
        let c = &m.calibration;
        v1::Profile {
            workload: m.workload.clone(),
            version: m.version.clone(),
            trained_at: Some(timestamp(m.trained_at)),
            trained_calls: m.training.calls,
            held_out_windows: c.windows,
            vocabulary: m.vocabulary.len() as u32,
            held_out_mean: c.mean,
            quantiles: c.quantiles.iter().map(|q| v1::Quantile { q: q.q, score: q.score }).collect(),
            threshold: c.threshold.nats(),
            threshold_source: crate::judge::threshold::Source::Quantiles.as_str().to_owned(),
            calibrated_threshold: c.threshold.nats(),
            false_alarm_budget: c.false_alarm_budget,
            extrapolated: c.extrapolated,
            image: m.image.clone(),
            promise: c.promise.as_str().to_owned(),
            held_out_container_days: c.held_out_container_days,
            false_alarms_at_most: c.false_alarms_at_most,
            extremal_index: c.extremal_index,
        }
    }
}

/// A time as the wire has it.
pub fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond().max(0) }
}

/// Reads a file of at most `max` bytes.
pub(crate) fn read_file(path: &Path, max: u64) -> Result<Vec<u8>, ProfileError> {
    use std::io::Read as _;
    let fail = |source| ProfileError::Io { doing: "reading", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|f| f.take(max + 1).read_to_end(&mut bytes)).map_err(fail)?;
    if bytes.len() as u64 > max {
        return Err(ProfileError::TooLarge { path: path.to_owned(), max });
    }
    Ok(bytes)
}

/// Writes a file so that a reader finds the old or the new one, never a part.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ProfileError> {
    stage(path, bytes)?.place()
}

/// A file's new content, on the disk beside it; dropped, it is gone.
struct Staged {
    path: PathBuf,
    file: tempfile::NamedTempFile,
}

fn stage(path: &Path, bytes: &[u8]) -> Result<Staged, ProfileError> {
    let fail = |source| ProfileError::Io { doing: "writing", path: path.to_owned(), source };
    let dir = path.parent().ok_or_else(|| fail(io::ErrorKind::InvalidInput.into()))?;
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir).map_err(fail)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(fail)?;
    Ok(Staged { path: path.to_owned(), file })
}

impl Staged {
    /// It takes the file's place.
    fn place(self) -> Result<(), ProfileError> {
        let Self { path, file } = self;
        file.persist(&path).map_err(|e| ProfileError::Io { doing: "writing", path, source: e.error })?;
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::detect::novelty::KnownSets;
    use crate::detect::score::Score;
    use crate::judge::threshold::{Ask, calibrate};
    use proptest::prelude::*;
    use surprisal_proto::token::Token;

    /// A profile with made-up weights.
    pub(crate) fn profile(workload: &str) -> Profile {
        let vocabulary = Vocabulary::new([Token(0), Token(1), Token::new(257, 15)]);
        let weights = weights::write(&weights::tests::some(vocabulary.classes()), &vocabulary.checksum()).expect("serialises");
        let highest = Score::new(0.4);
        let ask = Ask { windows_per_container_day: 1e4, budget: 1.0, unseen_nats: 12.0, highest, left_out: highest };
        let metadata = Metadata {
            format: FORMAT,
            model: "lstm".into(),
            workload: workload.into(),
            version: String::new(),
            trained_at: Timestamp::UNIX_EPOCH,
            image: "redis:7".into(),
            abi: token::ABI.into(),
            token_layout: token::LAYOUT,
            cutting: Cutting::OURS,
            sizes: weights::tests::SIZES,
            vocabulary: Vec::new(),
            novelty: Kept { nats_per_distance: 0.0, sets: vec![] },
            training: Training {
                calls: 1000,
                windows: 20,
                distinct_windows: 10,
                sampled_out: 0,
                gapped: 0,
                one_offs: 0,
                container_seconds: 60.0,
                epochs: 3,
                held_out_by_epoch: vec![2.0, 1.0, 0.5],
                seed: 1,
            },
            calibration: calibrate(&[vec![Score::new(0.5); 10]], ask).expect("a sample"),
            weights_sha256: String::new(),
        };
        let known = KnownSets::learn([[Token(0), Token(1)].as_slice()]);
        Profile::new(metadata, vocabulary, Novelty::new(known, 3.0), weights)
    }

    #[test]
    fn reads_back_what_was_written_over_an_older_one() {
        let dir = tempfile::tempdir().expect("a directory");
        for image in ["redis:7", "redis:8"] {
            let mut p = profile("default/redis/redis");
            p.metadata.image = image.into();
            let at = p.write(dir.path()).expect("writes");
            assert_eq!(at, dir.path().join("default%2Fredis%2Fredis"));
            let again = Profile::read(&at).expect("reads");
            assert_eq!((again.metadata, again.vocabulary, again.weights), (p.metadata, p.vocabulary, p.weights));
            let files: std::collections::BTreeSet<_> = std::fs::read_dir(&at)
                .expect("lists")
                .map(|e| e.expect("entry").file_name().into_string().expect("UTF-8"))
                .collect();
            assert_eq!(files.into_iter().collect::<Vec<_>>(), [METADATA, WEIGHTS]);
        }
    }

    #[test]
    fn refuses_with_the_reason() {
        let p = profile("a/b/c");
        let text = String::from_utf8(p.metadata_json().expect("JSON")).expect("UTF-8");
        let check = |text: &str, weights: &[u8], expect: &str| {
            let got = Profile::parse(text.as_bytes(), weights.to_vec()).expect_err("refused").to_string();
            assert!(got.starts_with(expect), "{got}");
        };
        check("{", &p.weights, "profile.json is damaged");
        check("{}", &p.weights, "profile.json is damaged: format is missing");
        check(
            &text.replace("\"format\": 2", "\"format\": 1"),
            &p.weights,
            "the profile's format is 1, this program reads 2: train it again",
        );
        check(&text.replace("\"lstm\"", "\"gru\""), &p.weights, "the kind of model is \"gru\"");
        check(&text.replace("\"calls\": 64", "\"calls\": 32"), &p.weights, "the windows' rule is 32, this program reads 64");
        check(&text.replace("\"hidden\": 3", "\"hidden\": 4000000"), &p.weights, "profile.json is damaged: sizes");
        check(
            &text.replace("\"nats_per_distance\": 3.0", "\"nats_per_distance\": -3.0"),
            &p.weights,
            "profile.json is damaged: nats_per_distance is no finite number of at least 0",
        );
        check(&text.replace("\"write\"", "\"nonsense\""), &p.weights, "profile.json is damaged: \"nonsense\"");
        check(&text.replace("\"write\"", "\"close\""), &p.weights, "weights.safetensors cannot be used");
        check(&text, &p.weights[..p.weights.len() - 1], "weights.safetensors is damaged");
        check(&text.replace("a/b/c", ""), &p.weights, "\"\" is no workload name");
    }

    #[test]
    fn directories_are_safe_and_tell_workloads_apart() {
        for (workload, name) in [
            ("default/redis/redis", "default%2Fredis%2Fredis"),
            ("..", "%2E."),
            (".hidden", "%2Ehidden"),
            ("a%2Fb", "a%252Fb"),
            ("k8s.io/-/0a1b", "k8s.io%2F-%2F0a1b"),
        ] {
            assert_eq!(directory_name(workload), name);
        }
        let (a, b) = (directory_name(&"/".repeat(500)), directory_name(&"/".repeat(501)));
        assert!(a.len() <= 200 && a != b);
    }

    proptest! {
        #[test]
        fn any_name_gives_one_safe_component(a in ".{1,80}", b in ".{1,80}") {
            let name = directory_name(&a);
            prop_assert!(name.len() <= 255 && !name.starts_with('.') && !name.contains('/') && name.is_ascii());
            prop_assert_eq!(name == directory_name(&b), a == b);
        }

        #[test]
        fn damaged_metadata_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let p = profile("a/b/c");
            let mut text = p.metadata_json().expect("JSON");
            let at = at.index(text.len());
            text[at] = byte;
            let _ = Profile::parse(&text, p.weights);
        }
    }
}
