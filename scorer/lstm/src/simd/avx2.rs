//! Eight numbers at a time with AVX2 and FMA.
#![allow(clippy::wildcard_imports, reason = "the names of the intrinsics say where they come from")]

use std::arch::x86_64::*;

pub(crate) const LANES: usize = 8;
pub(crate) type F = __m256;

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn load(from: &[f32; LANES]) -> F {
    // SAFETY: the array is as long as the vector, and this load needs no alignment.
    unsafe { _mm256_loadu_ps(from.as_ptr()) }
}
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn store(v: F, to: &mut [f32; LANES]) {
    // SAFETY: the array is as long as the vector, and this store needs no alignment.
    unsafe { _mm256_storeu_ps(to.as_mut_ptr(), v) }
}
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn splat(x: f32) -> F {
    _mm256_set1_ps(x)
}
/// a × b + c.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn fma(a: F, b: F, c: F) -> F {
    _mm256_fmadd_ps(a, b, c)
}
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn add(a: F, b: F) -> F {
    _mm256_add_ps(a, b)
}
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn sub(a: F, b: F) -> F {
    _mm256_sub_ps(a, b)
}
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn mul(a: F, b: F) -> F {
    _mm256_mul_ps(a, b)
}
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn max(a: F, b: F) -> F {
    _mm256_max_ps(a, b)
}
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn min(a: F, b: F) -> F {
    _mm256_min_ps(a, b)
}
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn recip(a: F) -> F {
    _mm256_div_ps(_mm256_set1_ps(1.0), a)
}
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn round(a: F) -> F {
    _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a)
}
/// x × 2ⁿ, n a whole number of −126 to 127.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn scale(x: F, n: F) -> F {
    let exponent = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)));
    _mm256_mul_ps(x, _mm256_castsi256_ps(exponent))
}
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn sum(a: F) -> f32 {
    let mut all = [0.0; LANES];
    store(a, &mut all);
    all.iter().sum()
}
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn largest(a: F) -> f32 {
    let mut all = [0.0; LANES];
    store(a, &mut all);
    all.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}
