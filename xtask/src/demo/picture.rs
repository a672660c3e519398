//! A picture of the demo's screen.
//!
//! In: lines with ANSI colours. Out: an SVG file. Never: a line that was not shown.

use anstyle_svg::{Term, WIN10_CONSOLE};
use anyhow::{Context as _, Result};
use std::path::Path;

/// Writes `shown` as a picture to `path`.
pub(super) fn write(path: &Path, shown: &str) -> Result<()> {
    std::fs::write(path, svg(shown)).with_context(|| format!("writing {}", path.display()))
}

fn svg(shown: &str) -> String {
    Term::new().palette(WIN10_CONSOLE).render_svg(shown.trim())
}

#[cfg(test)]
mod tests {
    use super::svg;
    use crate::demo::{
        scores::{Expected, FirstTime, NewName, Score, Surprise, Window},
        screen::{evidence_lines, score_line},
    };

    /// The text of a picture; fails if the picture is not well-formed.
    fn text(svg: &str) -> String {
        let picture = roxmltree::Document::parse(svg).expect("well-formed");
        assert_eq!(picture.root_element().tag_name().name(), "svg");
        picture.descendants().filter(roxmltree::Node::is_text).filter_map(|n| n.text()).collect()
    }

    #[test]
    fn verdict_and_evidence_are_in_the_picture() {
        let surprise = Surprise {
            call: "execve <&>".to_owned(),
            probability: 1e-6,
            surprisal: 13.8,
            after: vec!["clone".to_owned()],
            expected: vec![Expected { call: "read".to_owned(), probability: 0.9 }],
            never_seen: true,
            name: "/bin/bash".to_owned(),
        };
        let new = NewName { did: "talked to".to_owned(), name: "10.0.3.7:4444".to_owned(), nats: 9.1 };
        let ran = NewName { did: "ran".to_owned(), name: "/bin/dash".to_owned(), nats: 8.2 };
        let window = Window {
            process: "redis".to_owned(),
            score: 7.0,
            surprises: vec![surprise],
            new_names: vec![new],
            ..Window::default()
        };
        let score = Score {
            verdict: "anomalous".to_owned(),
            value: Some(7.0),
            threshold: Some(2.0),
            evidence: vec![window],
            first_times: vec![FirstTime { new: ran, process: "dash".to_owned(), pid: 7 }],
            ..Score::default()
        };
        let mut lines = vec![score_line(Some(&score))];
        lines.extend(evidence_lines(&score));

        let svg = svg(&lines.join("\n"));

        assert!(!svg.contains('\x1b'), "an escape code is left");
        let text = text(&svg);
        for shown in [
            "anomalous",
            "threshold 2.00",
            "execve <&> /bin/bash",
            "talked to 10.0.3.7:4444",
            "ran /bin/dash (process dash, pid 7): 8.2 nats",
            "never seen in training",
            "read (90 %)",
        ] {
            assert!(text.contains(shown), "{shown} is not in {text}");
        }
    }

    #[test]
    fn the_readme_s_picture_shows_verdict_and_evidence() {
        let text = text(include_str!("../../../tests/fixtures/demo/screen.svg"));
        for shown in ["normal", "anomalous", "never seen in training", "expected", "The verdict turned"] {
            assert!(text.contains(shown), "{shown} is not in {text}");
        }
    }
}
