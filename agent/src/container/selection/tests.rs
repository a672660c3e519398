use super::*;
use crate::container::key::ContainerKey;
use surprisal_proto::container::{Kind, Names};

fn info(names: Names) -> ContainerInfo {
    ContainerInfo::named(ContainerKey(9), "node-1".into(), "c1".parse().expect("an id"), names, None)
}

fn pod() -> ContainerInfo {
    info(Names {
        namespace: "shop".into(),
        pod: "web-0".into(),
        name: "nginx".into(),
        image: "docker.io/library/nginx:1.27".into(),
        runtime_namespace: "k8s.io".into(),
        kind: Kind::Container,
        ..Names::default()
    })
}

#[track_caller]
fn check_selection(include: &[&str], exclude: &[&str], c: &ContainerInfo, expect: bool) {
    let rules = |texts: &[&str]| texts.iter().map(|t| t.parse().expect("a rule")).collect();
    let expect = if expect { Answer::Yes } else { Answer::No };
    assert_eq!(Selection::new(rules(include), rules(exclude)).answer(c), expect, "+{include:?} -{exclude:?}");
}

#[test]
fn selection() {
    let plain = info(Names { runtime_namespace: "default".into(), kind: Kind::Container, ..Names::default() });
    let unnamed = ContainerInfo::unnamed(ContainerKey(9), "n".into(), None, None);
    let sandbox = info(Names { kind: Kind::Sandbox, pod: "web-0".into(), ..Names::default() });
    for (include, exclude, c, expect) in [
        (&[][..], &[][..], &pod(), true),
        (&[], &[], &plain, true),
        (&[], &[], &unnamed, true),
        (&[], &[], &sandbox, false),
        (&["pod=web-*"], &[], &sandbox, false),
        (&["namespace=shop"], &[], &pod(), true),
        (&["namespace=k8s.io"], &[], &pod(), false),
        (&["namespace=default"], &[], &plain, true),
        (&["container=c?"], &[], &plain, true),
        (&["container=nginx"], &[], &pod(), true),
        (&["image=*nginx:*"], &[], &pod(), true),
        (&["workload=shop/*"], &[], &pod(), true),
        (&["id=c*"], &[], &pod(), true),
        // One key: any of its rules. Several keys: each of them.
        (&["pod=x", "pod=web-{0,1}"], &[], &pod(), true),
        (&["pod=web-0", "namespace=other"], &[], &pod(), false),
        (&["namespace=shop"], &["pod=web-0"], &pod(), false),
        (&[], &["image=*redis*"], &pod(), true),
        (&["namespace=*shop*"], &[], &unnamed, false),
    ] {
        check_selection(include, exclude, c, expect);
    }
}

#[test]
fn labels_decide_when_they_are_known() {
    let labelled = |watch: Watch| {
        let mut c = pod();
        c.watch = watch;
        if watch != Watch::Unknown {
            c.names.labels.insert("app.kubernetes.io/name".into(), "web-front".into());
        }
        c
    };
    let app = "label:app.kubernetes.io/name=web-*";
    for (include, exclude, watch, expect) in [
        (&[app][..], &[][..], Watch::Wanted, Answer::Yes),
        (&[app], &[], Watch::Unknown, Answer::NotYet),
        (&[app], &[], Watch::OptedOut, Answer::No),
        (&["label:app=*"], &[], Watch::Wanted, Answer::No),
        (&[], &[app], Watch::Wanted, Answer::No),
        (&[], &[app], Watch::Unknown, Answer::NotYet),
        (&[], &["label:tier=*"], Watch::Wanted, Answer::Yes),
        // What else is wrong with it decides at once.
        (&[app, "namespace=other"], &[], Watch::Unknown, Answer::No),
        (&[app], &["pod=web-0"], Watch::Unknown, Answer::No),
        (&["namespace=shop"], &[], Watch::Unknown, Answer::Yes),
        (&[], &[], Watch::OptedOut, Answer::No),
    ] {
        let rules = |texts: &[&str]| texts.iter().map(|t| t.parse().expect("a rule")).collect();
        let selection = Selection::new(rules(include), rules(exclude)).with_labels();
        assert_eq!(selection.answer(&labelled(watch)), expect, "+{include:?} -{exclude:?} {watch:?}");
        // Where nobody tells labels, nobody waits for them.
        if watch == Watch::Unknown {
            assert_ne!(Selection { labels_come: false, ..selection }.answer(&labelled(watch)), Answer::NotYet);
        }
    }
    let plain = info(Names { runtime_namespace: "default".into(), kind: Kind::Container, ..Names::default() });
    assert_eq!(Selection::new(vec![app.parse().expect("a rule")], Vec::new()).with_labels().answer(&plain), Answer::No);
}

#[test]
fn bad_rules_say_why() {
    for (text, expect) in [
        ("shop", "\"shop\" is not KEY=GLOB"),
        ("pods=x", "\"pods\" is none of namespace, pod, container, image, id, workload, label:NAME"),
        ("label:=x", "\"label:\" is none of namespace, pod, container, image, id, workload, label:NAME"),
        ("pod=[", "bad pattern"),
    ] {
        assert_eq!(text.parse::<Rule>().expect_err(text).to_string(), expect);
    }
}
