//! Tests of `table`.

use super::*;

#[test]
fn what_a_workload_chose_cannot_steer_a_terminal() {
    let container = v1::Container { id: "\u{1b}[2Jabc".into(), pod: "p\u{7}".into(), ..v1::Container::default() };
    let row = v1::Score { container: Some(container), unscored_reason: "a\nb".into(), ..v1::Score::default() };
    for text in [scores(std::slice::from_ref(&row)), score(&row), watch_row(&row)] {
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    }
}

#[test]
fn a_list_has_a_row_for_each_container() {
    let row = |id: &str, verdict: v1::Verdict, score: Option<f64>| v1::Score {
        container: Some(v1::Container { id: id.into(), node: "n".into(), ..v1::Container::default() }),
        verdict: verdict.into(),
        score,
        threshold: Some(2.0),
        ..v1::Score::default()
    };
    let text = scores(&[row("0123456789abcdef", v1::Verdict::Anomalous, Some(3.25)), row("b", v1::Verdict::Normal, Some(0.5))]);
    let words: Vec<Vec<_>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(words[0][..6], ["NAMESPACE", "POD", "CONTAINER", "ID", "NODE", "VERDICT"]);
    assert_eq!(words[1][3..8], ["0123456789ab", "n", "anomalous", "3.250", "2.000"]);
    assert_eq!(words[2][3..8], ["b", "n", "normal", "0.500", "2.000"]);
}

#[test]
fn what_a_verdict_does_not_rest_on_is_said() {
    let row = |observed_ratio, judged_ratio, ended| v1::Score {
        verdict: v1::Verdict::Normal.into(),
        observed_ratio,
        judged_ratio,
        ended,
        ..v1::Score::default()
    };
    for (row, expect) in [
        (row(None, None, false), "normal"),
        (row(Some(0.4), None, false), "normal, observed 40 %"),
        (row(Some(0.999), Some(0.25), true), "normal, observed 99 %, judged 25 %, ended"),
    ] {
        assert_eq!(said(&row), expect);
        assert!(watch_row(&row).contains(expect) && score(&row).contains(expect), "{expect}");
        assert!(scores(&[row]).contains(expect), "{expect}");
    }
}

#[test]
fn evidence_is_read_from_left_to_right() {
    let surprise = v1::Surprise {
        call: "execve".into(),
        probability: 2e-6,
        surprisal: 13.122,
        after: ["fork", "a", "b", "c", "setsid"].map(String::from).to_vec(),
        expected: vec![v1::Expected { call: "close".into(), probability: 0.97 }],
        never_seen: true,
        times: 3,
        effect: "runs another program".into(),
        ..v1::Surprise::default()
    };
    let plain = v1::Surprise { call: "read".into(), probability: 0.5, surprisal: 0.693, times: 1, ..v1::Surprise::default() };
    let window = v1::Evidence {
        tgid: 10,
        tid: 11,
        process: "bash".into(),
        score: 6.25,
        novelty: 1.5,
        calls: 40,
        surprises: vec![surprise, plain],
        ..v1::Evidence::default()
    };
    let all = |verdict: v1::Verdict| {
        let evidence = vec![window.clone()];
        score(&v1::Score { evidence, verdict: verdict.into(), threshold: Some(7.0), ..v1::Score::default() })
    };
    let text = all(v1::Verdict::Normal);
    let shown: Vec<_> = text.lines().skip_while(|l| !l.starts_with("6.250")).collect();
    assert_eq!(
        shown,
        [
            "6.250 nats/call (1.500 of it for calls that training never saw together): process bash (pid 10, tid 11), 40 calls from number 0 at -",
            "   13.12 nats  execve ×3: runs another program  (p = 2.0e-6, never seen in training)",
            "               after a, b, c, setsid",
            "               expected close 97%",
            "    0.69 nats  read  (p = 5.0e-1)",
        ]
    );
    let by_exec = v1::Evidence { by_exec: true, ..window.clone() };
    let text = score(&v1::Score { evidence: vec![by_exec], ..v1::Score::default() });
    assert!(text.contains("process bash (pid 10, tid 11, by exec), 40 calls"), "{text}");
    // Not what caused the alarm.
    let below = all(v1::Verdict::Anomalous);
    assert!(below.contains("\n6.250 nats/call, below the threshold (1.500 of it"), "{below}");
}
