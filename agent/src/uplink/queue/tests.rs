use super::*;
use crate::{
    container::{ContainerKey, Kind, Names},
    names::Name,
    record::{NamedCall, Run},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn info(id: &str) -> Arc<ContainerInfo> {
    let names = Names { runtime_namespace: "default".into(), kind: Kind::Container, ..Names::default() };
    Arc::new(ContainerInfo::named(ContainerKey(1), "n".into(), id.parse().expect("an id"), names, None))
}

fn calls(id: &str, seq: u64, n: usize) -> Record {
    let run = Run {
        tgid: 1,
        tid: 1,
        process: "p".into(),
        first_seq: seq,
        started: NOW,
        gap: 0,
        tokens: vec![7; n],
        last: false,
        by_exec: false,
    };
    Record::Calls { container: info(id), run }
}

fn birth(id: &str) -> Record {
    Record::Birth(info(id))
}

fn death(id: &str) -> Record {
    Record::Death { container: info(id), at: NOW }
}

fn account(id: &str, issued: u64) -> Record {
    Record::Account {
        container: info(id),
        issued,
        delivered: issued,
        lost_ring: 0,
        threads_untracked: 0,
        names_untold: 0,
        names_unread: 0,
    }
}

/// A queue of the smallest capacity: it holds two batches' worth.
fn small() -> Queue {
    Queue::new(0)
}

/// A batch of its own that fills half the smallest queue.
fn fill(queue: &mut Queue, seq: u64) {
    assert!(queue.push(&calls("c1", seq, BATCH_BYTES / 2), NOW), "large enough to close the batch");
}

fn births(batch: &v1::Batch) -> Vec<&str> {
    batch.births.iter().map(id_of).collect()
}

fn deaths(batch: &v1::Batch) -> Vec<&str> {
    batch.deaths.iter().map(|d| d.container_id.as_str()).collect()
}

#[test]
fn batches_are_numbered_and_held_until_acknowledged() {
    let mut queue = small();
    assert!(!queue.close(NOW), "nothing to close");
    assert!(!queue.push(&birth("c1"), NOW));
    assert!(!queue.push(&calls("c1", 0, 3), NOW));
    assert_eq!(queue.take(), None, "still open");
    assert!(queue.close(NOW));
    let batch = queue.take().expect("closed");
    assert_eq!((batch.sequence, births(&batch), batch.calls.len()), (1, vec!["c1"], 1));
    assert_eq!(queue.take(), None);
    assert_eq!(queue.counts(), Counts { pushed: 3, waiting: 3, in_flight: 3, ..Counts::default() });
    assert!(!queue.is_empty());
    queue.acknowledge(1);
    assert_eq!(queue.counts(), Counts { pushed: 3, acknowledged: 3, ..Counts::default() });
    assert!(queue.is_empty());
    assert_eq!(queue.bytes(), 0);
}

#[test]
fn the_oldest_go_first_and_are_counted() {
    let mut queue = small();
    for n in 0..5 {
        fill(&mut queue, n);
    }
    let half = (BATCH_BYTES / 2) as u64;
    assert_eq!(queue.counts().dropped, 4 * half);
    let batch = queue.take().expect("the newest");
    assert_eq!((batch.sequence, batch.dropped_before, batch.calls[0].first_sequence), (5, 4 * half, 4));
    assert!(queue.bytes() <= queue.capacity);
}

#[test]
fn what_must_not_be_lost_moves_on() {
    let mut queue = small();
    for record in [birth("c1"), birth("c2"), birth("gone"), account("c1", 1), account("gone", 9), death("gone")] {
        queue.push(&record, NOW);
    }
    queue.push(&account("c1", 2), NOW);
    for n in 0..3 {
        fill(&mut queue, n);
    }
    let batch = queue.take().expect("the newest");
    assert_eq!(births(&batch), ["c1", "c2"], "who was born and died unheard of never existed");
    assert_eq!(deaths(&batch), [""; 0]);
    assert_eq!(batch.accounts.iter().map(|a| (a.container_id.as_str(), a.issued)).collect::<Vec<_>>(), [("c1", 2)]);
    assert!(queue.living.unannounced().is_empty());
    assert_eq!(queue.living.len(), 2, "nothing is kept of the one that is gone");
}

#[test]
fn a_death_that_the_scorer_must_hear_of_is_kept() {
    let mut queue = small();
    queue.push(&birth("c1"), NOW);
    queue.close(NOW);
    queue.take().expect("closed");
    queue.acknowledge(1);
    queue.push(&death("c1"), NOW);
    for n in 0..4 {
        fill(&mut queue, n);
    }
    let batch = queue.take().expect("the newest");
    assert_eq!(deaths(&batch), ["c1"]);
    queue.acknowledge(batch.sequence);
    assert!(queue.living.is_empty());
}

#[test]
fn an_id_used_again_gets_a_batch_of_its_own() {
    let mut queue = small();
    queue.push(&birth("c1"), NOW);
    queue.push(&death("c1"), NOW);
    assert!(queue.push(&birth("c1"), NOW), "closes the first life's batch");
    queue.close(NOW);
    let (first, second) = (queue.take().expect("one"), queue.take().expect("two"));
    assert_eq!((births(&first), deaths(&first)), (vec!["c1"], vec!["c1"]));
    assert_eq!((births(&second), deaths(&second)), (vec!["c1"], vec![]));
    queue.acknowledge(2);
    assert_eq!(queue.living.len(), 1);
}

#[test]
fn after_a_reconnect_names_come_first() {
    let mut queue = small();
    queue.push(&birth("c1"), NOW);
    queue.push(&birth("c2"), NOW);
    queue.close(NOW);
    queue.take().expect("closed");
    queue.acknowledge(1);
    queue.reconnected(0, NOW);
    let batch = queue.take().expect("made for it");
    assert_eq!((batch.sequence, births(&batch)), (2, vec!["c1", "c2"]));
    // One whose end was not delivered is named again, too: its calls are still to come.
    queue.push(&calls("c2", 0, 1), NOW);
    queue.push(&death("c2"), NOW);
    queue.close(NOW);
    queue.reconnected(2, NOW);
    let batch = queue.take().expect("waiting");
    assert_eq!((batch.sequence, births(&batch), deaths(&batch)), (3, vec!["c1", "c2"], vec!["c2"]));
    queue.reconnected(3, NOW);
    assert_eq!(births(&queue.take().expect("made for it")), ["c1"]);
}

#[test]
fn what_was_on_its_way_when_it_was_dropped_is_judged_by_the_answer() {
    let half = (BATCH_BYTES / 2) as u64;
    for (arrived, dropped) in [(2, 0), (1, half), (0, 2 * half)] {
        let mut queue = small();
        fill(&mut queue, 0);
        queue.take().expect("one");
        fill(&mut queue, 1);
        queue.take().expect("two");
        fill(&mut queue, 2);
        fill(&mut queue, 3);
        assert_eq!(queue.counts().waiting + queue.counts().dropped, 4 * half);
        assert_eq!(queue.fading.len(), 2);
        queue.reconnected(arrived, NOW);
        let next = queue.take().expect("three or four");
        assert_eq!(next.dropped_before, dropped + half, "the third was dropped unsent");
        assert_eq!(queue.counts().acknowledged, arrived * half);
    }
}

#[test]
fn who_is_not_on_air_costs_nothing_and_is_told_of() {
    let mut queue = small();
    queue.push(&birth("c1"), NOW);
    queue.push(&birth("c2"), NOW);
    queue.close(NOW);
    queue.take().expect("closed");
    queue.acknowledge(1);
    let held = queue.bytes();
    queue.leave_out(&calls("c1", 0, 1000));
    assert_eq!((queue.bytes(), queue.counts().left_out), (held, 1000));
    assert!(!queue.close(NOW), "nothing to send");
    queue.observe("c1", 0.4);
    queue.observe("c2", 0.9);
    queue.observe("c2", 1.0);
    queue.observe("gone", 0.5);
    queue.push(&account("c1", 1000), NOW);
    assert!(queue.close(NOW));
    let told = |batch: &v1::Batch| batch.observed.iter().map(|o| (o.container_id.clone(), o.ratio)).collect::<Vec<_>>();
    let batch = queue.take().expect("closed");
    assert_eq!(told(&batch), [("c1".to_owned(), 0.4), ("c2".to_owned(), 1.0)]);
    assert_eq!((batch.accounts[0].dropped_budget, batch.accounts[0].dropped_queue, batch.dropped_before), (1000, 0, 0));
    queue.acknowledge(2);
    // After a reconnect, those that are sampled; and not any more once they are whole.
    queue.reconnected(2, NOW);
    assert_eq!(told(&queue.take().expect("made for it")), [("c1".to_owned(), 0.4)]);
    queue.acknowledge(3);
    queue.observe("c1", 1.0);
    queue.reconnected(3, NOW);
    queue.close(NOW);
    assert_eq!(told(&queue.take().expect("the open one")), [("c1".to_owned(), 1.0)]);
    // What was dropped on the way is told by the next.
    queue.observe("c1", 0.2);
    for n in 0..3 {
        fill(&mut queue, n);
    }
    queue.reconnected(3, NOW);
    assert_eq!(told(&queue.take().expect("the newest")), [("c1".to_owned(), 0.2)]);
}

#[test]
fn no_more_is_on_its_way_than_the_window() {
    let mut queue = Queue::new(usize::MAX >> 1);
    for n in 0..100 {
        queue.push(&calls("c1", n, 1), NOW);
        queue.close(NOW);
    }
    let mut taken = 0;
    while queue.take().is_some() {
        taken += 1;
    }
    assert_eq!(taken, IN_FLIGHT_MAX);
    queue.acknowledge(10);
    assert!(queue.take().is_some());
}

#[derive(Clone, Debug)]
enum Op {
    Calls(usize),
    LeaveOut(usize),
    Observe(u8),
    Birth(u8),
    Death(u8),
    Close,
    Send(usize),
    Ack,
    /// The connection breaks when the scorer has read this many of what was sent, and comes back.
    Break(usize),
    /// The same, and the scorer has forgotten everything.
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1usize..20_000).prop_map(Op::Calls),
        2 => (1usize..20_000).prop_map(Op::LeaveOut),
        1 => (0u8..20).prop_map(Op::Observe),
        2 => (0u8..4).prop_map(Op::Birth),
        2 => (0u8..4).prop_map(Op::Death),
        3 => Just(Op::Close),
        4 => (1usize..4).prop_map(Op::Send),
        2 => Just(Op::Ack),
        1 => (0usize..4).prop_map(Op::Break),
        1 => Just(Op::Restart),
    ]
}

