//! What lies beyond a sample: a generalised Pareto tail over a high level, and how much its windows cluster. *Pure.*
//!
//! In: excesses over a level; which windows of a stretch of time lie above it. Out: [`Tail`], [`extremal_index`]. Never: a
//! threshold; what a tail is worth is said by [`Tail::standard_error`], what is done with it is the caller's.
//!
//! Peaks over threshold: the excesses of almost any distribution over a high enough level follow a generalised Pareto
//! distribution (Pickands 1975), which is what Siffert et al. draw thresholds for streams from (KDD 2017, SPOT). It is
//! fitted by Zhang and Stephens' estimator (Technometrics 51, 2009): an average over the profile likelihood of one parameter,
//! defined for every sample, nearly as good as maximum likelihood, with no iteration that might not end. A small
//! sample says next to nothing of the shape: it is drawn towards 0 (the exponential tail) as if `PRIOR` clusters
//! had said so (as Vehtari et al. do, JMLR 25, 2024), and kept within `SHAPES`: a mean of bounded surprisals has
//! no heavier tail. The scale then follows from the mean excess.
//!
//! Own code: `statrs` has no generalised Pareto distribution, and no crate fits one so.
//!
//! One odd second makes several odd windows, and those are one alert. The extremal index is how many clusters there are for each
//! window above the level; it is estimated from the gaps between such windows (Ferro and Segers, JRSS B 65, 2003:
//! the intervals estimator, which needs no run length to be chosen). Alerts that are further merged because
//! they fall into the same half minute only make fewer: what is said of alerts is an upper estimate.

use serde::{Deserialize, Serialize};

/// Clusters that the prior (an exponential tail) counts for.
const PRIOR: f64 = 10.0;
/// Least and greatest shape.
const SHAPES: (f64, f64) = (-0.5, 0.5);

/// A fitted tail.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// Quantile where it begins.
    pub from_q: f64,
    /// Score there, nats a call.
    pub from: f64,
    /// Mean excess over it, nats a call.
    pub mean_excess: f64,
    /// Shape: above 0 heavier, below 0 lighter than exponential. Older profiles have exponential tails.
    #[serde(default)]
    pub shape: f64,
    /// Windows above `from` that it was fitted on; 0: not known.
    #[serde(default)]
    pub windows: u64,
    /// Standard error of the level that it was followed to, nats a call; 0: not known.
    #[serde(default)]
    pub standard_error: f64,
}

impl Tail {
    /// Fitted on windows' excesses (above 0, finite; any order), which are so many `clusters`.
    pub fn fit(from_q: f64, from: f64, excesses: &mut [f64], clusters: f64) -> Self {
        excesses.sort_by(f64::total_cmp);
        let n = excesses.len();
        let mean_excess = if n == 0 { 0.0 } else { excesses.iter().sum::<f64>() / n as f64 };
        let shape = zhang_stephens(excesses).map_or(0.0, |shape| shape * clusters / (clusters + PRIOR));
        Self { from_q, from, mean_excess, shape: shape.clamp(SHAPES.0, SHAPES.1), windows: n as u64, standard_error: 0.0 }
    }

    fn scale(&self) -> f64 {
        self.mean_excess * (1.0 - self.shape)
    }

    /// The score that a share `p` of the windows above [`Tail::from`] exceeds, nats a call.
    pub fn level(&self, p: f64) -> f64 {
        self.from + excess(self.shape, self.scale(), p)
    }

    /// Share of the windows above [`Tail::from`] that lie above this score.
    pub fn beyond(&self, nats: f64) -> f64 {
        let (excess, scale) = ((nats - self.from).max(0.0), self.scale());
        if excess <= 0.0 {
            1.0
        } else if scale <= 0.0 {
            0.0
        } else if self.shape.abs() < 1e-9 {
            (-excess / scale).exp()
        } else {
            (1.0 + self.shape * excess / scale).max(0.0).powf(-1.0 / self.shape)
        }
    }

