//! The ring buffer's records: any bytes are an event or an error.
//!
//! What must hold: no panic; a run of calls never claims more calls than its record has bytes for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use surprisal_agent::decode::{Event, decode};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Event::Calls(calls)) = decode(bytes) {
        assert!(2 * calls.tokens.len() <= bytes.len(), "{} calls out of {} bytes", calls.tokens.len(), bytes.len());
    }
});
