//! Which kernel computes: chosen at run time by what the processor has.
//!
//! In: weights, a kernel asked for. Out: packed weights and their kernel. Never: a kernel whose instructions are missing.

use crate::{
    fused,
    packed::{Float, Int8},
    sequence::{Answer, Ask, Sequence},
    weights::Weights,
};
use std::{fmt, str::FromStr};

/// A kernel: a precision on a vector unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kernel {
    /// f32 on any processor.
    F32Portable,
    /// f32 with AVX2 and FMA.
    F32Avx2,
    /// f32 with AVX-512.
    F32Avx512,
    /// 8-bit states and recurrent weights on any processor: slower than f32, for tests.
    Int8Portable,
    /// 8-bit states and recurrent weights with AVX-512 VNNI.
    Int8Vnni,
}

/// No kernel's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kernel: one of f32-portable, f32-avx2, f32-avx512, int8-portable, int8-vnni")]
pub struct UnknownKernel(String);

impl Kernel {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::F32Portable, Self::F32Avx2, Self::F32Avx512, Self::Int8Portable, Self::Int8Vnni];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32Portable => "f32-portable",
            Self::F32Avx2 => "f32-avx2",
            Self::F32Avx512 => "f32-avx512",
            Self::Int8Portable => "int8-portable",
            Self::Int8Vnni => "int8-vnni",
        }
    }

    /// Whether this processor can run it.
    pub fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        match self {
            Self::F32Portable | Self::Int8Portable => true,
            Self::F32Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Self::F32Avx512 => is_x86_feature_detected!("avx512f"),
            Self::Int8Vnni => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni"),
        }
        #[cfg(not(target_arch = "x86_64"))]
        matches!(self, Self::F32Portable | Self::Int8Portable)
    }

    /// The fastest on this processor, quantised where that pays.
    pub fn fastest() -> Self {
        if Self::Int8Vnni.is_available() { Self::Int8Vnni } else { Self::exact() }
    }

    /// The fastest in f32 on this processor.
    pub fn exact() -> Self {
        [Self::F32Avx512, Self::F32Avx2].into_iter().find(|k| k.is_available()).unwrap_or(Self::F32Portable)
    }

    /// Of the same precision, on any processor.
    #[must_use]
    pub fn portable(self) -> Self {
        if self.is_quantised() { Self::Int8Portable } else { Self::F32Portable }
    }

    /// Whether it computes with 8 bits.
    pub fn is_quantised(self) -> bool {
        matches!(self, Self::Int8Portable | Self::Int8Vnni)
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kernel {
    type Err = UnknownKernel;

    fn from_str(text: &str) -> Result<Self, UnknownKernel> {
        Self::ALL.into_iter().find(|k| k.as_str() == text).ok_or_else(|| UnknownKernel(text.to_owned()))
    }
}

/// Packed weights with the kernel they are packed for.
#[derive(Debug)]
pub(crate) enum Ready {
    F32Portable(Float<8>),
    Int8Portable(Int8<8>),
    #[cfg(target_arch = "x86_64")]
    F32Avx2(Float<8>),
    #[cfg(target_arch = "x86_64")]
    F32Avx512(Float<16>),
    #[cfg(target_arch = "x86_64")]
    Int8Vnni(Int8<16>),
}

impl Ready {
    /// For a kernel that is available.
    ///
    /// **Invariant:** a variant that needs instructions is only made where the processor has them.
    pub(crate) fn new(weights: &Weights<'_>, kernel: Kernel) -> Self {
        #[cfg(target_arch = "x86_64")]
        if kernel.is_available() {
            match kernel {
                Kernel::F32Avx2 => return Self::F32Avx2(Float::new(weights)),
                Kernel::F32Avx512 => return Self::F32Avx512(Float::new(weights)),
                Kernel::Int8Vnni => return Self::Int8Vnni(Int8::new(weights)),
                Kernel::F32Portable | Kernel::Int8Portable => {}
            }
        }
        if kernel.is_quantised() { Self::Int8Portable(Int8::new(weights)) } else { Self::F32Portable(Float::new(weights)) }
    }

    pub(crate) fn run(&self, group: &[Sequence<'_>], ask: &Ask, out: &mut Vec<Answer>) {
        match self {
            Self::F32Portable(p) => fused::float_portable::run(p, group, ask, out),
            Self::Int8Portable(p) => fused::int8_portable::run(p, group, ask, out),
            // SAFETY: see the invariant of `new`: the processor has AVX2 and FMA.
            #[cfg(target_arch = "x86_64")]
            Self::F32Avx2(p) => unsafe { fused::float_avx2::run(p, group, ask, out) },
            // SAFETY: see the invariant of `new`: the processor has AVX-512F.
            #[cfg(target_arch = "x86_64")]
            Self::F32Avx512(p) => unsafe { fused::float_avx512::run(p, group, ask, out) },
            // SAFETY: see the invariant of `new`: the processor has AVX-512F and VNNI.
            #[cfg(target_arch = "x86_64")]
            Self::Int8Vnni(p) => unsafe { fused::int8_vnni::run(p, group, ask, out) },
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::F32Portable(p) => p.bytes(),
            Self::Int8Portable(p) => p.bytes(),
            #[cfg(target_arch = "x86_64")]
            Self::F32Avx2(p) => p.bytes(),
            #[cfg(target_arch = "x86_64")]
            Self::F32Avx512(p) => p.bytes(),
            #[cfg(target_arch = "x86_64")]
            Self::Int8Vnni(p) => p.bytes(),
        }
    }
}
