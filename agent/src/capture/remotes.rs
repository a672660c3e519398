//! How many addresses a container has talked to.
//!
//! In: the kernel side's bitmap. Out: an estimate. Pure.

use surprisal_agent_ebpf::abi::{NetState, REMOTE_WORDS};

/// Distinct addresses behind a linear-counting bitmap: −m ln(share of zeros) (Whang et al. 1990).
///
/// A full bitmap says "at least m ln m", 7,098.
pub(super) fn distinct(state: &NetState) -> u64 {
    let m = (64 * REMOTE_WORDS) as f64;
    let zeros: u32 = state.remotes.iter().map(|w| w.count_zeros()).sum();
    (m * (m / f64::from(zeros.max(1))).ln()).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_addresses_are_estimated_within_a_few_percent() {
        for n in [0u64, 1, 5, 100, 1000, 2000] {
            let mut state = NetState::default();
            let mut x = 0x9e37_79b9_7f4a_7c15_u64;
            for _ in 0..n {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let hash = x >> 40;
                state.remotes[(hash >> 6) as usize % REMOTE_WORDS] |= 1 << (hash & 63);
            }
            let estimate = distinct(&state);
            assert!(estimate.abs_diff(n) <= n / 8 + 1, "{n} addresses were estimated as {estimate}");
        }
        assert_eq!(distinct(&NetState { remotes: [u64::MAX; REMOTE_WORDS], ..NetState::default() }), 7098);
    }
}
