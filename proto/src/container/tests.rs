use super::*;
use crate::recording::Line;

/// Every field set.
fn whole(kind: Kind) -> Container {
    Container {
        id: "c1".into(),
        node: "node-1".into(),
        names: Names {
            namespace: "shop".into(),
            pod: "web-0".into(),
            pod_uid: "7c3b".into(),
            name: "nginx".into(),
            image: "nginx:1.27".into(),
            runtime_namespace: "k8s.io".into(),
            workload: "shop/web/nginx".into(),
            kind,
            own_kernel: true,
            owner_kind: "StatefulSet".into(),
            image_digest: "sha256:00".into(),
            role: Role::Sidecar,
            restarts: Some(2),
            labels: BTreeMap::from([("app".into(), "web".into())]),
        },
        started_at: Some(Timestamp::from_millisecond(-1).expect("in range")),
    }
}

#[test]
fn the_wire_loses_nothing() {
    for kind in [Kind::Unknown, Kind::Container, Kind::Sandbox] {
        let container = whole(kind);
        assert_eq!(Container::try_from(v1::Container::from(container.clone())), Ok(container));
    }
    let bare = Container { id: "c1".into(), node: "n".into(), ..Container::default() };
    assert_eq!(Container::try_from(v1::Container::from(bare.clone())), Ok(bare));
}

#[test]
fn the_wire_is_not_believed() {
    let good = v1::Container::from(whole(Kind::Container));
    let time = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
    for (message, expect) in [
        (v1::Container { id: String::new(), ..good.clone() }, BadContainer::NoId),
        (v1::Container { node: String::new(), ..good.clone() }, BadContainer::NoNode),
        (v1::Container { started_at: Some(time), ..good.clone() }, BadContainer::StartedAt),
    ] {
        assert_eq!(Container::try_from(message), Err(expect));
    }
    let later = Container::try_from(v1::Container { kind: 99, ..good }).expect("a container");
    assert_eq!(later.names.kind, Kind::Unknown);
}

#[track_caller]
fn check_recorded(container: Container, text: &str) {
    assert_eq!(serde_json::to_string(&Line::Container(container.clone())).expect("JSON"), text);
    let Line::Container(read) = serde_json::from_str(text).expect("a line") else { panic!("{text} is no container") };
    let kind = if container.names.kind.is_sandbox() { Kind::Sandbox } else { Kind::Unknown };
    assert_eq!(read, Container { names: Names { kind, ..container.names }, started_at: None, ..container });
}

#[test]
fn a_recording_spells_it_as_it_always_did() {
    check_recorded(
        whole(Kind::Sandbox),
        r#"{"type":"container","id":"c1","node":"node-1","namespace":"shop","pod":"web-0","pod_uid":"7c3b","name":"nginx","image":"nginx:1.27","runtime_namespace":"k8s.io","workload":"shop/web/nginx","sandbox":true,"own_kernel":true,"owner_kind":"StatefulSet","image_digest":"sha256:00","role":"sidecar","restarts":2,"labels":{"app":"web"}}"#,
    );
    check_recorded(
        whole(Kind::Container),
        r#"{"type":"container","id":"c1","node":"node-1","namespace":"shop","pod":"web-0","pod_uid":"7c3b","name":"nginx","image":"nginx:1.27","runtime_namespace":"k8s.io","workload":"shop/web/nginx","own_kernel":true,"owner_kind":"StatefulSet","image_digest":"sha256:00","role":"sidecar","restarts":2,"labels":{"app":"web"}}"#,
    );
    check_recorded(Container::default(), r#"{"type":"container","id":"","node":""}"#);
    // `false` and unknown keys, as others may write them.
    let text = r#"{"type":"container","id":"c1","sandbox":false,"colour":"red"}"#;
    let Line::Container(read) = serde_json::from_str(text).expect("a line") else { panic!("no container") };
    assert_eq!(read, Container { id: "c1".into(), ..Container::default() });
}
