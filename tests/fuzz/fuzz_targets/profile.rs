//! Profiles as `Profiles.Import` takes them: an archive of metadata and weights.
//!
//! What must hold: no panic; what is accepted can be written and accepted again.
//!
//! No fuzzer guesses a SHA-256, so the metadata is given that of the weights at hand.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use surprisal_proto::v1;
use surprisal_scorer::{detect::vocab::hex, profile::archive::Profile};

fuzz_target!(|bytes: &[u8]| {
    let Ok(archive) = v1::ProfileArchive::decode(bytes) else { return };
    let Ok(mut metadata) = serde_json::from_slice::<serde_json::Value>(&archive.metadata) else {
        let _refused = Profile::parse(&archive.metadata, archive.weights);
        return;
    };
    if let Some(object) = metadata.as_object_mut() {
        object.insert("weights_sha256".to_owned(), hex(&Sha256::digest(&archive.weights)).into());
    }
    let metadata = serde_json::to_vec(&metadata).expect("it was JSON");
    let Ok(profile) = Profile::parse(&metadata, archive.weights) else { return };
    let again = profile.metadata_json().expect("it can be written");
    Profile::parse(&again, profile.weights).expect("what was accepted is accepted again");
});
