//! How far a budget of false alarms can be promised on the data at hand. *Pure.*
//!
//! In: how much was held out, how many alarms it held. Out: a [`Promise`], and an upper bound. Never: a threshold.
//!
//! Own code: two lines within 0.4 % of the exact bound; `statrs` would bring its distributions for them, and move the figures.

use serde::{Deserialize, Serialize};

/// What a budget of false alarms stands on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Promise {
    /// The held-out windows alone support it: with 95 % confidence there are no more than the budget.
    #[serde(rename = "measured")]
    Measured,
    /// A tail was followed beyond them, not too far (`KNOWN` and `REACH` in `calibration`).
    #[serde(rename = "extrapolated")]
    Extrapolated,
    /// Too little was recorded to say: the threshold is a careful guess, the budget no promise.
    #[serde(rename = "too little data")]
    TooLittle,
    /// By the tail, the greatest threshold that still finds never-seen calls gives more false alarms than the budget.
    #[serde(rename = "cannot be kept")]
    CannotBeKept,
    /// The profile was made before promises were stated.
    #[default]
    #[serde(rename = "")]
    Unstated,
}

impl Promise {
    /// As the profile and the wire spell it; empty: not stated.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Extrapolated => "extrapolated",
            Self::TooLittle => "too little data",
            Self::CannotBeKept => "cannot be kept",
            Self::Unstated => "",
        }
    }
}

/// How many events there are at most, with 95 % confidence, where `n` were seen: the upper end of the Poisson interval
/// (Garwood, Biometrika 28, 1936); 3 for none ("rule of three", Hanley and Lippman-Hand, JAMA 249, 1983), for more by
/// Wilson and Hilferty's approximation, which is within 0.4 %.
pub fn at_most(n: u64) -> f64 {
    if n == 0 {
        return -0.05f64.ln();
    }
    let a = n as f64 + 1.0;
    a * (1.0 - 1.0 / (9.0 * a) + 1.644_854 / (3.0 * a.sqrt())).powi(3)
}

/// A budget and what it stands on, for people. `promise`: as [`Promise::as_str`] spells it; `days`: held-out container-days;
/// `at_most`: false alarms per container-day that are not ruled out.
pub fn statement(budget: f64, promise: &str, days: f64, at_most: Option<f64>) -> String {
    let Some(at_most) = at_most.filter(|_| !promise.is_empty()) else {
        return format!("{budget} false alarms a container-day, made before it was stated what that stands on");
    };
    format!(
        "{budget} false alarms a container-day: {promise}; {} held out, which rule out more than {} a container-day (95 %)",
        if days < 1.0 { format!("{:.3} container-hours", days * 24.0) } else { format!("{days:.2} container-days") },
        if at_most < 10.0 { format!("{at_most:.2}") } else { format!("{at_most:.0}") }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_ends_are_those_of_the_tables() {
        // Half the 95 % points of chi-squared with 2 (n + 1) degrees of freedom.
        for (n, expect) in [(0, 2.996), (1, 4.744), (2, 6.296), (5, 10.513), (10, 16.962), (100, 118.079)] {
            let got = at_most(n);
            assert!((got / expect - 1.0).abs() < 4e-3, "{n}: {got} is not {expect}");
        }
    }

    #[test]
    fn a_statement_says_how_little_there_is() {
        assert_eq!(
            statement(1.0, "too little data", 0.01, Some(at_most(0) / 0.01)),
            "1 false alarms a container-day: too little data; 0.240 container-hours held out, which rule out more than 300 a \
             container-day (95 %)"
        );
        assert!(statement(0.5, "measured", 6.0, Some(at_most(0) / 6.0)).contains("measured; 6.00 container-days held out"));
        assert!(statement(0.5, "", 0.0, None).ends_with("what that stands on"));
    }

    #[test]
    fn a_promise_is_spelled_the_same_everywhere() {
        for promise in [Promise::Measured, Promise::Extrapolated, Promise::TooLittle, Promise::CannotBeKept, Promise::Unstated] {
            let json = serde_json::to_string(&promise).expect("JSON");
            assert_eq!(json, format!("{:?}", promise.as_str()));
            assert_eq!(serde_json::from_str::<Promise>(&json).expect("reads back"), promise);
        }
    }
}
