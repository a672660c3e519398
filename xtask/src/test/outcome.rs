//! How a step ended, and how that is read from what tools write.
//!
//! In: nextest's report, rustdoc's lines. Out: an [`Outcome`], which goes from a step's own process to ours as JSON. Never:
//! counts what was skipped as passed.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// How a step ended.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Outcome {
    Passed,
    Skipped(String),
    Tests(Tests),
    Failed(String),
}

/// What a step of many tests counted.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tests {
    pub(super) passed: u64,
    pub(super) failed: u64,
    /// `test: why`.
    pub(super) skipped: Vec<String>,
}

/// The totals of nextest's report: `<testsuites name="…" tests="3" failures="1" errors="0" …>`.
pub(super) fn parse_junit(text: &str) -> Result<Tests> {
    let head = text.split("<testsuites ").nth(1).and_then(|t| t.split('>').next()).context("no <testsuites>")?;
    let number = |name: &str| -> Result<u64> {
        let value = head.split(&format!("{name}=\"")).nth(1).and_then(|t| t.split('"').next());
        value.with_context(|| format!("no {name}"))?.parse().with_context(|| format!("{name} is no number"))
    };
    let failed = number("failures")? + number("errors")?;
    Ok(Tests { passed: number("tests")?.saturating_sub(failed), failed, skipped: Vec::new() })
}

/// `test result: ok. 3 passed; 0 failed; …`
pub(super) fn parse_result(line: &str) -> Option<(u64, u64)> {
    let rest = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut counts = rest.split("; ").map(|part| part.split(' ').next().and_then(|n| n.parse().ok()));
    Some((counts.next()??, counts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_nextest_totals() {
        let text = r#"<?xml version="1.0"?><testsuites name="nextest-run" tests="7" failures="2" errors="1" uuid="x" time="1.2">
            <testsuite name="a" tests="7" disabled="0" errors="1" failures="2">"#;
        let tests = parse_junit(text).expect("well-formed");
        assert_eq!((tests.passed, tests.failed), (4, 3));
        assert!(parse_junit("").is_err());
        assert!(parse_junit("<testsuites name=\"x\">").is_err());
    }

    #[test]
    fn reads_rustdoc_totals() {
        assert_eq!(parse_result("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured"), Some((3, 0)));
        assert_eq!(parse_result("test result: FAILED. 1 passed; 2 failed; 0 ignored"), Some((1, 2)));
        assert_eq!(parse_result("running 3 tests"), None);
    }
}
