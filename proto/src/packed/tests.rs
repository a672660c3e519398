use super::*;
use crate::v1::{Account, Calls};
use proptest::prelude::*;

const MAX: usize = 1 << 20;

/// What a busy container sends: three calls, over and over.
fn steady(sequence: u64) -> Batch {
    let tokens: Vec<u8> = [232u16, 0, 1].iter().cycle().take(250).flat_map(|t| t.to_le_bytes()).collect();
    let calls = (0..40).map(|n| Calls {
        container_id: "0123456789abcdef".repeat(4),
        tgid: 4_000,
        tid: 4_000,
        process: "redis-server".into(),
        first_sequence: (sequence * 40 + n) * 250,
        started_ns: 1_790_000_000_000_000_000 + (sequence * 40 + n) * 1_234_567,
        tokens: tokens.clone(),
        gap: 0,
        last: false,
        by_exec: false,
    });
    Batch { sequence, calls: calls.collect(), ..Batch::default() }
}

#[test]
fn what_repeats_costs_almost_nothing() {
    let (mut packer, mut unpacker) = (Packer::new(), Unpacker::new(MAX));
    let mut last = 0;
    for sequence in 1..20 {
        let batch = steady(sequence);
        let block = packer.pack(&batch).expect("packed");
        assert_eq!(unpacker.unpack(&block).expect("unpacked"), batch);
        last = block.len();
    }
    // 10,000 calls: 20,000 bytes of tokens.
    assert!(last < 1_000, "{last} bytes");
    let alone = Packer::new().pack(&steady(20)).expect("packed").len();
    assert!(last < alone, "{last} bytes with history, {alone} without");
}

#[test]
fn a_batch_of_nothing_and_one_of_the_bound_go_through() {
    let (mut packer, mut unpacker) = (Packer::new(), Unpacker::new(0));
    assert_eq!(unpacker.unpack(&packer.pack(&Batch::default()).expect("packed")).expect("empty"), Batch::default());
    let batch = steady(1);
    for (max, fits) in [(batch.encoded_len(), true), (batch.encoded_len() - 1, false)] {
        let block = Packer::new().pack(&batch).expect("packed");
        assert_eq!(Unpacker::new(max).unpack(&block).is_ok(), fits, "{max}");
    }
}

#[test]
fn a_bomb_is_refused_and_the_stream_with_it() {
    let bomb = Batch { calls: vec![Calls { tokens: vec![7; 64 << 20], ..Calls::default() }], ..Batch::default() };
    let block = Packer::new().pack(&bomb).expect("packed");
    assert!(block.len() < 64 << 10, "{} bytes", block.len());
    let mut unpacker = Unpacker::new(MAX);
    assert!(matches!(unpacker.unpack(&block), Err(PackError::TooLarge { max: MAX })));
    let harmless = Packer::new().pack(&steady(1)).expect("packed");
    assert!(matches!(unpacker.unpack(&harmless), Err(PackError::GivenUp)));
}

#[test]
fn memory_is_what_is_said() {
    use zstd::zstd_safe::{CCtx, DCtx};
    let (mut packing, mut unpacking) = (CCtx::create(), DCtx::create());
    packing.set_parameter(CParameter::CompressionLevel(LEVEL)).expect("a level");
    for parameter in PARAMETERS {
        packing.set_parameter(parameter).expect("a parameter");
    }
    unpacking.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).expect("a parameter");
    let mut random = 1_u64;
    for sequence in 0..50 {
        let mut batch = steady(sequence);
        for token in batch.calls.iter_mut().flat_map(|c| &mut c.tokens) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *token = (random >> 56) as u8;
        }
        let plain = batch.encode_length_delimited_to_vec();
        // Contexts of our own, because those of Packer and Unpacker cannot be weighed.
        let block = compress(&mut Encoder::with_context(&mut packing), &plain).expect("compressed");
        let got = decompress(&mut Decoder::with_context(&mut unpacking), &block, MAX).expect("decompressed");
        assert!(got == plain);
    }
    let (packer, unpacker) = (packing.sizeof(), unpacking.sizeof());
    assert!(packer <= PACKER_BYTES && packer > PACKER_BYTES / 2, "{packer}");
    assert!(unpacker <= UNPACKER_BYTES && unpacker > UNPACKER_BYTES / 2, "{unpacker}");
}

