//! Tests of `compare`.

use super::*;
use crate::evaluate::baseline::method::{Example, Kind as Baseline, Method};
use crate::evaluate::data::Set;
use crate::evaluate::data::tests::{trace, traces};
use crate::evaluate::protocol::tests::FirstCall;
use crate::evaluate::report::Style;
use crate::evaluate::scores::write;

fn options(seed: u64) -> Options {
    Options {
        figures: figures::Options { fpr: 0.1, resamples: 50, seed },
        one_fit: false,
        folds: None,
        group_duplicates: false,
        allow_leakage: false,
        timings: false,
        seed,
    }
}

/// Normal traces count up from 1; attacks count down.
fn data() -> DataSet {
    let calls = |n: u64, attack: bool| -> Vec<u16> {
        let up = (0..20).map(|i| (i + n as u16) % 30);
        if attack { up.rev().collect() } else { up.collect() }
    };
    let train = (0..40).map(|n| trace(Set::NormalTrain, n, None, &calls(n % 25, false))).collect();
    let test = (0..20).map(|n| trace(Set::NormalTest, n, None, &calls(n % 4 + 25, false)));
    let attack = (0..12).map(|n| trace(Set::Attack, n, Some(if n < 6 { "a" } else { "b" }), &calls(n, true)));
    traces(train, test.chain(attack).collect())
}

/// A fake that cannot be fitted.
struct Broken;

impl Fitter for Broken {
    fn key(&self) -> &'static str {
        "broken"
    }
    fn fit(&self, _: &[Example<'_>], _: u64, _: &Progress) -> Result<Box<dyn Method>, Unfit> {
        Err(Unfit::Failed("no luck".into()))
    }
    fn fit_labelled(&self, _: &[Example<'_>], _: &[Example<'_>], _: u64, _: &Progress) -> Result<Box<dyn Method>, Unfit> {
        Err(Unfit::NotApplicable("it has no use for labels".into()))
    }
}

fn judge(data: &DataSet, fitters: &[Box<dyn Fitter>], options: Options) -> Result<Report, EvaluateError> {
    evaluate("d", data, &Reading::default(), fitters, options, &Progress::default()).map(|(report, _)| report)
}

#[test]
fn each_method_has_its_place_in_each_protocol() {
    let fitters: Vec<Box<dyn Fitter>> = vec![Box::new(Broken), Box::new(Baseline::Stide), Box::new(Baseline::DecisionTree)];
    let report = judge(&data(), &fitters, Options { folds: Some(3), ..options(1) }).expect("judges");
    let json: serde_json::Value = serde_json::from_str(&report.json().expect("writes")).expect("is JSON");
    let normal = &json["protocols"]["normal-only"];
    assert_eq!(normal["broken"]["failed"], "fitting: no luck");
    assert!(normal["decision-tree"]["not_applicable"].is_string());
    // Every pair of calls of an attack is one that training never saw; none of a normal trace is.
    for (key, value) in
        [("auc", 1.0), ("tpr_at_fpr_0.001", 1.0), ("tpr_at_fpr_0.01", 1.0), ("tpr_at_fpr_0.05", 1.0), ("recall", 1.0)]
    {
        assert_eq!(normal["stide"][key], value, "{key}");
    }
    for key in ["auc_interval", "threshold", "fpr", "precision", "accuracy", "f1", "families", "grain", "held_out"] {
        assert!(!normal["stide"][key].is_null(), "{key}");
    }
    let labelled = &json["protocols"]["labelled-cv"];
    assert_eq!(labelled["broken"]["not_applicable"], "it has no use for labels");
    assert_eq!(labelled["decision-tree"]["attack"], 12);
    assert_eq!((labelled["decision-tree"]["normal"].as_u64(), json["folds"]["folds"].as_u64()), (Some(60), Some(3)));
    assert!(json["folds"]["duplicates_across_folds"].as_u64() > Some(0));
    assert!(json["timings"].is_null());
    for style in [Style::Plain, Style::Markdown] {
        let text = report.tables(style);
        for line in ["broken: fitting: no luck", "broken: it has no use for labels", "recall by family"] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = |seed| {
        let fitters: Vec<Box<dyn Fitter>> =
            vec![Box::new(Baseline::Ngram), Box::new(Baseline::IsolationForest), Box::new(Baseline::RandomForest)];
        let report = judge(&data(), &fitters, Options { folds: Some(2), ..options(seed) }).expect("judges");
        (report.json().expect("writes"), report.tables(Style::Plain))
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn leakage_is_refused_unless_told() {
    let mut data = data();
    data.test.push(data.train[3].clone());
    let fitters = || -> Vec<Box<dyn Fitter>> { vec![Box::new(FirstCall::default())] };
    let refused = judge(&data, &fitters(), options(1)).expect_err("refused");
    assert_eq!(
        chain(&refused),
        "data set: 0 file(s), 1 normal trace(s) and 0 attack trace(s) are both trained on and judged (first: f:3 = f:3); \
         --allow-leakage judges it all the same"
    );
    let report = judge(&data, &fitters(), Options { allow_leakage: true, ..options(1) }).expect("judges");
    assert_eq!(report.data.leakage.normal_test_traces, 1);
    assert!(report.tables(Style::Plain).contains("leakage: 0 file(s), 1 normal trace(s)"));
}

#[test]
fn too_few_traces_or_recordings_have_no_folds() {
    let refused = |data: &DataSet, folds| {
        let error = judge(data, &[], Options { folds: Some(folds), ..options(1) }).expect_err("refused");
        chain(&error)
    };
    assert_eq!(refused(&data(), 13), "60 normal traces and 12 attack traces cannot be parted into 13 folds");
    let recordings = DataSet { kind: Kind::Recordings, ..data() };
    assert!(refused(&recordings, 2).starts_with("--labelled-folds is for traces"));
}

#[test]
fn every_score_is_written_with_what_it_is_of() {
    let fitters: Vec<Box<dyn Fitter>> = vec![Box::new(Baseline::Stide)];
    let data = data();
    let (_, said) = evaluate("d", &data, &Reading::default(), &fitters, options(1), &Progress::default()).expect("judges");
    let mut out = Vec::new();
    write(&data, &said, &mut out).expect("memory");
    let text = String::from_utf8(out).expect("is text");
    let rows: Vec<Vec<&str>> = text.lines().map(|l| l.split('\t').collect()).collect();
    assert_eq!(rows[0], ["protocol", "method", "grain", "set", "family", "name", "score"]);
    // A fifth of 40 held out, 20 normal, 12 attacks.
    let of = |set: &str| rows.iter().filter(|r| r[3] == set).count();
    assert_eq!((of("normal-train"), of("normal-test"), of("attack"), rows.len()), (8, 20, 12, 41));
    assert_eq!(rows[40], ["normal-only", "stide", "trace", "attack", "b", "f:11", "1"]);
}
