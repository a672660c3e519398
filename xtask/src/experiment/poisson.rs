//! What a count of rare events says of their rate. *Pure.*
//!
//! In: how many were seen. Out: how many there may be on average. Never: a bare 0 for what was not seen.

/// One-sided upper 95 % bound of a Poisson mean when `n` events were seen: 3.0 for none.
pub(super) fn upper(n: u32) -> f64 {
    // P(at most n) falls as the mean grows.
    let at_most = |mean: f64| {
        let mut term = (-mean).exp();
        let mut sum = term;
        for k in 1..=n {
            term *= mean / f64::from(k);
            sum += term;
        }
        sum
    };
    let (mut low, mut high) = (0.0, 10.0 + 3.0 * f64::from(n));
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if at_most(middle) > 0.05 { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_a_poisson_mean() {
        // Half the 95 % quantile of chi-squared with 2(n+1) degrees of freedom.
        for (n, expect) in [(0, 2.995_732), (1, 4.743_865), (2, 6.295_794), (10, 16.962_219)] {
            assert!((upper(n) - expect).abs() < 1e-5, "{n}: {}", upper(n));
        }
    }
}
