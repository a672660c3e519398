//! Tests of `plot`.

use super::*;
use crate::evaluate::data::File;
use crate::evaluate::data::tests::traces;

#[test]
fn several_methods_stand_in_one_picture() {
    let curve = |good: f64| metrics::roc(&[0.0, 0.2, 0.4, 0.9], &[0.1 + good, 0.5 + good, 0.8]);
    let curves = [("surprisal", curve(0.5)), ("stide <&>", curve(0.0))];
    for log in [false, true] {
        let svg = draw_roc("normal-only", &curves, log).expect("draws");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for text in ["ROC, normal-only", "surprisal, AUC 0.833", "stide &lt;&amp;&gt;, AUC", "false positive rate"] {
            assert!(svg.contains(text), "{text}");
        }
        // Each method's curve, and its sample in the legend.
        assert!(svg.matches("<polyline").count() >= 4);
        assert_eq!(svg, draw_roc("normal-only", &curves, log).expect("draws"), "the same bytes");
    }
}

#[test]
fn a_long_roc_is_thinned_and_keeps_its_ends() {
    let (normal, attack): (Vec<f64>, Vec<f64>) =
        ((0..50_000).map(f64::from).collect(), (0..50_000).map(|n| f64::from(n) + 20_000.5).collect());
    let steps = steps(&metrics::roc(&normal, &attack), &|x| x);
    assert!(steps.len() < 8000, "{}", steps.len());
    assert_eq!((steps[0].1, steps[steps.len() - 1]), (0.0, (1.0, 1.0)));
    assert!(steps.windows(2).all(|s| s[0].0 <= s[1].0 && s[0].1 <= s[1].1));
}

#[test]
fn attacks_are_shaded_and_the_threshold_is_drawn() {
    let unit = |recording, second, score| Unit { score, family: None, slot: Some((recording, 0, second)), at_ns: 0 };
    let file = |set, path: &str| File { set, path: path.into(), digest: [0; 32] };
    let mut data = traces(vec![], vec![]);
    data.files = vec![file(Set::NormalTest, "normal-test.jsonl"), file(Set::Attack, "attack/x.jsonl")];
    let units = [unit(0, 5, 1.0), unit(1, 100, 0.5), unit(1, 101, f64::INFINITY), unit(1, 102, 0.1)];
    let draw = |data: &DataSet, t| over_time(data, "stide", &units, t).expect("draws");
    let count = |svg: &str, what: &str| svg.matches(what).count();
    let bare = draw(&data, None);
    assert!(bare.contains("stide: attack/x.jsonl") && !bare.contains("normal-test"));
    data.attacks = vec![Attack { family: "a".into(), recording: 1, container: None, span: (100_500_000_000, 101_000_000_000) }];
    let shaded = draw(&data, None);
    assert_eq!(count(&shaded, "<rect"), count(&bare, "<rect") + 1);
    assert_eq!(count(&draw(&data, Some(0.3)), "<polyline"), count(&shaded, "<polyline") + 1);
    // Nothing to draw is drawn as nothing.
    assert!(over_time(&data, "m", &[], None).expect("draws").contains("</svg>"));
}
