//! One container on this node, as all stages of the agent pass it on.
//!
//! In: key, id and names. Out: [`ContainerInfo`], and the same for the wire and for recordings. Pure.

use super::{id::ContainerId, key::ContainerKey, workload};
use jiff::Timestamp;
use std::sync::Arc;
use surprisal_proto::{
    container::{Container, Kind, Names},
    v1,
};

/// One container on this node: [`Container`], with a parsed id, a shared node name and the kernel's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerInfo {
    /// What the kernel side calls it.
    pub key: ContainerKey,
    /// The runtime's id; `unnamed-<key>` where not even that is known.
    pub id: ContainerId,
    /// This node's name.
    pub node: Arc<str>,
    /// What it is called. All empty: its bundle was not read (yet).
    pub names: Names,
    /// When its first process was executed. `None`: it ran before the agent did.
    pub started_at: Option<Timestamp>,
    /// Whether it is to be followed, as its pod or namespace says. Stays on the node.
    pub watch: Watch,
}

/// What Kubernetes says of following a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watch {
    /// Nothing (yet): its pod is not known, nor are its labels.
    #[default]
    Unknown,
    /// Its pod is known, and nothing speaks against it.
    Wanted,
    /// An annotation of its pod or namespace speaks against it.
    OptedOut,
}

impl ContainerInfo {
    /// A container whose bundle was read. Its workload is guessed here.
    pub fn named(key: ContainerKey, node: Arc<str>, id: ContainerId, names: Names, started_at: Option<Timestamp>) -> Self {
        let names = Names { workload: workload::guess(&names, &id, &node), ..names };
        Self { key, id, node, names, started_at, watch: Watch::Unknown }
    }

    /// A container of which nothing but perhaps the id is known.
    pub fn unnamed(key: ContainerKey, node: Arc<str>, id: Option<ContainerId>, started_at: Option<Timestamp>) -> Self {
        let id = id.unwrap_or_else(|| ContainerId::unnamed(key));
        Self { key, id, node, names: Names::default(), started_at, watch: Watch::Unknown }
    }

    /// Its bundle was read.
    pub fn is_named(&self) -> bool {
        self.names.kind != Kind::Unknown
    }

    /// As the wire carries it.
    pub fn to_wire(&self) -> v1::Container {
        self.to_container().into()
    }

    /// As a recording spells it: without its start.
    pub fn to_recording(&self) -> Container {
        Container { started_at: None, ..self.to_container() }
    }

    /// What leaves the node; the key means nothing elsewhere.
    fn to_container(&self) -> Container {
        let Self { key: _, id, node, names, started_at, watch: _ } = self;
        Container { id: id.to_string(), node: node.to_string(), names: names.clone(), started_at: *started_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_says_what_is_known() {
        let at = Timestamp::from_millisecond(-1).expect("in range");
        let names = Names { pod: "web-0".into(), kind: Kind::Container, ..Names::default() };
        let named = ContainerInfo::named(ContainerKey(9), "n".into(), "c1".parse().expect("an id"), names, Some(at));
        let wire = named.to_wire();
        assert_eq!((wire.id.as_str(), wire.workload.as_str()), ("c1", "-/web/-"));
        assert_eq!(wire.kind, v1::container::Kind::Container as i32);
        assert_eq!(wire.started_at, Some(prost_types::Timestamp { seconds: -1, nanos: 999_000_000 }));
        let unnamed = ContainerInfo::unnamed(ContainerKey(255), "n".into(), None, None).to_wire();
        assert_eq!((unnamed.id.as_str(), unnamed.workload.as_str(), unnamed.kind), ("unnamed-ff", "", 0));
    }

    #[test]
    fn a_recording_has_no_start() {
        let unnamed = ContainerInfo::unnamed(ContainerKey(1), "n".into(), None, Some(Timestamp::UNIX_EPOCH));
        assert_eq!(unnamed.to_recording().started_at, None);
    }
}
