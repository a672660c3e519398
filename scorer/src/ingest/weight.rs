//! How much a batch holds. *Pure.*
//!
//! In: a message that anyone may have written. Out: whether it is of a usual size, what it takes in memory. Never: a refusal.

use crate::ingest::wire::{Birth, Calls, ID_MAX, Name};
use surprisal_proto::v1;

/// Most births, runs of calls, counters and so on in one batch: an encoded one may take two bytes, its decoded form a hundred.
pub const ITEMS_MAX: usize = 65_536;

/// Whether a batch holds at most [`ITEMS_MAX`] things.
pub fn is_of_usual_size(batch: &v1::Batch) -> bool {
    let v1::Batch { births, names, calls, network, accounts, observed, deaths, .. } = batch;
    births.len() + names.len() + calls.len() + network.len() + accounts.len() + observed.len() + deaths.len() <= ITEMS_MAX
}

/// Bytes that a batch holds in memory, about: never less than 256.
pub fn weight(batch: &v1::Batch) -> usize {
    let about = |c: &v1::Container| {
        let strings = [&c.id, &c.node, &c.namespace, &c.pod, &c.pod_uid, &c.name, &c.image, &c.runtime_namespace, &c.workload];
        let told = [&c.owner_kind, &c.image_digest];
        let labels = c.labels.iter().flat_map(|(name, value)| [name, value]);
        // A label's two strings have a place each in the map.
        let places = 2 * size_of::<String>() * c.labels.len();
        strings.into_iter().chain(told).chain(labels).map(String::len).sum::<usize>() + places + size_of::<Birth>()
    };
    let births = batch.births.iter().filter_map(|b| b.container.as_ref()).map(about).sum::<usize>();
    let run = |c: &v1::Calls| c.tokens.len() + c.container_id.len() + c.process.len() + size_of::<Calls>();
    let calls = batch.calls.iter().map(run).sum::<usize>();
    let name = |n: &v1::Name| n.text.len() + n.argv0.len() + n.container_id.len() + size_of::<v1::Name>().max(size_of::<Name>());
    let names = batch.names.iter().map(name).sum::<usize>();
    let rest = batch.network.len() + batch.accounts.len() + batch.observed.len() + batch.deaths.len();
    256 + births + names + calls + rest * (size_of::<v1::Network>() + ID_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_weighed_with_what_decoding_adds() {
        let batch = |runs: usize, bytes: usize| v1::Batch {
            calls: vec![v1::Calls { tokens: vec![0; bytes], ..v1::Calls::default() }; runs],
            ..v1::Batch::default()
        };
        assert!((256..300).contains(&weight(&batch(0, 0))));
        assert!((65_536..66_200).contains(&weight(&batch(1, 65_536))));
        let name = v1::Name { text: "x".repeat(1000), argv0: "y".repeat(100), ..v1::Name::default() };
        let names = v1::Batch { names: vec![name; ITEMS_MAX + 1], ..v1::Batch::default() };
        assert!(weight(&names) > 1_150 * ITEMS_MAX && !is_of_usual_size(&names));
        // What a label takes counts too.
        let labelled = v1::Container { labels: [("a".repeat(500), "b".repeat(500))].into(), ..v1::Container::default() };
        let births = v1::Batch { births: vec![v1::Birth { container: Some(labelled) }], ..v1::Batch::default() };
        assert!(weight(&births) > 256 + 1000);
        // Two bytes each on the wire.
        let many = batch(ITEMS_MAX, 0);
        assert!(weight(&many) > 64 * ITEMS_MAX && is_of_usual_size(&many) && !is_of_usual_size(&batch(ITEMS_MAX + 1, 0)));
    }
}
