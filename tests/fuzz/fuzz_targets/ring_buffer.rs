//! The ring buffer's records: any bytes are an event or an error; and what a container called something is harmless.
//!
//! What must hold: no panic; a run of calls never claims more calls than its record has bytes for; a name is bounded, and has nothing in it that
//! steers a terminal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use surprisal_agent::{
    decode::{Event, decode},
    names::TEXT_MAX,
};

fuzz_target!(|bytes: &[u8]| match decode(bytes) {
    Ok(Event::Calls(calls)) => {
        assert!(2 * calls.tokens.len() <= bytes.len(), "{} calls out of {} bytes", calls.tokens.len(), bytes.len());
    }
    Ok(Event::Name(named)) => {
        if let Some(name) = named.raw.read() {
            assert!(!name.text.is_empty() && name.text.len() <= TEXT_MAX && name.argv0.len() <= 256, "{name:?}");
            assert!(!name.text.chars().chain(name.argv0.chars()).any(char::is_control), "{name:?}");
        }
    }
    _ => {}
});