    /// Standard error of [`Tail::level`]`(p)` where the sample is worth `clusters` independent windows: the delta method with the
    /// covariance of maximum likelihood (Smith, Biometrika 74, 1987), which Zhang and Stephens' estimator comes close to.
    pub fn error(&self, p: f64, clusters: f64) -> f64 {
        let (shape, scale) = (self.shape, self.scale());
        if scale <= 0.0 {
            return 0.0;
        }
        let step = 1e-4;
        let by_shape = (excess(shape + step, scale, p) - excess(shape - step, scale, p)) / (2.0 * step);
        let by_scale = excess(shape, scale, p) / scale;
        let a = 1.0 + shape;
        let variance = (a * a * by_shape.powi(2) + 2.0 * a * scale * scale * by_scale.powi(2)
            - 2.0 * a * scale * by_shape * by_scale)
            / clusters.max(1.0);
        variance.max(0.0).sqrt()
    }
}

/// What a share `p` of excesses exceeds, by a generalised Pareto distribution.
fn excess(shape: f64, scale: f64, p: f64) -> f64 {
    let steps = -p.clamp(f64::MIN_POSITIVE, 1.0).ln();
    if shape.abs() < 1e-9 { scale * steps } else { scale * ((shape * steps).exp_m1() / shape) }
}

/// The shape of excesses in ascending order; `None`: fewer than five, or all alike.
fn zhang_stephens(x: &[f64]) -> Option<f64> {
    const SPREAD: f64 = 3.0;
    let n = x.len();
    if n < 5 || x[0] >= x[n - 1] {
        return None;
    }
    let m = 30 + n.isqrt();
    let quarter = x[(n as f64 / 4.0 + 0.5) as usize - 1];
    let shape_of = |b: f64| x.iter().map(|x| (-b * x).ln_1p()).sum::<f64>() / n as f64;
    // (parameter, log likelihood at its best shape)
    let profile: Vec<_> = (1..=m)
        .map(|j| 1.0 / x[n - 1] + (1.0 - (m as f64 / (j as f64 - 0.5)).sqrt()) / (SPREAD * quarter))
        .map(|b| (b, shape_of(b)))
        .map(|(b, k)| (b, n as f64 * ((-b / k).ln() - k - 1.0)))
        .filter(|(_, l)| l.is_finite())
        .collect();
    let best = profile.iter().map(|(_, l)| *l).fold(f64::NEG_INFINITY, f64::max);
    let (sum, weights) = profile.iter().fold((0.0, 0.0), |(sum, all), (b, l)| {
        let weight = (l - best).exp();
        (sum + b * weight, all + weight)
    });
    let shape = shape_of(sum / weights);
    shape.is_finite().then_some(shape)
}

