//! Packed batches: blocks of a connection's one zstd stream, from anybody.
//!
//! What must hold: no panic; no block yields more than the limit, however well it is compressed; what ours packed is
//! unpacked the same, whatever came between two streams.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use surprisal_proto::{
    packed::{Packer, Unpacker},
    v1,
};

/// Far below the scorer's, so that a fuzzer reaches it.
const MAX: usize = 64 << 10;

fuzz_target!(|bytes: &[u8]| {
    // A length byte cuts the input into blocks of one stream.
    let mut unpacker = Unpacker::new(MAX);
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first() {
        let (block, after) = after.split_at(after.len().min(usize::from(*length) * 8));
        match unpacker.unpack(block) {
            Ok(batch) => assert!(batch.encoded_len() <= MAX, "{} bytes out of a block", batch.encoded_len()),
            Err(_refused) => break,
        }
        rest = after;
    }
    // As a plain batch: packed and unpacked again it is the same.
    if let Ok(batch) = v1::Batch::decode(bytes) {
        let packed = Packer::new().pack(&batch).expect("a batch can be packed");
        if batch.encoded_len() < MAX / 2 {
            // Bytes: a ratio that is no number differs from itself.
            let again = Unpacker::new(MAX).unpack(&packed).expect("ours can be unpacked");
            assert_eq!(again.encode_to_vec(), batch.encode_to_vec());
        }
    }
});
