//! What is said of a container: a verdict, and the evidence behind it. *Pure.*
//!
//! In: scores, thresholds, what the model said of each call. Out: [`Verdict`]s and [`Evidence`].
//! Never: a name of a container; who it is about is kept elsewhere.
//!
//! Which calls of a window are shown, and in which order:
//! 1. Calls that are the same (argument class and all) are one, the first where it was most surprising, with how
//!    often it was that: a call made fifty times must not hide what was made once.
//! 2. Surprisals are compared in whole nats, and from [`BEYOND`] on they are equal, as are those of all calls that
//!    training never saw. A profile learns from some ten thousand to two hundred thousand calls: it has not measured what
//!    happens more rarely than one call in so many, and of calls that it never saw it knows nothing that would tell one
//!    from another (they share the unknown class evenly; where they differ it is by how used to strange calls the
//!    model has got within the window).
//! 3. Among equals, what changes what a process is or can do comes first ([`telling`]), then the higher surprisal,
//!    then the earlier call.
//!
//! None of this touches a score.

pub mod telling;

use crate::detect::model::{Encoded, Judged};
use crate::detect::score::Score;
use crate::detect::vocab::Vocabulary;
use crate::detect::window::Window;
use crate::judge::threshold::Threshold;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use surprisal_proto::{names, token::Token, v1};

/// Calls shown of a window.
pub const SHOWN: usize = 5;
/// Calls of a window, the most surprising ones, at which a model says what it expected instead: so many that
/// repetitions leave enough of others. Of the rest only the surprisal is known.
pub const CANDIDATES: usize = 24;
/// From here on surprisals are equal, nats: one call in 22,026.
pub const BEYOND: f64 = 10.0;
/// Windows whose score is at least this share of the highest are close to it.
const CLOSE: f64 = 0.5;
/// Calls shown before a surprising one.
pub const AFTER: usize = 8;
/// Calls shown that were expected instead.
pub const EXPECTED: usize = 3;

/// What is said of a container now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Its score is below the threshold.
    Normal,
    /// Its score is at or above the threshold.
    Anomalous,
    /// There is no score.
    Unscored(Reason),
}

/// Why there is no score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The agent has not said which workload it belongs to.
    NotNamed,
    /// No profile for its workload.
    NoProfile,
    /// It has made no call that arrived.
    NoCalls,
    /// Calls arrived, but no window of them is complete.
    NoWindow,
    /// Windows were cut by gaps or shed under load, and none was scored.
    Starved,
    /// It made calls before, but none in the recent past.
    Quiet,
}

impl Reason {
    /// For people; part of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotNamed => "not named yet",
            Self::NoProfile => "no profile",
            Self::NoCalls => "no calls yet",
            Self::NoWindow => "no window yet",
            Self::Starved => "starved",
            Self::Quiet => "quiet",
        }
    }
}

/// What is known of a container that bears on its verdict.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Its workload is known.
    pub named: bool,
    /// The threshold in force; `None`: no profile.
    pub threshold: Option<Threshold>,
    /// Its score now.
    pub score: Option<Score>,
    /// Calls taken in.
    pub calls: u64,
    /// Windows scored by the profile that is in force.
    pub windows: u64,
    /// Windows that were not scored because of a gap or of overload.
    pub starved: u64,
}

/// Judges.
pub fn judge(facts: Facts) -> Verdict {
    match (facts.threshold, facts.score) {
        (None, _) if !facts.named => Verdict::Unscored(Reason::NotNamed),
        (None, _) => Verdict::Unscored(Reason::NoProfile),
        (Some(threshold), Some(score)) if score.nats() >= threshold.nats() => Verdict::Anomalous,
        (Some(_), Some(_)) => Verdict::Normal,
        (Some(_), None) => Verdict::Unscored(match facts {
            Facts { calls: 0, .. } => Reason::NoCalls,
            Facts { windows: 0, starved: 0, .. } => Reason::NoWindow,
            Facts { windows: 0, .. } => Reason::Starved,
            _ => Reason::Quiet,
        }),
    }
}

/// One window, and what in it was surprising.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The window.
    pub window: Window,
    /// Its score.
    pub score: Score,
    /// How much of the score its set of calls counts for, nats a call.
    pub novelty: f64,
    /// Most surprising first, the more telling first among equals; at most [`SHOWN`], no call twice.
    pub surprises: Vec<Surprise>,
}

/// One surprising call.
#[derive(Clone, Debug, PartialEq)]
pub struct Surprise {
    /// Its place in the window; where it was made several times, the first where it was most surprising.
    pub index: usize,
    /// −ln of its probability.
    pub nats: f64,
    /// How often this call was made in the window and was as surprising, at least 1.
    pub times: u32,
    /// Training never saw the call.
    pub never_seen: bool,
    /// What was likelier, likeliest first, with probabilities; empty where the model did not say.
    pub expected: Vec<(Token, f64)>,
}

