//! Who a container is: the one list of what is known of it.
//!
//! In: what the agent found out, a line of a recording, or the wire's message. Out: any other of these. Pure.
//! Never: guesses a name (that is the agent's `container::workload`).
//!
//! A recording's `container` line is [`Container`] as serde writes it. The wire has [`v1::Container`]; the conversions below
//! name every field, so a field that is added to one side and forgotten on the other does not compile.
//!
//! **Absence**: an empty string, [`Kind::Unknown`] and `None` mean "not known", never "known to be empty". A plain container
//! has no Kubernetes names, so its [`Names::namespace`], [`Names::pod`], [`Names::pod_uid`] and [`Names::name`] stay empty.

mod kind;

pub use kind::{Kind, Role};

use crate::{time, v1};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One container on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// The runtime's container id, usually 64 hexadecimal digits. Never empty.
    pub id: String,
    /// Name of the node that runs it. Never empty.
    pub node: String,
    /// What it is called.
    #[serde(flatten)]
    pub names: Names,
    /// When its first process was executed. `None`: it ran before the agent did. A recording does not keep it.
    #[serde(skip)]
    pub started_at: Option<Timestamp>,
}

/// What a container is called, and what it is: from its runtime's bundle, and from Kubernetes where that answers (the owner in
/// `workload`, and all from `owner_kind` on).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Names {
    /// Kubernetes namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Pod name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pod: String,
    /// Pod UID.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pod_uid: String,
    /// Container name inside the pod.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Image reference, as the runtime was given it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// The runtime's own namespace: "k8s.io", "default", "moby".
    #[serde(skip_serializing_if = "String::is_empty")]
    pub runtime_namespace: String,
    /// What shares a profile, "namespace/owner/container". Never empty once the container is named.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub workload: String,
    /// Kind; a recording only says whether it is a sandbox.
    #[serde(rename = "sandbox", with = "kind::sandbox", skip_serializing_if = "Kind::is_not_sandbox")]
    pub kind: Kind,
    /// A sandboxed runtime (gVisor, Kata) holds it, with a kernel of its own: its calls are the sandbox's, not the container's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub own_kernel: bool,
    /// Kind of the pod's owner, as Kubernetes says it: "Deployment", "Node" (a static pod), "Pod" (nobody owns it), a custom kind.
    /// Empty: the owner in `workload` is guessed from the pod's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner_kind: String,
    /// Digest of the image, "sha256:…", as Kubernetes says it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image_digest: String,
    /// What it is in its pod.
    #[serde(skip_serializing_if = "Role::is_unknown")]
    pub role: Role,
    /// How often Kubernetes has restarted the container of this name in this pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u32>,
    /// The pod's labels; at most [`LABELS_MAX`] and [`LABEL_BYTES_MAX`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Labels that are carried of a pod, at most.
pub const LABELS_MAX: usize = 64;

/// Bytes of names and values of a pod's labels that are carried, at most.
pub const LABEL_BYTES_MAX: usize = 2048;

impl Names {
    /// Kubernetes has said who owns the pod. Otherwise the owner is guessed.
    pub fn is_owner_known(&self) -> bool {
        !self.owner_kind.is_empty()
    }
}

impl From<Container> for v1::Container {
    fn from(container: Container) -> Self {
        let Container { id, node, names, started_at } = container;
        let Names {
            namespace,
            pod,
            pod_uid,
            name,
            image,
            runtime_namespace,
            workload,
            kind,
            own_kernel,
            owner_kind,
            image_digest,
            role,
            restarts,
            labels,
        } = names;
        Self {
            id,
            node,
            namespace,
            pod,
            pod_uid,
            name,
            image,
            runtime_namespace,
            workload,
            kind: v1::container::Kind::from(kind).into(),
            started_at: started_at.map(time::to_wire),
            own_kernel,
            owner_kind,
            image_digest,
            role: v1::container::Role::from(role).into(),
            restarts,
            labels,
        }
    }
}

/// What a message must say of a container and does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadContainer {
    /// No id.
    #[error("a container has no id")]
    NoId,
    /// No node.
    #[error("a container has no node")]
    NoNode,
    /// A start that is no time.
    #[error("a container's start is out of range")]
    StartedAt,
}

/// A kind or a role of a later version reads as unknown.
impl TryFrom<v1::Container> for Container {
    type Error = BadContainer;

    fn try_from(message: v1::Container) -> Result<Self, BadContainer> {
        let (kind, role) = (message.kind().into(), message.role().into());
        let v1::Container {
            id,
            node,
            namespace,
            pod,
            pod_uid,
            name,
            image,
            runtime_namespace,
            workload,
            kind: _as_above,
            started_at,
            own_kernel,
            owner_kind,
            image_digest,
            role: _as_above_too,
            restarts,
            labels,
        } = message;
        if id.is_empty() {
            return Err(BadContainer::NoId);
        }
        if node.is_empty() {
            return Err(BadContainer::NoNode);
        }
        let started_at = started_at.map(|at| time::from_wire(at).ok_or(BadContainer::StartedAt)).transpose()?;
        let names = Names {
            namespace,
            pod,
            pod_uid,
            name,
            image,
            runtime_namespace,
            workload,
            kind,
            own_kernel,
            owner_kind,
            image_digest,
            role,
            restarts,
            labels,
        };
        Ok(Self { id, node, names, started_at })
    }
}

#[cfg(test)]
mod tests;