/// A scorer that takes each batch once.
#[derive(Default)]
struct Scorer {
    last: u64,
    calls: u64,
    dropped: u64,
    next_call: u64,
    known: HashSet<String>,
    observed: BTreeMap<String, f64>,
}

impl Scorer {
    fn take(&mut self, batch: &v1::Batch) {
        if batch.sequence <= self.last {
            return;
        }
        self.last = batch.sequence;
        self.dropped += batch.dropped_before;
        self.known.extend(batch.births.iter().map(|b| id_of(b).to_owned()));
        for run in &batch.calls {
            assert!(run.first_sequence >= self.next_call, "in order, none twice");
            self.next_call = run.first_sequence + run.tokens.len() as u64 / 2;
            self.calls += run.tokens.len() as u64 / 2;
        }
        for observed in &batch.observed {
            self.observed.insert(observed.container_id.clone(), observed.ratio);
        }
        for death in deaths(batch) {
            self.known.remove(death);
            self.observed.remove(death);
        }
    }
}

proptest! {
    #[test]
    fn every_call_arrives_once_or_is_counted(ops in prop::collection::vec(op(), 1..120)) {
        let mut queue = small();
        let mut scorer = Scorer::default();
        let mut wire: VecDeque<v1::Batch> = VecDeque::new();
        let mut seq = 0;
        let mut alive = HashSet::new();
        let mut restarted = false;
        for op in ops {
            match op {
                Op::Calls(n) => {
                    queue.push(&calls("c0", seq, n), NOW);
                    seq += n as u64;
                }
                Op::LeaveOut(n) => {
                    queue.leave_out(&calls("c0", seq, n));
                    seq += n as u64;
                }
                Op::Observe(n) => queue.observe(&format!("c{}", n / 5), f64::from(n % 5 + 1) / 5.0),
                Op::Birth(n) => {
                    let id = format!("c{n}");
                    queue.push(&birth(&id), NOW);
                    alive.insert(id);
                }
                Op::Death(n) => {
                    let id = format!("c{n}");
                    if alive.remove(&id) {
                        queue.push(&death(&id), NOW);
                    }
                }
                Op::Close => {
                    queue.close(NOW);
                }
                Op::Send(n) => wire.extend((0..n).filter_map(|_| queue.take())),
                Op::Ack => {
                    for batch in wire.drain(..) {
                        scorer.take(&batch);
                    }
                    queue.acknowledge(scorer.last);
                }
                Op::Break(n) => {
                    for batch in wire.drain(..).take(n) {
                        scorer.take(&batch);
                    }
                    queue.reconnected(scorer.last, NOW);
                }
                Op::Restart => {
                    // What it read and did not acknowledge dies with it.
                    wire.clear();
                    restarted = true;
                    scorer.known.clear();
                    scorer.observed.clear();
                    queue.reconnected(0, NOW);
                }
            }
            let c = queue.counts();
            prop_assert_eq!(c.pushed, seq);
            prop_assert_eq!(c.pushed, c.acknowledged + c.dropped + c.left_out + c.waiting);
            let sent = queue.closed.iter().take(queue.taken).chain(&queue.fading);
            prop_assert_eq!(c.in_flight, sent.map(|p| p.calls).sum::<u64>());
            prop_assert_eq!(queue.bytes(), queue.closed.iter().chain([&queue.open]).map(|p| p.bytes).sum::<usize>());
        }
        // Let everything through.
        for _ in 0..1000 {
            queue.close(NOW);
            wire.extend(queue.take());
            for batch in wire.drain(..) {
                scorer.take(&batch);
            }
            queue.acknowledge(scorer.last);
            if queue.is_empty() {
                break;
            }
        }
        queue.close(NOW);
        if let Some(batch) = queue.take() {
            scorer.take(&batch);
            queue.acknowledge(scorer.last);
        }
        let c = queue.counts();
        prop_assert!(queue.is_empty());
        prop_assert_eq!((c.waiting, c.in_flight, queue.bytes()), (0, 0, 0));
        prop_assert_eq!((scorer.calls, scorer.dropped), (c.acknowledged, c.dropped));
        prop_assert_eq!(&scorer.known, &alive, "who lives is known, who does not is not (restarted: {})", restarted);
        prop_assert!(queue.living.unannounced().is_empty());
        prop_assert_eq!(queue.living.len(), alive.len());
        for (id, observed) in queue.living.shares() {
            let told = scorer.observed.get(id).copied().filter(|ratio| *ratio < 1.0);
            prop_assert_eq!(told, observed, "{} (restarted: {})", id, restarted);
        }
    }
}