/// Surprisal in whole nats, as far as it tells calls apart.
fn level(nats: f64, never_seen: bool) -> u8 {
    if never_seen { BEYOND as u8 } else { nats.clamp(0.0, BEYOND) as u8 }
}

/// Collects the evidence of a window that a model has judged. With the score: how much of it the set of calls counts for.
pub fn evidence(
    window: &Window,
    encoded: &Encoded,
    judged: &Judged,
    (score, novelty): (Score, f64),
    vocabulary: &Vocabulary,
) -> Evidence {
    // Each call once, with its highest level.
    let mut calls: BTreeMap<Token, (u8, Surprise)> = BTreeMap::new();
    for (index, (call, nats)) in window.calls.iter().zip(&judged.nll).enumerate() {
        let (nats, never_seen) = (f64::from(*nats), !vocabulary.contains(*call));
        let level = level(nats, never_seen);
        let surprise = Surprise { index, nats, times: 1, never_seen, expected: Vec::new() };
        calls
            .entry(*call)
            .and_modify(|(highest, first)| match level.cmp(highest) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => first.times += 1,
                std::cmp::Ordering::Greater => (*highest, *first) = (level, surprise.clone()),
            })
            .or_insert((level, surprise));
    }
    let mut calls: Vec<_> = calls.into_iter().collect();
    calls.sort_by(|(a, (level_a, x)), (b, (level_b, y))| {
        let key = |call: &Token, level: &u8| (Reverse(*level), telling::rank(*call));
        key(a, level_a).cmp(&key(b, level_b)).then(y.nats.total_cmp(&x.nats)).then(x.index.cmp(&y.index))
    });
    calls.truncate(SHOWN);
    let surprises = calls.into_iter().map(|(_, (_, surprise))| {
        let expected = expected(surprise.index, encoded, judged, vocabulary);
        Surprise { expected, ..surprise }
    });
    Evidence { window: window.clone(), score, novelty, surprises: surprises.collect() }
}

/// What should have stood there: not the call itself, nor a class without a name.
fn expected(index: usize, encoded: &Encoded, judged: &Judged, vocabulary: &Vocabulary) -> Vec<(Token, f64)> {
    let class = encoded.scored().get(index).copied();
    let Some(position) = judged.top.iter().find(|p| p.index == index) else { return Vec::new() };
    position
        .expected
        .iter()
        .filter(|(c, _)| Some(*c) != class)
        .filter_map(|(c, p)| vocabulary.token(*c).map(|t| (t, f64::from(*p))))
        .take(EXPECTED)
        .collect()
}

/// Which windows are shown, at most `most`, highest score first: always the highest, then, of those whose score is
/// at least half of it, such as are of another process (by name) than those already taken, then of another
/// thread, then by score. Three times the same thread doing the same says no more than once.
///
/// `who`: a window's process name and its thread.
pub fn different<E, P: PartialEq, T: PartialEq>(
    mut windows: Vec<(Score, E)>,
    most: usize,
    who: impl Fn(&E) -> (P, T),
) -> Vec<(Score, E)> {
    windows.sort_by(|a, b| b.0.nats().total_cmp(&a.0.nats()));
    let Some(close) = windows.first().map(|(highest, _)| highest.nats() * CLOSE) else { return windows };
    let mut taken: Vec<(Score, E)> = Vec::with_capacity(most);
    while taken.len() < most && !windows.is_empty() {
        let same = |(_, e): &(Score, E)| {
            let (process, thread) = who(e);
            let mut known = taken.iter().map(|(_, t)| who(t));
            let (processes, threads): (Vec<_>, Vec<_>) = known.by_ref().map(|(p, t)| (p == process, t == thread)).unzip();
            (processes.contains(&true), threads.contains(&true))
        };
        // Of equals the first is the highest: the windows are in order.
        let next = (0..windows.len()).filter(|i| windows[*i].0.nats() >= close).min_by_key(|i| same(&windows[*i])).unwrap_or(0);
        taken.push(windows.remove(next));
    }
    taken.sort_by(|a, b| b.0.nats().total_cmp(&a.0.nats()));
    taken
}

/// Nanoseconds since the Unix epoch as the wire has them; absent where a hostile number is no time of day.
pub fn timestamp_ns(ns: u64) -> Option<prost_types::Timestamp> {
    let seconds = i64::try_from(ns / 1_000_000_000).ok()?;
    Some(prost_types::Timestamp { seconds, nanos: (ns % 1_000_000_000) as i32 })
}

