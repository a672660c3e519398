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
    assert_eq!(Selection::new(rules(include), rules(exclude)).wants(c), expect, "+{include:?} -{exclude:?}");
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
fn bad_rules_say_why() {
    for (text, expect) in [
        ("shop", "\"shop\" is not KEY=GLOB"),
        ("pods=x", "\"pods\" is none of namespace, pod, container, image, id, workload"),
        ("pod=[", "bad pattern"),
    ] {
        assert_eq!(text.parse::<Rule>().expect_err(text).to_string(), expect);
    }
}
