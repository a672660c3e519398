use super::*;
use crate::{
    container::{ContainerKey, Kind},
    kubernetes::{owner::Owner, pod::WATCH},
};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use surprisal_proto::container::Role;

fn name() -> PodName {
    ("shop".into(), "web-7d4b9c6f5-x2k8p".into())
}

fn facts(owner: Option<(&str, &str)>, annotations: &serde_json::Value) -> PodFacts {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"uid": "u1", "labels": {"app": "web"}, "annotations": annotations},
        "spec": {"containers": [{"name": "app"}]},
        "status": {"containerStatuses": [{"name": "app", "image": "a", "imageID": "a@sha256:0a", "ready": true, "restartCount": 1}]},
    }))
    .expect("a pod");
    PodFacts::new(&pod, owner.map(|(kind, name)| Owner { kind: kind.into(), name: name.into() }))
}

fn container(uid: &str) -> Arc<ContainerInfo> {
    let (namespace, pod) = name();
    let names = Names { namespace, pod, pod_uid: uid.into(), name: "app".into(), kind: Kind::Container, ..Names::default() };
    ContainerInfo::named(ContainerKey(7), "n".into(), "c1".parse().expect("an id"), names, None).into()
}

#[test]
fn a_pod_dresses_its_containers() {
    let directory = Directory::default();
    let bare = container("u1");
    assert!(Arc::ptr_eq(&directory.dress(&bare), &bare), "nothing is known");
    directory.put(name(), facts(Some(("Rollout", "front")), &json!({})));
    let dressed = directory.dress(&bare);
    let names = &dressed.names;
    assert_eq!((names.workload.as_str(), names.owner_kind.as_str()), ("shop/front/app", "Rollout"));
    assert_eq!((names.image_digest.as_str(), names.role, names.restarts), ("sha256:0a", Role::Main, Some(1)));
    assert_eq!((names.labels.len(), dressed.watch), (1, Watch::Wanted));
    // Another pod of the same name, as a StatefulSet makes them: its containers wait for the right one.
    let other = container("u2");
    assert!(Arc::ptr_eq(&directory.dress(&other), &other));
    // An owner that cannot be told is guessed, also where there was one before.
    directory.put(name(), facts(None, &json!({})));
    let guessed = directory.dress(&dressed);
    assert_eq!((guessed.names.workload.as_str(), guessed.names.owner_kind.as_str()), ("shop/web/app", ""));
}

#[test]
fn a_pods_annotation_wins_over_its_namespaces() {
    let (out, wanted, nothing) = (json!({WATCH: "false"}), json!({WATCH: "true"}), json!({}));
    for (pod, namespace, expect) in [
        (&nothing, None, Watch::Wanted),
        (&nothing, Some(false), Watch::OptedOut),
        (&nothing, Some(true), Watch::Wanted),
        (&out, None, Watch::OptedOut),
        (&out, Some(true), Watch::OptedOut),
        (&wanted, Some(false), Watch::Wanted),
    ] {
        let directory = Directory::default();
        directory.put(name(), facts(None, pod));
        directory.put_namespace("shop", namespace);
        assert_eq!(directory.dress(&container("u1")).watch, expect, "{pod} {namespace:?}");
    }
}

#[test]
fn only_what_changed_is_told() {
    let directory = Directory::default();
    let changed = |directory: &Directory| directory.take_changed().len();
    directory.put(name(), facts(None, &json!({})));
    assert_eq!((changed(&directory), changed(&directory)), (1, 0));
    directory.put(name(), facts(None, &json!({"kubectl.kubernetes.io/restartedAt": "now"})));
    assert_eq!(changed(&directory), 0, "nothing that is kept");
    directory.put_namespace("shop", Some(false));
    directory.put_namespace("other", Some(false));
    assert_eq!(changed(&directory), 1);
    directory.put_namespace("shop", Some(false));
    assert_eq!(changed(&directory), 0);
    // A complete list without it.
    directory.keep_namespaces(&HashSet::from(["other".to_owned()]));
    assert_eq!(changed(&directory), 1);
    directory.keep_pods(&HashSet::new());
    assert_eq!((directory.report().pods, changed(&directory)), (0, 0));
}

#[test]
fn bounds_hold_and_what_has_no_room_is_counted() {
    let directory = Directory::default();
    for n in 0..=PODS_MAX {
        directory.put(("shop".into(), n.to_string()), PodFacts::default());
    }
    for n in 0..=NAMESPACES_MAX {
        directory.put_namespace(&n.to_string(), Some(false));
    }
    assert_eq!((directory.report().pods, directory.report().refused), (PODS_MAX as u64, 2));
    directory.remove(&("shop".into(), "0".into()));
    directory.put(name(), PodFacts::default());
    assert_eq!((directory.report().pods, directory.report().refused), (PODS_MAX as u64, 2));
}

#[tokio::test]
async fn states() {
    let directory = Directory::default();
    assert_eq!(directory.state(), State::Off);
    directory.first_lists().await;
    directory.asked();
    assert_eq!(directory.state(), State::Asking);
    assert!(directory.failed(Watched::Pods, "no".into()) && !directory.failed(Watched::Pods, "no!".into()));
    assert_eq!((directory.state(), directory.report().failures), (State::Failing("no!".into()), 2));
    assert!(directory.answered(Watched::Pods) && !directory.answered(Watched::Pods));
    let waiter = tokio::spawn({
        let directory = directory.clone();
        async move { directory.first_lists().await }
    });
    directory.listed(Watched::Pods);
    tokio::task::yield_now().await;
    assert_eq!((directory.state(), waiter.is_finished()), (State::Asking, false));
    directory.listed(Watched::Namespaces);
    waiter.await.expect("it comes back");
    assert_eq!(directory.state(), State::Answering);
}
