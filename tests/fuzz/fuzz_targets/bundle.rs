//! A bundle's `config.json`: whoever starts a container chooses its annotations.
//!
//! What must hold: no panic; names are short and hold no control characters, so that they can be logged and sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use surprisal_agent::bundle;

fuzz_target!(|json: &[u8]| {
    let Ok(found) = bundle::parse(json, "k8s.io") else { return };
    let names = found.names;
    for name in [names.namespace, names.pod, names.pod_uid, names.name, names.image] {
        assert!(name.len() <= 1024 && !name.chars().any(char::is_control), "{name:?}");
    }
});
