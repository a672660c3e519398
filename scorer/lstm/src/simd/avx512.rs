//! Sixteen numbers at a time with AVX-512, and products of bytes with VNNI.
#![allow(clippy::wildcard_imports, reason = "the names of the intrinsics say where they come from")]

use std::arch::x86_64::*;

pub(crate) const LANES: usize = 16;
pub(crate) type F = __m512;
pub(crate) type I = __m512i;
pub(crate) type Four = __m512i;

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn load(from: &[f32; LANES]) -> F {
    // SAFETY: the array is as long as the vector, and this load needs no alignment.
    unsafe { _mm512_loadu_ps(from.as_ptr()) }
}
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn store(v: F, to: &mut [f32; LANES]) {
    // SAFETY: the array is as long as the vector, and this store needs no alignment.
    unsafe { _mm512_storeu_ps(to.as_mut_ptr(), v) }
}
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn splat(x: f32) -> F {
    _mm512_set1_ps(x)
}
/// a × b + c.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn fma(a: F, b: F, c: F) -> F {
    _mm512_fmadd_ps(a, b, c)
}
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn add(a: F, b: F) -> F {
    _mm512_add_ps(a, b)
}
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn sub(a: F, b: F) -> F {
    _mm512_sub_ps(a, b)
}
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn mul(a: F, b: F) -> F {
    _mm512_mul_ps(a, b)
}
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn max(a: F, b: F) -> F {
    _mm512_max_ps(a, b)
}
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn min(a: F, b: F) -> F {
    _mm512_min_ps(a, b)
}
/// 14 bits from the table, doubled by one step of Newton's method.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn recip(a: F) -> F {
    let near = _mm512_rcp14_ps(a);
    _mm512_mul_ps(near, _mm512_fnmadd_ps(a, near, _mm512_set1_ps(2.0)))
}
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn round(a: F) -> F {
    _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a)
}
/// x × 2ⁿ, n a whole number.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn scale(x: F, n: F) -> F {
    _mm512_scalef_ps(x, n)
}
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn sum(a: F) -> f32 {
    _mm512_reduce_add_ps(a)
}
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn largest(a: F) -> f32 {
    _mm512_reduce_max_ps(a)
}
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn load_i32(from: &[i32; LANES]) -> I {
    // SAFETY: the array is as long as the vector, and this load needs no alignment.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn to_float(a: I) -> F {
    _mm512_cvtepi32_ps(a)
}
/// Four states, to be multiplied with four weights in each lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn splat4(states: [u8; 4]) -> Four {
    _mm512_set1_epi32(i32::from_le_bytes(states))
}
/// `sums` + the four products of each lane.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
pub(crate) fn dot(sums: I, states: Four, weights: &[[i8; 4]; LANES]) -> I {
    // SAFETY: 16 times four bytes are as long as the vector, and this load needs no alignment.
    let weights = unsafe { _mm512_loadu_si512(weights.as_ptr().cast()) };
    _mm512_dpbusd_epi32(sums, states, weights)
}
/// Whole numbers of 0 to 255 as bytes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn bytes(a: F) -> [u8; LANES] {
    let mut out = [0; LANES];
    // SAFETY: the array is as long as the vector, and this store needs no alignment.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a))) };
    out
}
/// The whole part, toward zero.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn whole(a: F) -> I {
    _mm512_cvttps_epi32(a)
}
/// Each lane's entry of a table, 0 to 31.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn pick(table: &[[f32; LANES]; 2], at: I) -> F {
    _mm512_permutex2var_ps(load(&table[0]), at, load(&table[1]))
}
