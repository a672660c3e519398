//! What is kept of a pod.
//!
//! In: a pod as the API server sends it, its owner. Out: [`PodFacts`], a few hundred bytes of the many kilobytes. Pure.

use super::owner::Owner;
use k8s_openapi::api::core::v1 as core;
use std::collections::BTreeMap;
use surprisal_proto::container::{LABEL_BYTES_MAX, LABELS_MAX, Role};

/// The annotation of a pod or of a namespace that says whether its containers are followed: "true" or "false". A pod's wins over its
/// namespace's.
pub const WATCH: &str = "surprisal.dev/watch";

/// A static pod's uid is the hash of its file, which its mirror in the API has as an annotation.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";

/// Names and digests longer than this are not believed: Kubernetes allows no longer ones.
const NAME_MAX: usize = 253;
/// Nor is a container's name longer than this.
const CONTAINER_NAME_MAX: usize = 63;
/// Containers of a pod that are remembered.
const CONTAINERS_MAX: usize = 32;

/// Most memory that a remembered pod takes: labels with their places in the map, two names of its owner, its containers.
pub const POD_BYTES: usize = 24 << 10;

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PodFacts {
    /// Uids that its containers may have been given.
    uids: Vec<String>,
    /// Who owns it; `None`: it could not be told.
    pub(super) owner: Option<Owner>,
    /// Its labels, within their bounds.
    pub(super) labels: BTreeMap<String, String>,
    /// What its own annotation says; `None`: nothing.
    pub(super) watch: Option<bool>,
    containers: Vec<ContainerFacts>,
}

/// One of its containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContainerFacts {
    name: String,
    pub(super) role: Role,
    /// "sha256:…"; empty: not known yet.
    pub(super) digest: String,
    /// `None`: it has no status yet.
    pub(super) restarts: Option<u32>,
}

impl PodFacts {
    /// From the API server's pod.
    pub(super) fn new(pod: &core::Pod, owner: Option<Owner>) -> Self {
        let meta = &pod.metadata;
        let annotation = |key: &str| meta.annotations.as_ref()?.get(key).map(String::as_str);
        let uids = meta.uid.iter().map(String::as_str).chain(annotation(CONFIG_HASH)).map(str::to_owned).collect();
        Self {
            uids,
            owner: owner.filter(|owner| is_name(&owner.kind) && is_name(&owner.name)),
            labels: bounded(meta.labels.clone().unwrap_or_default()),
            watch: annotation(WATCH).and_then(said),
            containers: containers(pod),
        }
    }

    /// Whether a container that was given this pod uid is one of its own. An empty one is believed.
    pub(super) fn is(&self, uid: &str) -> bool {
        uid.is_empty() || self.uids.iter().any(|own| own == uid)
    }

    /// Its container of this name.
    pub(super) fn container(&self, name: &str) -> Option<&ContainerFacts> {
        self.containers.iter().find(|c| c.name == name)
    }
}

/// What an annotation's value says; `None`: nothing that is understood.
pub(super) fn said(value: &str) -> Option<bool> {
    value.trim().to_ascii_lowercase().parse().ok()
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_MAX && !text.chars().any(char::is_control)
}

/// The first labels that have room.
fn bounded(labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut bytes = 0;
    let fits = |(key, value): &(String, String)| {
        let more = key.len() + value.len();
        let fits = bytes + more <= LABEL_BYTES_MAX && !key.chars().chain(value.chars()).any(char::is_control);
        bytes += if fits { more } else { 0 };
        fits
    };
    labels.into_iter().filter(fits).take(LABELS_MAX).collect()
}

fn containers(pod: &core::Pod) -> Vec<ContainerFacts> {
    let (spec, status) = (pod.spec.clone().unwrap_or_default(), pod.status.clone().unwrap_or_default());
    let init = spec.init_containers.unwrap_or_default().into_iter().map(|c| {
        let sidecar = c.restart_policy.as_deref() == Some("Always");
        (c.name, if sidecar { Role::Sidecar } else { Role::Init })
    });
    let main = spec.containers.into_iter().map(|c| (c.name, Role::Main));
    let ephemeral = spec.ephemeral_containers.unwrap_or_default().into_iter().map(|c| (c.name, Role::Ephemeral));
    let statuses: Vec<_> = [status.init_container_statuses, status.container_statuses, status.ephemeral_container_statuses]
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    let facts = |(name, role): (String, Role)| {
        let status = statuses.iter().find(|s| s.name == name);
        ContainerFacts {
            role,
            digest: status.map(|s| digest(&s.image_id)).unwrap_or_default(),
            restarts: status.and_then(|s| u32::try_from(s.restart_count).ok()),
            name,
        }
    };
    let believed = |(name, _): &(String, Role)| is_name(name) && name.len() <= CONTAINER_NAME_MAX;
    init.chain(main).chain(ephemeral).filter(believed).take(CONTAINERS_MAX).map(facts).collect()
}

