//! Tests of `stream`.

use super::*;
use surprisal_proto::packed::Packer;
use surprisal_proto::status::imbalance;
use tonic::Code;

fn service(capacity: usize) -> (Service, mpsc::Receiver<Taken>) {
    let (tx, rx) = mpsc::channel(capacity);
    let metrics = Metrics::default();
    (Service::new(tx, Room::new(metrics.clone()), metrics, CancellationToken::new()), rx)
}

fn batch(sequence: u64) -> v1::Batch {
    v1::Batch { sequence, ..v1::Batch::default() }
}

async fn offer(service: &Service, instance: &str, batch: v1::Batch) -> Result<u64, Code> {
    let last = service.nodes.last_sequence("n", instance);
    let taken = service.batch(&"n".into(), &last, service.room.arrive(), batch).await;
    taken.map(|ack| ack.sequence).map_err(|status| status.code())
}

/// in, out, held, dropped by reason; and that it balances.
fn counts(service: &Service) -> (u64, u64, u64, Vec<(String, u64)>) {
    let hop = service.room.hop();
    assert_eq!(imbalance(&hop), 0, "{hop:?}");
    let drops = hop.dropped.into_iter().filter(|d| d.count > 0).map(|d| (d.reason, d.count)).collect();
    (hop.taken_in, hop.passed_on, hop.held, drops)
}

fn drain(rx: &mut mpsc::Receiver<Taken>) -> usize {
    let mut n = 0;
    while let Ok(taken) = rx.try_recv() {
        if let Taken::Batch(_, _, ticket) = taken {
            ticket.passed();
            n += 1;
        }
    }
    n
}

#[tokio::test]
async fn a_batch_is_taken_once_and_acknowledged_each_time() {
    let (service, mut rx) = service(8);
    for (instance, sequence) in [("i", 1), ("i", 1), ("i", 3), ("i", 2), ("j", 1), ("i", 4)] {
        assert_eq!(offer(&service, instance, batch(sequence)).await, Ok(sequence));
    }
    assert_eq!(*service.nodes.last_sequence("n", "i").lock().await, 4);
    assert_eq!(service.metrics.dropped("batches", "duplicate"), 2);
    assert_eq!(counts(&service), (6, 0, 4, vec![("duplicate".into(), 2)]));
    assert_eq!(drain(&mut rx), 4);
    assert_eq!(offer(&service, "i", batch(0)).await, Err(Code::InvalidArgument));
    let many = v1::Batch { deaths: vec![v1::Death::default(); weight::ITEMS_MAX + 1], ..batch(5) };
    assert_eq!(offer(&service, "i", many).await, Err(Code::InvalidArgument));
    assert_eq!(counts(&service), (8, 4, 0, vec![("duplicate".into(), 2), ("malformed".into(), 2)]));
}

#[tokio::test(start_paused = true)]
async fn overload_is_said_and_the_batch_is_not_counted_as_taken() {
    let (service, mut rx) = service(1);
    assert_eq!(offer(&service, "i", batch(1)).await, Ok(1));
    assert_eq!(offer(&service, "i", batch(2)).await, Err(Code::ResourceExhausted));
    assert_eq!(*service.nodes.last_sequence("n", "i").lock().await, 1);
    assert_eq!(drain(&mut rx), 1);
    assert_eq!(offer(&service, "i", batch(2)).await, Ok(2));
    assert_eq!(counts(&service), (3, 1, 1, vec![("overload".into(), 1)]));
    // The scorer ends with one in the queue.
    drop(rx);
    assert_eq!(counts(&service), (3, 1, 0, vec![("overload".into(), 1), ("given_up".into(), 1)]));
    assert_eq!(offer(&service, "i", batch(3)).await, Err(Code::Unavailable));
    assert_eq!(counts(&service).2, 0);
}

#[tokio::test]
async fn packed_batches_are_taken_and_damaged_ones_end_the_stream() {
    let (service, mut rx) = service(8);
    let last = service.nodes.last_sequence("n", "i");
    let node: Arc<str> = "n".into();
    let (mut packer, mut unpacker) = (Packer::new(), Unpacker::new(MESSAGE_MAX));
    for sequence in 1..4 {
        let block = packer.pack(&batch(sequence)).expect("packed");
        let ack = service.packed(&node, &last, &mut unpacker, &block).await.expect("taken");
        assert_eq!(ack.sequence, sequence);
    }
    let refused = service.packed(&node, &last, &mut unpacker, b"no block").await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let bomb = v1::Batch { calls: vec![v1::Calls { tokens: vec![7; 64 << 20], ..v1::Calls::default() }], ..batch(4) };
    let bomb = Packer::new().pack(&bomb).expect("packed");
    assert!(service.packed(&node, &last, &mut Unpacker::new(MESSAGE_MAX), &bomb).await.is_err());
    assert_eq!((drain(&mut rx), counts(&service)), (3, (5, 3, 0, vec![("malformed".into(), 2)])));
}

#[test]
fn another_dialect_is_refused() {
    let hello = |node: &str, token_layout, abi: &str| v1::Hello {
        node: node.into(),
        instance: "i".into(),
        agent_version: String::new(),
        token_layout,
        abi: abi.into(),
        names_left_out: false,
    };
    for (hello, code) in [
        (hello("n", token::LAYOUT, token::ABI), None),
        (hello("", token::LAYOUT, token::ABI), Some(Code::InvalidArgument)),
        (hello("a\nb", token::LAYOUT, token::ABI), Some(Code::InvalidArgument)),
        (hello("n", token::LAYOUT + 1, token::ABI), Some(Code::FailedPrecondition)),
        (hello("n", token::LAYOUT, "arm"), Some(Code::FailedPrecondition)),
    ] {
        assert_eq!(check(&hello).err().map(|s| s.code()), code);
    }
}
