//! Tests of a window's evidence.

use super::*;
use crate::detect::model::{OWN, Position};

#[test]
fn evidence_names_the_call_what_came_before_and_what_was_expected() {
    let [read, write, execve] = [0, 1, 59].map(|nr| Token::new(nr, 0));
    let vocabulary = Vocabulary::new([read, write]);
    let window = Window {
        first_sequence: 100,
        started_ns: 1_500_000_000,
        from_start: false,
        context: vec![read; 16],
        calls: vec![write, read, execve],
    };
    let encoded = Encoded::new(&window, &vocabulary);
    let unknown = encoded.scored()[2];
    let judged = Judged {
        nll: vec![0.1, 0.2, 12.0],
        top: vec![Position { index: 2, expected: vec![(unknown, 0.5), (4, 0.25), (3, 0.125), (0, 0.1)] }],
    };
    let shown = Evidence::of(&window, &encoded, &judged, (Score::new(0.8), 0.25), &vocabulary).to_proto();
    assert_eq!((shown.first_sequence, shown.calls, shown.at.map(|t| (t.seconds, t.nanos))), (100, 3, Some((1, 500_000_000))));
    assert!((shown.score - 0.8).abs() < 1e-9 && (shown.novelty - 0.25).abs() < 1e-9);
    let [s, rest @ ..] = shown.surprises.as_slice() else { panic!("no surprise") };
    // At the others the model was not asked what it expected.
    assert!(rest.iter().map(|s| s.call.as_str()).eq(["read", "write"]) && rest.iter().all(|s| s.expected.is_empty()));
    assert_eq!((s.call.as_str(), s.sequence, s.never_seen, s.times), ("execve", 102, true, 1));
    assert_eq!(s.effect, "runs another program");
    assert_eq!(s.after, ["read", "read", "read", "read", "read", "read", "write", "read"]);
    assert_eq!(
        s.expected.iter().map(|e| (e.call.as_str(), e.probability)).collect::<Vec<_>>(),
        [("write", 0.25), ("read", 0.125)]
    );
    assert!((s.probability - (-12.0f64).exp()).abs() < 1e-9);
}

fn parse(name: &str) -> Token {
    names::parse(name).expect("a call")
}

/// A window of these calls, as recordings spell them, each with its surprisal; the vocabulary is `known`. The model expected `read`
/// at as many places as it is asked about.
fn judged(calls: &[(&str, f32)], known: &[&str]) -> (Window, Evidence) {
    let vocabulary = Vocabulary::new(known.iter().map(|name| parse(name)));
    let window = Window {
        first_sequence: 0,
        started_ns: 0,
        from_start: true,
        context: vec![],
        calls: calls.iter().map(|(name, _)| parse(name)).collect(),
    };
    let encoded = Encoded::new(&window, &vocabulary);
    let nll: Vec<f32> = calls.iter().map(|(_, nats)| *nats).collect();
    let mut asked: Vec<usize> = (0..nll.len()).filter(|i| nll[*i] >= OWN).collect();
    asked.sort_by(|a, b| nll[*b].total_cmp(&nll[*a]));
    asked.truncate(CANDIDATES);
    let expected = vec![(vocabulary.class(parse("read")), 0.5)];
    let top = asked.into_iter().map(|index| Position { index, expected: expected.clone() }).collect();
    let judged = Judged { nll, top };
    let evidence = Evidence::of(&window, &encoded, &judged, (Score::new(1.0), 0.0), &vocabulary);
    (window, evidence)
}

