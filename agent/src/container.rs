//! Who a container is, in the agent: its key and id, its names, the workload it belongs to, and whether anyone wants it.
//!
//! In: what [`crate::bundle`] and [`crate::procfs`] read. Out: [`ContainerInfo`], whose fields are those of the wire and of
//! recordings ([`surprisal_proto::container`]); [`Selection`]. Pure. Never: reads a file.

pub mod id;
pub mod info;
pub mod key;
pub mod selection;
pub mod workload;

pub use id::{BadId, ContainerId};
pub use info::{ContainerInfo, Watch};
pub use key::{ContainerKey, Membership};
pub use selection::{Answer, BadRule, Rule, Selection};
pub use surprisal_proto::container::{Kind, Names, Role};