/// Clusters for each window above a level, above 0, at most 1: 1 where each stands alone, and where there are too
/// few to tell. `stretches`: windows in the order of time, true where above.
pub fn extremal_index(stretches: impl IntoIterator<Item = impl IntoIterator<Item = bool>>) -> f64 {
    let mut gaps = Vec::new();
    for stretch in stretches {
        let mut last = None;
        for (at, _) in stretch.into_iter().enumerate().filter(|(_, above)| *above) {
            gaps.extend(last.map(|last| (at - last) as f64));
            last = Some(at);
        }
    }
    if gaps.len() < 2 {
        return 1.0;
    }
    let n = gaps.len() as f64;
    let sums = |f: fn(f64) -> (f64, f64)| gaps.iter().map(|gap| f(*gap)).fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
    let widest = gaps.iter().copied().fold(0.0, f64::max);
    let (sum, squares) = if widest <= 2.0 { sums(|t| (t, t * t)) } else { sums(|t| (t - 1.0, (t - 1.0) * (t - 2.0))) };
    if squares <= 0.0 { 1.0 } else { (2.0 * sum * sum / (n * squares)).clamp(1.0 / (n + 1.0), 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The sample whose values stand at the middles of equal shares of a generalised Pareto distribution.
    fn sample(shape: f64, scale: f64, n: usize) -> Vec<f64> {
        let at = |i: usize| (i as f64 + 0.5) / n as f64;
        let quantile = |q: f64| {
            let steps = -(1.0 - q).ln();
            if shape.abs() < 1e-9 { scale * steps } else { scale * (shape * steps).exp_m1() / shape }
        };
        (0..n).map(|i| quantile(at(i))).collect()
    }

    #[test]
    fn the_shape_of_a_known_tail_is_found() {
        for shape in [-0.3, -0.1, 0.0, 0.1, 0.3] {
            let mut x = sample(shape, 0.2, 2000);
            let tail = Tail::fit(0.95, 1.0, &mut x, 2000.0);
            assert!((tail.shape - shape).abs() < 0.03, "{shape}: {tail:?}");
            // A level ten times beyond the sample.
            let p: f64 = 1.0 / 20_000.0;
            let expect = 1.0 + if shape.abs() < 1e-9 { -0.2 * p.ln() } else { 0.2 * (-shape * p.ln()).exp_m1() / shape };
            let got = tail.level(p);
            assert!((got - expect).abs() < 0.15 * (expect - 1.0), "{shape}: {got} is far from {expect}");
            assert!((tail.beyond(got) / p - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn few_clusters_are_taken_for_an_exponential_tail() {
        let mut x = sample(0.4, 0.2, 200);
        let of = |x: &mut [f64], clusters| Tail::fit(0.95, 1.0, x, clusters).shape;
        let (many, few, none) = (of(&mut x, 200.0), of(&mut x, 10.0), of(&mut x[..4], 4.0));
        assert!(many > 0.3 && (few - many / (200.0 / 210.0) / 2.0).abs() < 1e-9, "{many} {few}");
        assert!(none.abs() < 1e-12);
        // All alike: no tail at all.
        let flat = Tail::fit(0.95, 1.0, &mut [0.2; 50], 50.0);
        assert!(flat.shape.abs() < 1e-12 && flat.mean_excess > 0.19);
        let nothing = Tail::fit(0.95, 1.0, &mut [], 0.0);
        assert!((nothing.level(1e-9) - 1.0).abs() < 1e-12 && nothing.beyond(1.1) <= 0.0 && nothing.error(0.1, 1.0) <= 0.0);
    }

    #[test]
    fn the_error_is_that_of_theory_and_shrinks_with_the_sample() {
        // At shape 0: scale · L · √((2 − L + L²/4) / n), with L = −ln p.
        let tail = Tail { from_q: 0.95, from: 1.0, mean_excess: 0.2, shape: 0.0, windows: 100, standard_error: 0.0 };
        let l = 1000f64.ln();
        let expect = 0.2 * l * ((2.0 - l + l * l / 4.0) / 100.0).sqrt();
        assert!((tail.error(1e-3, 100.0) / expect - 1.0).abs() < 1e-3);
        assert!((tail.error(1e-3, 400.0) / tail.error(1e-3, 100.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn bursts_are_clusters() {
        let of = |text: &str| extremal_index(text.split(' ').map(|s| s.chars().map(|c| c == 'x').collect::<Vec<_>>()));
        // Too few to tell.
        assert_eq!((of("....x....."), of("x...x"), of("x x x x")), (1.0, 1.0, 1.0));
        // Far from each other and at even distances; in bursts of four.
        assert!((of(&"x.........".repeat(50)) - 1.0).abs() < 1e-9);
        let mut state = 1u32;
        let mut random = |burst: &str, share: u32| -> String {
            let mut draw = |_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if (state >> 16) * 100 < share << 16 { burst } else { "." }
            };
            (0..20_000).map(&mut draw).collect()
        };
        let (alone, bursts) = (of(&random("x", 5)), of(&random("xxxx", 2)));
        assert!(alone > 0.9 && (0.2..0.35).contains(&bursts), "{alone} {bursts}");
        // A gap between stretches is no gap between windows.
        assert!(of("xxxx xxxx xxxx") <= 1.0);
    }

    proptest! {
        #[test]
        fn levels_ascend_and_everything_is_a_number(mut x in prop::collection::vec(1e-6f64..20.0, 0..200), clusters in 0.0f64..300.0) {
            let tail = Tail::fit(0.95, 1.0, &mut x, clusters);
            let levels: Vec<_> = [1.0, 0.5, 1e-2, 1e-4, 1e-8, 1e-12].iter().map(|p| tail.level(*p)).collect();
            prop_assert!(levels.iter().all(|l| l.is_finite()) && levels.is_sorted(), "{tail:?} {levels:?}");
            prop_assert!(tail.error(1e-6, clusters).is_finite());
            prop_assert!((0.0..=1.0).contains(&tail.beyond(levels[3])));
        }

        #[test]
        fn an_index_is_a_share(above in prop::collection::vec(prop::collection::vec(any::<bool>(), 0..100), 0..5)) {
            let index = extremal_index(above);
            prop_assert!(index > 0.0 && index <= 1.0);
        }
    }
}