#[test]
fn a_history_larger_than_agreed_is_refused() {
    let mut encoder = Encoder::new(LEVEL).expect("an encoder");
    encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG + 1)).expect("allowed");
    let block = compress(&mut encoder, &[0; 10]).expect("compressed");
    assert!(matches!(Unpacker::new(MAX).unpack(&block), Err(PackError::Decompress(_))));
}

#[test]
fn what_is_not_one_whole_batch_is_refused() {
    let block = Packer::new().pack(&steady(1)).expect("packed");
    for cut in [0, 1, 5, block.len() / 2, block.len() - 1] {
        assert!(Unpacker::new(MAX).unpack(&block[..cut]).is_err(), "{cut} of {} bytes", block.len());
    }
    let twice = [steady(1).encode_length_delimited_to_vec(), steady(2).encode_length_delimited_to_vec()].concat();
    let block = compress(&mut encoder().expect("an encoder"), &twice).expect("compressed");
    assert!(matches!(Unpacker::new(MAX).unpack(&block), Err(PackError::Length { .. })));
    let mut damaged = steady(1).encode_length_delimited_to_vec();
    damaged.truncate(100);
    damaged[0] = 99;
    damaged.insert(1, 0xff);
    let block = compress(&mut encoder().expect("an encoder"), &damaged).expect("compressed");
    assert!(Unpacker::new(MAX).unpack(&block).is_err());
}

fn batch() -> impl Strategy<Value = Batch> {
    let calls = ("[a-c]{1,3}", any::<u64>(), prop::collection::vec(any::<u8>(), 0..300)).prop_map(|(id, seq, tokens)| Calls {
        container_id: id,
        first_sequence: seq,
        started_ns: seq,
        tokens,
        ..Calls::default()
    });
    let account =
        ("[a-c]{1,3}", any::<u64>()).prop_map(|(container_id, issued)| Account { container_id, issued, ..Account::default() });
    (any::<u64>(), prop::collection::vec(calls, 0..20), prop::collection::vec(account, 0..5))
        .prop_map(|(sequence, calls, accounts)| Batch { sequence, calls, accounts, ..Batch::default() })
}

proptest! {
    /// Each block gives back its batch, at once and in order.
    #[test]
    fn what_goes_in_comes_out(batches in prop::collection::vec(batch(), 1..30)) {
        let (mut packer, mut unpacker) = (Packer::new(), Unpacker::new(MAX));
        for batch in batches {
            let block = packer.pack(&batch).expect("packed");
            prop_assert!(block.len() <= batch.encoded_len() + 64);
            prop_assert_eq!(unpacker.unpack(&block).expect("unpacked"), batch);
        }
    }

    /// Any bytes, at any place of a stream, are a batch or an error, within the bound.
    #[test]
    fn any_bytes_are_a_batch_or_an_error(good in 0u64..3, bytes in prop::collection::vec(any::<u8>(), 0..600), max in 0usize..70_000) {
        let (mut packer, mut unpacker) = (Packer::new(), Unpacker::new(max));
        for n in 0..good {
            let _too_large = unpacker.unpack(&packer.pack(&steady(n)).expect("packed"));
        }
        if let Ok(batch) = unpacker.unpack(&bytes) {
            prop_assert!(batch.encoded_len() <= max);
        }
    }

    /// A damaged block does not bring down the receiver.
    #[test]
    fn a_flipped_bit_is_a_batch_or_an_error(bit in any::<prop::sample::Index>()) {
        let mut block = Packer::new().pack(&steady(1)).expect("packed");
        let bit = bit.index(8 * block.len());
        block[bit / 8] ^= 1 << (bit % 8);
        if let Ok(batch) = Unpacker::new(MAX).unpack(&block) {
            prop_assert!(batch.encoded_len() <= MAX + LENGTH_MAX);
        }
    }
}