impl Evidence {
    /// As the wire has it; who made the calls is the caller's to add.
    pub fn to_proto(&self) -> v1::Evidence {
        let w = &self.window;
        let surprises = self.surprises.iter().map(|s| {
            let before = w.context.len() + s.index;
            let after = (before.saturating_sub(AFTER)..before).filter_map(|i| self.call(i)).map(names::words).collect();
            v1::Surprise {
                call: names::words(w.calls[s.index]),
                token: u32::from(w.calls[s.index].0),
                sequence: w.first_sequence.saturating_add(s.index as u64),
                probability: (-s.nats).exp(),
                surprisal: s.nats,
                after,
                expected: s.expected.iter().map(|(t, p)| v1::Expected { call: names::words(*t), probability: *p }).collect(),
                never_seen: s.never_seen,
                times: s.times,
                effect: telling::effect(w.calls[s.index]).to_owned(),
            }
        });
        v1::Evidence {
            first_sequence: w.first_sequence,
            at: timestamp_ns(w.started_ns),
            score: self.score.nats(),
            novelty: self.novelty,
            calls: w.calls.len() as u32,
            surprises: surprises.collect(),
            ..v1::Evidence::default()
        }
    }

    fn call(&self, i: usize) -> Option<Token> {
        self.window.context.iter().chain(&self.window.calls).nth(i).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::model::Position;

    #[test]
    fn verdicts() {
        let t = |n: f64| Threshold::try_from(n).ok();
        let s = |n: f64| Some(Score::new(n));
        let unscored = Verdict::Unscored;
        for (named, threshold, score, calls, windows, starved, expect) in [
            (true, t(2.0), s(1.9), 100, 2, 0, Verdict::Normal),
            (true, t(2.0), s(2.0), 100, 2, 0, Verdict::Anomalous),
            (true, t(2.0), s(f64::NAN), 100, 2, 0, Verdict::Anomalous),
            (false, None, None, 100, 0, 0, unscored(Reason::NotNamed)),
            (true, None, s(9.0), 100, 2, 0, unscored(Reason::NoProfile)),
            (true, t(2.0), None, 0, 0, 0, unscored(Reason::NoCalls)),
            (true, t(2.0), None, 9, 0, 0, unscored(Reason::NoWindow)),
            (true, t(2.0), None, 99, 0, 4, unscored(Reason::Starved)),
            (true, t(2.0), None, 99, 1, 4, unscored(Reason::Quiet)),
        ] {
            assert_eq!(judge(Facts { named, threshold, score, calls, windows, starved }), expect);
        }
    }

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
        let shown = evidence(&window, &encoded, &judged, (Score::new(0.8), 0.25), &vocabulary).to_proto();
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

    /// Calls as recordings spell them, each with its surprisal; the vocabulary is `known`. Shows the evidence as
    /// "call" or "call×times".
    fn shown(calls: &[(&str, f32)], known: &[&str]) -> String {
        let parse = |name: &str| names::parse(name).expect("a call");
        let vocabulary = Vocabulary::new(known.iter().map(|name| parse(name)));
        let window = Window {
            first_sequence: 0,
            started_ns: 0,
            from_start: true,
            context: vec![],
            calls: calls.iter().map(|(name, _)| parse(name)).collect(),
        };
        let encoded = Encoded::new(&window, &vocabulary);
        let judged = Judged { nll: calls.iter().map(|(_, nats)| *nats).collect(), top: Vec::new() };
        let evidence = evidence(&window, &encoded, &judged, (Score::new(1.0), 0.0), &vocabulary);
        let one = |s: &Surprise| {
            let name = names::spell(window.calls[s.index]);
            assert!((f64::from(judged.nll[s.index]) - s.nats).abs() < 1e-9);
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
    fn windows_of_other_processes_and_threads_come_first_where_scores_are_close() {
        let pick = |windows: &[(f64, &str, u32)]| {
            let windows = windows.iter().map(|(score, process, tid)| (Score::new(*score), (*process, *tid))).collect();
            let taken = different(windows, 3, |(process, tid)| (*process, *tid));
            taken.iter().map(|(score, (process, tid))| format!("{process}{tid}={}", score.nats())).collect::<Vec<_>>().join(" ")
        };
        // The same thread three times, another thread, another process.
        let windows = [(9.0, "sh", 1), (8.0, "sh", 1), (7.0, "sh", 1), (6.0, "sh", 2), (5.0, "cat", 3)];
        assert_eq!(pick(&windows), "sh1=9 sh2=6 cat3=5");
        // What scores less than half is not close: then the score alone counts.
        assert_eq!(pick(&[(9.0, "sh", 1), (8.0, "sh", 1), (7.0, "sh", 1), (4.4, "cat", 3)]), "sh1=9 sh1=8 sh1=7");
        assert_eq!(pick(&[(1.0, "sh", 1), (0.2, "sh", 1), (0.4, "cat", 3)]), "sh1=1 cat3=0.4 sh1=0.2");
        assert_eq!(pick(&[(f64::NAN, "sh", 1), (2.0, "sh", 1)]), "sh1=inf sh1=2");
        assert_eq!(pick(&[]), "");
    }

    #[test]
    fn any_number_is_a_time_or_none() {
        assert_eq!(timestamp_ns(0).map(|t| t.seconds), Some(0));
        assert_eq!(timestamp_ns(u64::MAX).map(|t| t.seconds), Some(18_446_744_073));
    }
}