/// From `docker-pullable://repository@sha256:…`, `repository@sha256:…` or `sha256:…`.
fn digest(image_id: &str) -> String {
    let id = image_id.rsplit_once('@').map_or(image_id, |(_, digest)| digest);
    let id = id.rsplit_once("://").map_or(id, |(_, digest)| digest);
    if id.contains(':') && is_name(id) { id.to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(value: serde_json::Value) -> PodFacts {
        let pod: core::Pod = serde_json::from_value(value).expect("a pod");
        PodFacts::new(&pod, Some(Owner { kind: "Deployment".into(), name: "web".into() }))
    }

    #[test]
    fn what_is_kept() {
        let facts = pod(json!({
            "metadata": {"uid": "u1", "labels": {"app": "web"},
                "annotations": {"surprisal.dev/watch": " False", "kubernetes.io/config.hash": "h1", "other": "x"}},
            "spec": {
                "initContainers": [{"name": "migrate"}, {"name": "proxy", "restartPolicy": "Always"}],
                "containers": [{"name": "app"}, {"name": "new"}],
                "ephemeralContainers": [{"name": "debugger"}],
            },
            "status": {
                "initContainerStatuses": [{"name": "proxy", "image": "p", "imageID": "sha256:0b", "ready": true, "restartCount": 0}],
                "containerStatuses": [{"name": "app", "image": "a", "imageID": "docker.io/library/a@sha256:0a", "ready": true, "restartCount": 3}],
            },
        }));
        assert_eq!((facts.is("u1"), facts.is("h1"), facts.is(""), facts.is("u2")), (true, true, true, false));
        assert_eq!((facts.watch, facts.labels.get("app").map(String::as_str)), (Some(false), Some("web")));
        for (name, role, digest, restarts) in [
            ("migrate", Role::Init, "", None),
            ("proxy", Role::Sidecar, "sha256:0b", Some(0)),
            ("app", Role::Main, "sha256:0a", Some(3)),
            ("new", Role::Main, "", None),
            ("debugger", Role::Ephemeral, "", None),
        ] {
            let facts = facts.container(name).expect("one of them");
            assert_eq!((facts.role, facts.digest.as_str(), facts.restarts), (role, digest, restarts), "{name}");
        }
        assert_eq!(facts.container("pause"), None);
    }

    #[test]
    fn an_empty_pod_says_nothing() {
        let facts = pod(json!({"metadata": {}}));
        assert_eq!((facts.watch, facts.labels.len(), facts.containers.len()), (None, 0, 0));
        assert!(!facts.is("u1"));
    }

    #[test]
    fn labels_are_bounded() {
        let many: BTreeMap<_, _> = (0..100).map(|n| (format!("k{n:03}"), "v".to_owned())).collect();
        assert_eq!(bounded(many).len(), LABELS_MAX);
        let long: BTreeMap<_, _> =
            [("a", 1000), ("b", 1000), ("c", 1000), ("d", 20)].map(|(k, n)| (k.into(), "v".repeat(n))).into();
        assert_eq!(bounded(long).into_keys().collect::<String>(), "abd");
        assert!(bounded(BTreeMap::from([("a\n".into(), "v".into())])).is_empty());
    }

    #[test]
    fn annotations_say_yes_or_no_or_nothing() {
        for (value, expect) in [("false", Some(false)), ("True ", Some(true)), ("no", None), ("", None)] {
            assert_eq!(said(value), expect, "{value:?}");
        }
    }

    #[test]
    fn digests() {
        for (id, expect) in
            [("docker-pullable://nginx@sha256:aa", "sha256:aa"), ("docker://sha256:aa", "sha256:aa"), ("", ""), ("nginx", "")]
        {
            assert_eq!(digest(id), expect, "{id}");
        }
    }
}
