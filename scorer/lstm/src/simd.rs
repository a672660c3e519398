//! What a vector unit can do, with the same names for each kind.
//!
//! In: arrays. Out: vectors, and arrays again. Never: a pointer that outlives a call, an instruction that the caller has not
//! been compiled for: functions say by `target_feature` what they need, and the compiler lets only such callers in.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod portable;
