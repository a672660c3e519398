//! Tests of `calibration`.

use super::*;
use proptest::prelude::*;

const UNSEEN: f64 = 12.0;

fn ask(windows_per_container_day: f64) -> Ask {
    let none = Score::new(0.0);
    Ask { windows_per_container_day, budget: 1.0, unseen_nats: UNSEEN, highest: none, left_out: none }
}

fn stretch(scores: &[f64]) -> Vec<Score> {
    scores.iter().map(|s| Score::new(*s)).collect()
}

fn run(scores: &[f64], day: f64) -> Calibration {
    calibrate(&[stretch(scores)], ask(day)).expect("a sample")
}

fn near(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-9, "{a} is not {b}");
}

/// Numbers from 0 to 1 in an order without bursts.
fn shuffled(n: u32) -> Vec<f64> {
    (0..n).map(|i| f64::from(i * 619 % n) / f64::from(n)).collect()
}

#[test]
fn reads_the_quantile_off_a_sample_that_suffices() {
    // 20 days of 50 windows: 20 alerts may lie above.
    let c = run(&shuffled(1000), 50.0);
    near(c.needed_quantile, 0.98);
    assert!(!c.extrapolated && c.tail.is_none() && c.expected_false_alarms.is_none());
    assert_eq!(c.promise, Promise::Measured);
    // No margin, and one above: the quantile itself is no alarm.
    near(c.threshold.nats(), 0.979);
    assert!(c.threshold.nats() > 0.979);
    near(c.held_out_container_days, 20.0);
    // 20 were seen: up to 29 are possible, a day 1.45.
    assert!((c.false_alarms_at_most.expect("known") - 1.45).abs() < 0.02, "{c:?}");
    near(c.mean, 0.4995);
    near(c.quantiles[3].q, 0.5);
    near(c.quantiles[3].score, 0.499);
    // What was trained on is an alarm neither.
    let c = calibrate(&[stretch(&shuffled(1000))], Ask { highest: Score::new(1.5), ..ask(50.0) }).expect("a sample");
    near(c.threshold.nats(), 1.5);
}

#[test]
fn bursts_are_one_alert_each() {
    // 2,000 windows, 40 days: 25 bursts of four high ones far from each other; the same four apart.
    let at = |burst: bool| -> Vec<f64> {
        let high = |i: usize| if burst { i % 80 < 4 + i % 3 } else { i % 20 == i / 100 };
        (0..2000).map(|i| if high(i) { 2.0 + i as f64 / 1e4 } else { 0.1 + (i % 7) as f64 / 100.0 }).collect()
    };
    let (bursts, apart) = (run(&at(true), 50.0), run(&at(false), 50.0));
    let index = |c: &Calibration| c.extremal_index.expect("known");
    assert!(index(&bursts) < 0.6 && index(&apart) > 0.9, "{} {}", index(&bursts), index(&apart));
    assert!(bursts.needed_quantile < apart.needed_quantile);
}

#[test]
fn follows_the_tail_beyond_it() {
    // An exponential sample with mean 0.2: its quantiles are known, -0.2 ln(1-q).
    let scores: Vec<_> = shuffled(1000).iter().map(|q| -0.2 * (1.0 - (q + 0.0005)).ln()).collect();
    let ask = Ask { unseen_nats: 8.0, ..ask(1e5) };
    let c = calibrate(&[stretch(&scores)], ask).expect("a sample");
    let expect = 0.2 * 1e5f64.ln();
    assert!((c.threshold.nats() - expect).abs() < 0.15 * expect, "{} is far from {expect}", c.threshold.nats());
    assert!(c.extrapolated && c.threshold.nats() > c.highest + c.margin);
    let expected = c.expected_false_alarms.expect("a tail");
    assert!((expected - 1.0).abs() < 1e-6, "{expected}");
    // No further than a hundred times the sample, whatever the budget; then it says that there will be more.
    let further = |day: f64| calibrate(&[stretch(&scores)], Ask { windows_per_container_day: day, ..ask }).expect("a sample");
    assert_eq!(further(1e6).threshold, further(1e9).threshold);
    assert!(further(1e6).expected_false_alarms > Some(5.0));
}

