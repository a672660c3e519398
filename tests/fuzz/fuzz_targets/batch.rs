//! Batches as agents send them: protobuf from the wire into what the scorer believes.
//!
//! What must hold: no panic; ids and names are within their limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use surprisal_proto::v1;
use surprisal_scorer::ingest::wire::{Batch, ID_MAX, NAME_MAX, TEXT_MAX};

fuzz_target!(|bytes: &[u8]| {
    let Ok(batch) = v1::Batch::decode(bytes) else { return };
    let batch = Batch::from(batch);
    for birth in &batch.births {
        assert!(birth.id.as_str().len() <= ID_MAX && birth.about.workload.len() <= NAME_MAX);
    }
    for name in &batch.names {
        // With what is said beside it.
        assert!(!name.text.is_empty() && name.text.len() <= 2 * TEXT_MAX && !name.text.chars().any(char::is_control));
    }
    for calls in &batch.calls {
        assert!(!calls.container.as_str().is_empty() && calls.container.as_str().len() <= ID_MAX);
    }
});