/// Names go with the batch that is dropped, waiting or on its way, and the account says how many.
#[test]
fn names_that_are_dropped_are_counted() {
    let named = |seq: u64| {
        let name = Name { text: "/etc/passwd".into(), ..Name::default() };
        Record::Name { container: info("c1"), call: NamedCall { tgid: 1, tid: 1, seq, at: NOW, token: 257, name } }
    };
    for on_its_way in [false, true] {
        let mut queue = small();
        queue.push(&birth("c1"), NOW);
        queue.push(&named(0), NOW);
        fill(&mut queue, 0);
        if on_its_way {
            assert_eq!(queue.take().expect("the first").names.len(), 1);
        }
        for n in 1..4 {
            fill(&mut queue, n * BATCH_BYTES as u64);
        }
        // One that was sent may have arrived: the next connection's first word says that it did not.
        queue.reconnected(0, NOW);
        queue.push(&account("c1", 1), NOW);
        queue.close(NOW);
        let mut sent = Vec::new();
        while let Some(batch) = queue.take() {
            sent.push(batch);
        }
        let accounts: Vec<_> = sent.iter().flat_map(|batch| &batch.accounts).collect();
        assert_eq!(accounts.last().map(|account| account.names_dropped), Some(1), "{on_its_way}");
        assert!(sent.iter().all(|batch| batch.names.is_empty()), "{on_its_way}");
    }
}