#[test]
fn says_what_the_budget_stands_on() {
    let flat: Vec<_> = shuffled(1000).iter().map(|q| 0.2 + 0.2 * q).collect();
    let promise = |scores: &[f64], day: f64| run(scores, day).promise;
    // Four days, none above: at most 3/4 a day.
    assert_eq!(promise(&flat, 250.0), Promise::Measured);
    near(run(&flat, 250.0).false_alarms_at_most.expect("known"), -0.05f64.ln() / 4.0);
    // A day; a minute; an hour with few windows.
    assert_eq!(promise(&flat, 1000.0), Promise::Extrapolated);
    assert_eq!(promise(&flat, 1440.0 * 1000.0), Promise::TooLittle);
    let few: Vec<_> = shuffled(100).iter().map(|q| -0.2 * (1.0 - (q + 0.005)).ln()).collect();
    assert_eq!(promise(&few, 2400.0), Promise::TooLittle);
    // A tail that reaches far beyond what half of a window may be.
    let wide: Vec<_> = shuffled(1000).iter().map(|q| -2.0 * (1.0 - (q + 0.0005)).ln()).collect();
    assert_eq!(promise(&wide, 1e4), Promise::CannotBeKept);
    assert!(run(&wide, 1e4).expected_false_alarms > Some(1.0));
}

#[test]
fn stays_between_the_maximum_and_the_ceiling() {
    // No tail at all.
    near(run(&[0.1; 100], 1e9).threshold.nats(), 0.1 + UNSEEN / 16.0);
    // A tail without end.
    near(run(&(0..100).map(f64::from).collect::<Vec<_>>(), 1e9).threshold.nats(), UNSEEN / 2.0);
    // A start that was learned less well than the loop; one that would have been, had it not been learned.
    let two = Score::new(2.0);
    for ask in [Ask { highest: two, ..ask(1e9) }, Ask { left_out: two, ..ask(1e9) }] {
        near(calibrate(&[stretch(&[0.1; 100])], ask).expect("a sample").threshold.nats(), 2.0 + UNSEEN / 16.0);
    }
    // One window, and one that is no number.
    near(run(&[0.5], 1e9).threshold.nats(), 0.5 + UNSEEN / 16.0);
    near(run(&[0.5, f64::NAN], 1e9).threshold.nats(), UNSEEN / 2.0);
}

#[test]
fn older_calibrations_are_read_and_promise_nothing() {
    let c = run(&[0.5; 100], 1e4);
    let mut json = serde_json::to_value(&c).expect("JSON");
    assert_eq!(serde_json::from_value::<Calibration>(json.clone()).expect("reads back"), c);
    let fields = json.as_object_mut().expect("an object");
    for new in
        ["left_out", "promise", "held_out_container_days", "extremal_index", "expected_false_alarms", "false_alarms_at_most"]
    {
        assert!(fields.remove(new).is_some(), "{new}");
    }
    fields["tail"] = serde_json::json!({ "from_q": 0.95, "from": 0.5, "mean_excess": 0.1 });
    let old: Calibration = serde_json::from_value(json).expect("reads");
    assert_eq!((old.promise, old.false_alarms_at_most, old.threshold), (Promise::Unstated, None, c.threshold));
}

#[test]
fn refuses_what_makes_no_sense() {
    assert_eq!(calibrate(&[], ask(1e6)), Err(CalibrationError::NoWindows));
    assert_eq!(calibrate(&[vec![], vec![]], ask(1e6)), Err(CalibrationError::NoWindows));
    for bad in [0.0, -1.0, f64::INFINITY] {
        let what = "windows per container-day";
        assert_eq!(calibrate(&[stretch(&[1.0])], ask(bad)), Err(CalibrationError::OutOfRange { what, value: bad }));
    }
}

proptest! {
    #[test]
    fn always_a_threshold_and_quantiles_ascend(scores in prop::collection::vec(0.0f64..30.0, 1..200), day in 1e-3f64..1e12) {
        let c = run(&scores, day);
        prop_assert!(c.threshold.nats() > 0.0 && c.threshold.nats() <= c.ceiling);
        prop_assert!(c.quantiles.windows(2).all(|w| w[0].score <= w[1].score));
        prop_assert!(c.false_alarms_at_most.is_some_and(|bound| bound.is_finite() && bound > 0.0));
        let json = serde_json::to_string(&c).expect("JSON");
        prop_assert_eq!(serde_json::from_str::<Calibration>(&json).expect("reads back").promise, c.promise);
        // A smaller budget never lowers the line.
        prop_assert!(run(&scores, day * 10.0).threshold.nats() >= c.threshold.nats() - 1e-9);
    }
}
