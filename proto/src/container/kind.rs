//! What kind of thing the runtime runs, and what it is in its pod.
//!
//! In: words of the runtime and of Kubernetes. Out: [`Kind`] and [`Role`], for the wire and for recordings. Pure.

use crate::v1;
use serde::{Deserialize, Serialize};

/// What kind of thing the runtime runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Not known: the bundle could not be read (yet).
    #[default]
    Unknown,
    /// An ordinary container.
    Container,
    /// A pod sandbox ("pause"): it only holds namespaces.
    Sandbox,
}

impl Kind {
    /// Whether it is a pod sandbox, which nobody scores.
    pub fn is_sandbox(self) -> bool {
        self == Self::Sandbox
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn is_not_sandbox(&self) -> bool {
        !self.is_sandbox()
    }
}

/// `"sandbox": true`, or nothing.
pub(super) mod sandbox {
    use super::Kind;
    use serde::{Deserialize as _, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(crate) fn serialize<S: Serializer>(kind: &Kind, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bool(kind.is_sandbox())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Kind, D::Error> {
        Ok(if bool::deserialize(d)? { Kind::Sandbox } else { Kind::Unknown })
    }
}

impl From<Kind> for v1::container::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Unknown => Self::Unspecified,
            Kind::Container => Self::Container,
            Kind::Sandbox => Self::Sandbox,
        }
    }
}

impl From<v1::container::Kind> for Kind {
    fn from(kind: v1::container::Kind) -> Self {
        match kind {
            v1::container::Kind::Unspecified => Self::Unknown,
            v1::container::Kind::Container => Self::Container,
            v1::container::Kind::Sandbox => Self::Sandbox,
        }
    }
}

/// What a container is in its pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Kubernetes has not said it.
    #[default]
    Unknown,
    /// It runs as long as the pod does.
    Main,
    /// It runs to its end before the main ones start.
    Init,
    /// It starts before the main ones and runs beside them.
    Sidecar,
    /// A person has added it to the running pod (`kubectl debug`).
    Ephemeral,
}

impl Role {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}

impl From<Role> for v1::container::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Unknown => Self::Unspecified,
            Role::Main => Self::Main,
            Role::Init => Self::Init,
            Role::Sidecar => Self::Sidecar,
            Role::Ephemeral => Self::Ephemeral,
        }
    }
}

impl From<v1::container::Role> for Role {
    fn from(role: v1::container::Role) -> Self {
        match role {
            v1::container::Role::Unspecified => Self::Unknown,
            v1::container::Role::Main => Self::Main,
            v1::container::Role::Init => Self::Init,
            v1::container::Role::Sidecar => Self::Sidecar,
            v1::container::Role::Ephemeral => Self::Ephemeral,
        }
    }
}
