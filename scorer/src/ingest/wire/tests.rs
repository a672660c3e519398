//! Tests of `wire`.

use super::*;

#[test]
fn takes_what_is_well_formed_and_counts_the_rest() {
    let calls = |id: &str, bytes: usize| v1::Calls {
        container_id: id.into(),
        tokens: vec![1; bytes],
        process: "a\nb".into(),
        ..v1::Calls::default()
    };
    let birth =
        |id: &str, pod: String| v1::Birth { container: Some(v1::Container { id: id.into(), pod, ..v1::Container::default() }) };
    let observed = |ratio| v1::Observed { container_id: "a".into(), ratio };
    let batch = v1::Batch {
        births: vec![
            birth("a", "p".into()),
            birth("", "p".into()),
            birth("b", "p".repeat(NAME_MAX + 1)),
            birth("c", "\n".into()),
            v1::Birth::default(),
        ],
        calls: vec![calls("a", 4), calls("a", 5), calls("with space", 6), calls(&"a".repeat(ID_MAX + 1), 2)],
        network: vec![v1::Network::default()],
        accounts: vec![v1::Account { container_id: "a".into(), ..v1::Account::default() }],
        observed: vec![observed(0.0), observed(1.0), observed(1.1), observed(f64::NAN)],
        deaths: vec![v1::Death { container_id: "é".into(), ended_at: None }],
        ..v1::Batch::default()
    };
    let batch = Batch::from(batch);
    assert_eq!(batch.observed.len(), 2);
    assert_eq!((batch.births.len(), batch.network.len(), batch.accounts.len(), batch.deaths.len()), (1, 0, 1, 0));
    let [c] = batch.calls.as_slice() else { panic!("one run of calls") };
    assert_eq!((c.tokens.as_slice(), c.process.as_str()), ([Token(0x0101), Token(0x0101)].as_slice(), "ab"));
    for (stage, reason, n) in [
        ("containers", "bad_id", 1),
        ("containers", "bad_name", 2),
        ("containers", "empty", 1),
        ("calls", "odd_tokens", 2),
        ("calls", "bad_id", 4),
        ("network", "bad_id", 1),
        ("observed", "bad_ratio", 2),
        ("deaths", "bad_id", 1),
    ] {
        let found = batch.left.iter().find(|l| (l.stage, l.reason) == (stage, reason));
        assert_eq!(found.map(|l| l.count), Some(n), "{stage} {reason}");
    }
}

#[test]
fn names_are_one_text_and_checked() {
    let name = |text: &str, argv0: &str, relative: bool, truncated: bool| v1::Name {
        container_id: "a".into(),
        text: text.into(),
        argv0: argv0.into(),
        relative,
        truncated,
        ..v1::Name::default()
    };
    for (name, expect) in [
        (name("/bin/bash", "", false, false), Ok("/bin/bash")),
        (name("/bin/busybox", "sh", false, false), Ok("/bin/busybox as sh")),
        (name("conf/x", "", true, true), Ok("conf/x… (relative)")),
        (v1::Name { late: true, ..name("/x", "", false, false) }, Ok("/x (read late)")),
        (name("", "", false, false), Err(Malformed::Empty)),
        (name("/a\n", "", false, false), Err(Malformed::Name)),
        (name("/a", "\u{1b}", false, false), Err(Malformed::Name)),
        (name(&"a".repeat(TEXT_MAX + 1), "", false, false), Err(Malformed::Name)),
        (name("/a", &"a".repeat(ARGV0_MAX + 1), false, false), Err(Malformed::Name)),
        (v1::Name { container_id: String::new(), ..name("/a", "", false, false) }, Err(Malformed::Id)),
    ] {
        let read = Name::try_from(name).map(|name| name.shown.to_string());
        assert_eq!(read, expect.map(str::to_owned));
    }
}

#[test]
fn labels_are_bounded() {
    let labelled = |n: usize, bytes: usize| {
        let labels = (0..n).map(|i| (format!("{i:04}"), "v".repeat(bytes))).collect();
        Birth::try_from(v1::Birth { container: Some(v1::Container { id: "a".into(), labels, ..v1::Container::default() }) })
    };
    assert!(labelled(LABELS_MAX, 20).is_ok() && labelled(1, LABEL_BYTES_MAX - 4).is_ok());
    for bad in [labelled(LABELS_MAX + 1, 1), labelled(1, LABEL_BYTES_MAX)] {
        assert!(matches!(bad, Err(Malformed::Name)), "{bad:?}");
    }
    let labels = [("a".to_owned(), "b\n".to_owned())].into();
    let bad =
        Birth::try_from(v1::Birth { container: Some(v1::Container { id: "a".into(), labels, ..v1::Container::default() }) });
    assert!(matches!(bad, Err(Malformed::Name)), "{bad:?}");
}

#[test]
fn sandboxes_and_the_unnamed_have_no_workload() {
    let birth = |workload: &str, kind: v1::container::Kind| {
        let about = v1::Container { id: "a".into(), workload: workload.into(), kind: kind.into(), ..v1::Container::default() };
        Birth::try_from(v1::Birth { container: Some(about) }).expect("well-formed").workload()
    };
    assert_eq!(birth("a/b/c", v1::container::Kind::Container).as_deref(), Some("a/b/c"));
    assert_eq!(birth("a/b/c", v1::container::Kind::Sandbox), None);
    assert_eq!(birth("", v1::container::Kind::Unspecified), None);
    let about = v1::Container { id: "a".into(), workload: "a/b/c".into(), own_kernel: true, ..v1::Container::default() };
    assert_eq!(Birth::try_from(v1::Birth { container: Some(about) }).expect("well-formed").workload(), None);
}
