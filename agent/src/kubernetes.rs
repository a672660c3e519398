//! What Kubernetes says of this node's pods: the one door to its API server.
//!
//! In: [`Source`]: where the API server is, if anywhere. Out: a [`Directory`] that the capture thread looks into: owners, labels,
//! image digests, what each container is in its pod, and who opted out. Never: waited for. A container whose pod is not known
//! (yet) goes by its bundle's names and a guessed owner, and is corrected when its pod becomes known.
//!
//! | module | in | out |
//! |---|---|---|
//! | `watch` | the API server | objects as they change |
//! | `pod` | an object | what is kept of a pod |
//! | `owner` | owner references | who owns a pod in the end |
//! | `directory` | pods, namespaces | names for a container |
//! | `figures` | the directory | metrics |
//!
//! Only this node's pods are watched (`spec.nodeName`), all namespaces' metadata, and a ReplicaSet's or Job's metadata is asked for
//! once. Memory is bounded: [`PODS_MAX`] pods of [`POD_BYTES`], as many owners, [`NAMESPACES_MAX`] namespaces that say something.

mod directory;
mod figures;
mod owner;
mod pod;
mod source;
mod watch;

pub use directory::{Directory, NAMESPACES_MAX, PODS_MAX, Report, State};
pub use figures::register;
pub use pod::{POD_BYTES, WATCH};
pub use source::{BadSource, Source};
pub use watch::watch;
