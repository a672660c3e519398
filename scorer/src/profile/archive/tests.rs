//! Tests of `archive`.

use super::*;
use crate::detect::names::Known;
use crate::detect::novelty::Kept;
use crate::detect::novelty::KnownSets;
use crate::detect::score::Score;
use crate::judge::calibration::{Ask, calibrate};
use crate::profile::metadata::{FORMAT, Training};
use jiff::Timestamp;
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
        names: Known::default(),
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
        let files: std::collections::BTreeSet<_> =
            std::fs::read_dir(&at).expect("lists").map(|e| e.expect("entry").file_name().into_string().expect("UTF-8")).collect();
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

proptest! {
    #[test]
    fn damaged_metadata_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let p = profile("a/b/c");
        let mut text = p.metadata_json().expect("JSON");
        let at = at.index(text.len());
        text[at] = byte;
        let _ = Profile::parse(&text, p.weights);
    }
}
