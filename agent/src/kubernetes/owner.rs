//! Who owns a pod in the end: what people call the workload.
//!
//! In: owner references. Out: an [`Owner`], or whom to ask for the next one. Pure.
//!
//! A Deployment owns its pods through a ReplicaSet for each version of its template, a CronJob through a Job for each run. Those two are
//! looked behind; any other controller is the owner itself, custom ones among them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// The label with which a Deployment tells its ReplicaSets apart, and the end of their names.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// A workload's owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// "Deployment", "StatefulSet", …; "Pod": nobody owns it, "Node": it is static.
    pub(super) kind: String,
    /// Its name.
    pub(super) name: String,
}

/// What is made anew for each version or run, so that its own owner is what stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Between {
    /// A Deployment's, mostly.
    ReplicaSet,
    /// A CronJob's, perhaps.
    Job,
}

/// As far as a pod's own references lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Above {
    /// All the way.
    Owner(Owner),
    /// To one that may be owned itself.
    Between(Between, String),
}

/// From a pod's metadata.
pub(super) fn above(pod: &ObjectMeta, node: &str) -> Above {
    let name = pod.name.clone().unwrap_or_default();
    let Some(controller) = controller(pod) else { return Above::Owner(Owner { kind: "Pod".into(), name }) };
    match (controller.api_version.as_str(), controller.kind.as_str()) {
        ("apps/v1", "ReplicaSet") => Above::Between(Between::ReplicaSet, controller.name.clone()),
        ("batch/v1", "Job") => Above::Between(Between::Job, controller.name.clone()),
        // A static pod's mirror is called after its node, too.
        (_, "Node") => {
            let owner = name.strip_suffix(node).and_then(|rest| rest.strip_suffix('-')).filter(|rest| !rest.is_empty());
            Above::Owner(Owner { kind: "Node".into(), name: owner.unwrap_or(&name).to_owned() })
        }
        (_, kind) => Above::Owner(Owner { kind: kind.to_owned(), name: controller.name.clone() }),
    }
}

/// From the metadata of what stands between a pod and its owner.
pub(super) fn behind(between: Between, meta: &ObjectMeta) -> Owner {
    match controller(meta) {
        Some(owner) => Owner { kind: owner.kind.clone(), name: owner.name.clone() },
        None => Owner {
            kind: match between {
                Between::ReplicaSet => "ReplicaSet",
                Between::Job => "Job",
            }
            .to_owned(),
            name: meta.name.clone().unwrap_or_default(),
        },
    }
}

/// Without asking: a ReplicaSet that is called after its pods' template hash is a Deployment's. `None`: it cannot be told.
pub(super) fn without_asking(between: Between, name: &str, pod: &ObjectMeta) -> Option<Owner> {
    if between != Between::ReplicaSet {
        return None;
    }
    let hash = pod.labels.as_ref()?.get(TEMPLATE_HASH).filter(|hash| !hash.is_empty())?;
    let owner = name.strip_suffix(hash.as_str())?.strip_suffix('-').filter(|rest| !rest.is_empty())?;
    Some(Owner { kind: "Deployment".into(), name: owner.to_owned() })
}

fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.as_ref()?.iter().find(|owner| owner.controller == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn owned(name: &str, by: Option<(&str, &str, &str)>) -> ObjectMeta {
        let reference = |(api, kind, name): (&str, &str, &str)| OwnerReference {
            api_version: api.into(),
            kind: kind.into(),
            name: name.into(),
            controller: Some(true),
            ..OwnerReference::default()
        };
        // Whoever else refers to it is not its controller.
        let other = OwnerReference { kind: "Other".into(), name: "o".into(), ..OwnerReference::default() };
        let owners = std::iter::once(other).chain(by.map(reference)).collect();
        ObjectMeta { name: Some(name.into()), owner_references: Some(owners), ..ObjectMeta::default() }
    }

    fn owner(kind: &str, name: &str) -> Owner {
        Owner { kind: kind.into(), name: name.into() }
    }

    #[test]
    fn from_a_pod() {
        for (pod, by, expect) in [
            ("redis", None, Above::Owner(owner("Pod", "redis"))),
            ("web-0", Some(("apps/v1", "StatefulSet", "web")), Above::Owner(owner("StatefulSet", "web"))),
            ("d-x2k8p", Some(("apps/v1", "DaemonSet", "d")), Above::Owner(owner("DaemonSet", "d"))),
            ("rc-x2k8p", Some(("v1", "ReplicationController", "rc")), Above::Owner(owner("ReplicationController", "rc"))),
            ("etcd-node-1", Some(("v1", "Node", "node-1")), Above::Owner(owner("Node", "etcd"))),
            ("node-1", Some(("v1", "Node", "node-1")), Above::Owner(owner("Node", "node-1"))),
            ("k-1", Some(("kafka.strimzi.io/v1", "StrimziPodSet", "k")), Above::Owner(owner("StrimziPodSet", "k"))),
            // Somebody else's kind of the same name is not looked behind.
            ("x-1", Some(("example.org/v1", "Job", "x")), Above::Owner(owner("Job", "x"))),
            ("w-7d-x", Some(("apps/v1", "ReplicaSet", "w-7d")), Above::Between(Between::ReplicaSet, "w-7d".into())),
            ("j-x2k8p", Some(("batch/v1", "Job", "j")), Above::Between(Between::Job, "j".into())),
        ] {
            assert_eq!(above(&owned(pod, by), "node-1"), expect, "{pod}");
        }
    }

    #[test]
    fn from_what_stands_between() {
        for (between, meta, expect) in [
            (Between::ReplicaSet, owned("w-7d", Some(("apps/v1", "Deployment", "w"))), owner("Deployment", "w")),
            (Between::ReplicaSet, owned("w-7d", Some(("argoproj.io/v1alpha1", "Rollout", "w"))), owner("Rollout", "w")),
            (Between::ReplicaSet, owned("bare", None), owner("ReplicaSet", "bare")),
            (Between::Job, owned("c-28450730", Some(("batch/v1", "CronJob", "c"))), owner("CronJob", "c")),
            (Between::Job, owned("once", None), owner("Job", "once")),
        ] {
            assert_eq!(behind(between, &meta), expect);
        }
    }

    #[test]
    fn a_template_hash_speaks_of_a_deployment() {
        for (between, name, hash, expect) in [
            (Between::ReplicaSet, "web-7d4b9c6f5", Some("7d4b9c6f5"), Some(owner("Deployment", "web"))),
            (Between::ReplicaSet, "web-7d4b9c6f5", Some("55555"), None),
            (Between::ReplicaSet, "7d4b9c6f5", Some("7d4b9c6f5"), None),
            (Between::ReplicaSet, "web-", Some(""), None),
            (Between::ReplicaSet, "web-7d4b9c6f5", None, None),
            (Between::Job, "web-7d4b9c6f5", Some("7d4b9c6f5"), None),
        ] {
            let labels = hash.map(|hash| BTreeMap::from([(TEMPLATE_HASH.to_owned(), hash.to_owned())]));
            assert_eq!(without_asking(between, name, &ObjectMeta { labels, ..ObjectMeta::default() }), expect, "{name} {hash:?}");
        }
    }
}
