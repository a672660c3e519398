//! Paths of cgroups, names of their directories, and places of bundles, as processes of a container may have made them.
//!
//! What must hold: no panic; what is found is an id (which can be put into a path), and ends inside the path.
#![no_main]

use libfuzzer_sys::fuzz_target;
use surprisal_agent::{bundle, container::ContainerId, procfs::cgroup};

fn is_safe(id: &ContainerId) {
    let id = id.as_str();
    assert!(!id.is_empty() && !id.contains('/') && id != "." && id != "..", "{id:?}");
}

fuzz_target!(|text: &str| {
    if let Some(found) = cgroup::container_in(text) {
        assert!(found.end <= text.len() && text.is_char_boundary(found.end), "{} of {text:?}", found.end);
        assert!(text[..found.end].contains(found.id.as_str()), "{text:?} has no {:?}", found.id);
        is_safe(&found.id);
    }
    if let Some(id) = cgroup::id_by_shape(text) {
        is_safe(&id);
    }
    if let Some(place) = bundle::location(text) {
        is_safe(&place.id);
    }
});
