//! Recordings, as a damaged disk or a stranger hands them over.
//!
//! What must hold: no panic; what was read whole is written and read back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use surprisal_proto::recording::{Line, Reader, Writer};

fuzz_target!(|bytes: &[u8]| {
    let Ok(reader) = Reader::new(bytes) else { return };
    let header = reader.header.clone();
    let Ok(lines) = reader.collect::<Result<Vec<Line>, _>>() else { return };
    let mut writer = Writer::new(Vec::new(), &header).expect("memory takes everything");
    // A second header is a line that readers pass by; writers never write one.
    for line in &lines {
        writer.write(line).expect("memory takes everything");
    }
    let written = writer.finish().expect("memory takes everything");
    let again = Reader::new(written.as_slice()).and_then(Iterator::collect::<Result<Vec<Line>, _>>);
    assert_eq!(again.expect("what was written can be read"), lines);
});
