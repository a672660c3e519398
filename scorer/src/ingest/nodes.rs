//! What is known of nodes while they send: what was taken of their agents, how many streams they have.
//!
//! In: a node's name, an agent's instance. Out: the highest sequence taken of it; a place for one more stream. Never: more than
//! [`NODES`] nodes.

use lru::LruCache;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

/// Streams at once of one node: an agent has one, and old ones may linger where the network broke.
pub const STREAMS_OF_NODE: usize = 8;
/// Nodes whose agents' last sequences are remembered.
pub const NODES: NonZeroUsize = NonZeroUsize::new(8192).expect("not zero");
/// Agent instances of one node that are remembered.
pub const INSTANCES: usize = 4;
/// Highest sequence taken; locked while a batch is put into the queue, so that two streams of one instance
/// cannot both take it.
pub(super) type LastSequence = Arc<tokio::sync::Mutex<u64>>;

/// What is known of a node.
#[derive(Debug, Default)]
struct Known {
    /// Its last [`INSTANCES`] agents, latest last.
    instances: Vec<(String, LastSequence)>,
}

/// The nodes. Clones are of the same.
#[derive(Clone, Debug)]
pub(super) struct Nodes {
    known: Arc<Mutex<LruCache<String, Known>>>,
    streams: Arc<Mutex<HashMap<String, usize>>>,
}

/// One stream of a node; dropped when the stream ends.
#[derive(Debug)]
pub(super) struct OfNode {
    node: String,
    of: Arc<Mutex<HashMap<String, usize>>>,
}

impl Drop for OfNode {
    fn drop(&mut self) {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = of.get_mut(&self.node) {
            *n -= 1;
            if *n == 0 {
                of.remove(&self.node);
            }
        }
    }
}

impl Nodes {
    pub(super) fn new() -> Self {
        Self { known: Arc::new(Mutex::new(LruCache::new(NODES))), streams: Arc::default() }
    }

    /// The highest sequence taken of an agent; 0 where none is remembered.
    pub(super) fn last_sequence(&self, node: &str, instance: &str) -> LastSequence {
        let mut nodes = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &mut nodes.get_or_insert_mut(node.to_owned(), Known::default).instances;
        let found = known.iter().position(|(name, _)| name == instance);
        let entry = found.map_or_else(|| (instance.to_owned(), LastSequence::default()), |at| known.remove(at));
        let last = Arc::clone(&entry.1);
        if known.len() == INSTANCES {
            known.remove(0);
        }
        known.push(entry);
        last
    }

    /// One more stream of a node; `None`: it has as many as it may.
    pub(super) fn stream_of(&self, node: &str) -> Option<OfNode> {
        let mut of = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let n = of.entry(node.to_owned()).or_default();
        if *n >= STREAMS_OF_NODE {
            return None;
        }
        *n += 1;
        Some(OfNode { node: node.to_owned(), of: Arc::clone(&self.streams) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nodes_and_agents_that_are_remembered_are_bounded() {
        let nodes = Nodes::new();
        *nodes.last_sequence("n", "mine").lock().await = 7;
        for n in 0..INSTANCES - 1 {
            nodes.last_sequence("n", &format!("i{n}"));
        }
        assert_eq!(*nodes.last_sequence("n", "mine").lock().await, 7);
        // A million agents of another node change nothing for this one.
        for n in 0..1_000_000 {
            nodes.last_sequence("m", &n.to_string());
        }
        assert_eq!(*nodes.last_sequence("n", "mine").lock().await, 7);
        for n in 0..2 * NODES.get() {
            nodes.last_sequence(&format!("n{n}"), "i");
        }
        assert_eq!(nodes.known.lock().expect("not poisoned").len(), NODES.get());
        let mut streams: Vec<_> = (0..STREAMS_OF_NODE).map(|_| nodes.stream_of("n").expect("one more")).collect();
        assert!(nodes.stream_of("n").is_none());
        assert!(nodes.stream_of("m").is_some());
        streams.pop();
        assert!(nodes.stream_of("n").is_some());
        drop(streams);
        assert!(nodes.streams.lock().expect("not poisoned").is_empty());
    }
}
