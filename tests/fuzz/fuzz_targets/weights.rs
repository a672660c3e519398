//! The weights' file of a profile, from anybody.
//!
//! What must hold: no panic; what is accepted has the shapes of the model and finite values, and is written the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use surprisal_scorer::{detect::model::Sizes, profile::weights};

const SIZES: Sizes = Sizes { embedding: 2, hidden: 3 };
const CLASSES: usize = 5;

fuzz_target!(|bytes: &[u8]| {
    let _ = weights::check_vocabulary(bytes, "abc");
    let Ok(tensors) = weights::read(bytes, SIZES, CLASSES) else { return };
    for (name, tensor) in &tensors {
        assert_eq!(tensor.values.len(), tensor.shape.iter().product::<usize>(), "{name}");
        assert!(tensor.values.iter().all(|v| v.is_finite()), "{name}");
    }
    let again = weights::write(&tensors, "abc").expect("it can be written");
    assert_eq!(weights::read(&again, SIZES, CLASSES).expect("and read"), tensors);
});