/// Shows the evidence as "call" or "call×times".
fn shown(calls: &[(&str, f32)], known: &[&str]) -> String {
    let (window, evidence) = judged(calls, known);
    let one = |s: &Surprise| {
        let name = names::spell(window.calls[s.index]);
        assert!((f64::from(calls[s.index].1) - s.nats).abs() < 1e-9);
        if s.times > 1 { format!("{name}×{}@{}", s.times, s.index) } else { format!("{name}@{}", s.index) }
    };
    evidence.surprises.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn repetitions_are_one_call_and_among_equals_the_telling_one_comes_first() {
    // Never seen, all of them: what the model says of each differs by where it stands only.
    let mut window: Vec<_> = (0..40).map(|n| ("geteuid", 13.5 - n as f32 / 100.0)).collect();
    window.extend([
        ("openat:15", 12.9),
        ("execve", 12.1),
        ("connect", 11.8),
        ("uname", 13.0),
        ("getgid", 12.0),
        ("getpid", 12.5),
    ]);
    assert_eq!(shown(&window, &[]), "execve@41 connect@42 openat:15@40 geteuid×40@0 uname@43");
    // Seen, and so far as training could tell as rare.
    assert_eq!(shown(&[("execve", 10.2), ("uname", 13.0)], &["execve"]), "execve@0 uname@1");
    assert_eq!(shown(&[("execve", 10.2), ("uname", 14.0)], &["execve", "uname"]), "execve@0 uname@1");
    // What the model knows goes before the table.
    assert_eq!(shown(&[("execve", 4.2), ("uname", 5.1)], &["execve", "uname"]), "uname@1 execve@0");
    assert_eq!(shown(&[("execve", 5.2), ("uname", 5.9)], &["execve", "uname"]), "execve@0 uname@1");
    // The same call with other arguments is another one; a call is shown where it is most surprising, and as often.
    assert_eq!(
        shown(
            &[("read", 0.1), ("openat:1", 3.0), ("read", 6.1), ("openat:15", 3.1), ("read", 6.0)],
            &["read", "openat:1", "openat:15"]
        ),
        "read×2@2 openat:15@3 openat:1@1"
    );
    assert_eq!(shown(&[], &[]), "");
}

#[test]
fn kinds_are_of_calls_that_are_as_surprising_as_can_be() {
    let kinds = |calls: &[(&str, f32)], known: &[&str]| {
        let (window, evidence) = judged(calls, known);
        assert_eq!(evidence.window, window);
        evidence.kinds()
    };
    let of = |calls: &[&str]| calls.iter().fold(Kinds::default(), |all, c| all.either(Kinds::of(parse(c))));
    assert_eq!(kinds(&[("uname", 13.0), ("execve", 6.5), ("setuid:1", 6.0)], &[]), of(&["execve", "setuid:1"]));
    assert_eq!(kinds(&[("uname", 13.0), ("execve", 9.9), ("setuid:1", 10.0)], &["execve", "setuid:1"]), of(&["setuid:1"]));
    // However many others there are, the most telling are among those that are shown.
    let mut many: Vec<_> = (1..60).map(|n| (format!("kill:{n}"), 14.0)).collect();
    many.push(("execve".to_owned(), 6.0));
    let many: Vec<_> = many.iter().map(|(name, nats)| (name.as_str(), *nats)).collect();
    assert_eq!(kinds(&many, &[]), of(&["execve", "kill:1"]));
}

/// Why a call's `expected` may be empty: it was the likeliest itself. Nothing else, whichever call is shown.
#[test]
fn every_call_that_is_shown_says_what_was_expected() {
    // Sixty never-seen calls in a row, of which the telling one surprises the model least.
    let mut calls: Vec<_> = (1..61).map(|n| (format!("kill:{n}"), 14.0 - n as f32 / 20.0)).collect();
    calls.push(("execve".to_owned(), 6.1));
    calls.push(("read".to_owned(), 0.1));
    let calls: Vec<_> = calls.iter().map(|(name, nats)| (name.as_str(), *nats)).collect();
    let (_, evidence) = judged(&calls, &["read"]);
    assert!(evidence.surprises.iter().all(|s| !s.expected.is_empty()), "{evidence:?}");
    assert_eq!(evidence.to_proto().surprises[0].call, "execve");
    let (_, evidence) = judged(&[("read", 0.1)], &["read"]);
    assert!(evidence.surprises[0].expected.is_empty());
}

#[test]
fn any_number_is_a_time_or_none() {
    assert_eq!(timestamp_ns(0).map(|t| t.seconds), Some(0));
    assert_eq!(timestamp_ns(u64::MAX).map(|t| t.seconds), Some(18_446_744_073));
}
