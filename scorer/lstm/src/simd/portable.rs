//! Eight numbers at a time on any processor: the compiler makes what it can of it.
#![allow(clippy::inline_always, reason = "each is a few instructions of one loop")]

pub(crate) const LANES: usize = 8;
pub(crate) type F = [f32; LANES];
pub(crate) type I = [i32; LANES];

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> F {
    std::array::from_fn(f)
}
#[inline(always)]
pub(crate) fn load(from: &[f32; LANES]) -> F {
    *from
}
#[inline(always)]
pub(crate) fn store(v: F, to: &mut [f32; LANES]) {
    *to = v;
}
#[inline(always)]
pub(crate) fn splat(x: f32) -> F {
    [x; LANES]
}
/// a × b + c.
#[inline(always)]
pub(crate) fn fma(a: F, b: F, c: F) -> F {
    // Not mul_add: without the instruction that is a call.
    each(|i| a[i] * b[i] + c[i])
}
#[inline(always)]
pub(crate) fn add(a: F, b: F) -> F {
    each(|i| a[i] + b[i])
}
#[inline(always)]
pub(crate) fn sub(a: F, b: F) -> F {
    each(|i| a[i] - b[i])
}
#[inline(always)]
pub(crate) fn mul(a: F, b: F) -> F {
    each(|i| a[i] * b[i])
}
#[inline(always)]
pub(crate) fn max(a: F, b: F) -> F {
    each(|i| a[i].max(b[i]))
}
#[inline(always)]
pub(crate) fn min(a: F, b: F) -> F {
    each(|i| a[i].min(b[i]))
}
#[inline(always)]
pub(crate) fn recip(a: F) -> F {
    each(|i| 1.0 / a[i])
}
#[inline(always)]
pub(crate) fn round(a: F) -> F {
    // Adding and subtracting 1.5 × 2^23 rounds to the nearest: all values here are small.
    const MAGIC: f32 = 12_582_912.0;
    each(|i| (a[i] + MAGIC) - MAGIC)
}
/// x × 2ⁿ, n a whole number of −126 to 127.
#[inline(always)]
pub(crate) fn scale(x: F, n: F) -> F {
    each(|i| x[i] * f32::from_bits((((n[i] as i32) + 127) << 23) as u32))
}
#[inline(always)]
pub(crate) fn sum(a: F) -> f32 {
    a.iter().sum()
}
#[inline(always)]
pub(crate) fn largest(a: F) -> f32 {
    a.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}
#[inline(always)]
pub(crate) fn load_i32(from: &[i32; LANES]) -> I {
    *from
}
#[inline(always)]
pub(crate) fn to_float(a: I) -> F {
    each(|i| a[i] as f32)
}
/// Four states, to be multiplied with four weights in each lane.
#[derive(Clone, Copy)]
pub(crate) struct Four([i32; 4]);
#[inline(always)]
pub(crate) fn splat4(states: [u8; 4]) -> Four {
    Four(states.map(i32::from))
}
/// `sums` + the four products of each lane.
#[inline(always)]
pub(crate) fn dot(sums: I, states: Four, weights: &[[i8; 4]; LANES]) -> I {
    std::array::from_fn(|i| {
        let [a, b, c, d] = weights[i].map(i32::from);
        sums[i] + a * states.0[0] + b * states.0[1] + c * states.0[2] + d * states.0[3]
    })
}
/// Whole numbers of 0 to 255 as bytes.
#[inline(always)]
pub(crate) fn bytes(a: F) -> [u8; LANES] {
    a.map(|x| x as u8)
}
