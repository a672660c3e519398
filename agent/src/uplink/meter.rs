//! What each container costs on the wire, by estimate. Pure.
//!
//! In: records as they come, whether they will be sent or not; what packed batches weighed on the wire. Out: bytes a
//! second for each container. Never: holds a record.
//!
//! All containers share one zstd stream, so what one of them costs cannot be read off it. Each has a *price*, wire bytes
//! per byte of its records, which is learned from whole batches by normalised least mean squares (Widrow & Hoff 1960): the
//! error of the sum is divided among the batch's containers by how much each had in it. A price stays while its container
//! is silent; a new container has the mean price.

use super::budget::{Demands, Id};
use crate::record::Record;
use std::{collections::HashMap, time::Duration};
use surprisal_proto::v1;

/// Slices of time that a rate is the mean of.
const SLICES: usize = 4;
/// Step of the price's learning, 0 to 1.
const STEP: f64 = 0.2;
/// Step of the mean price's learning.
const MEAN_STEP: f64 = 0.05;
/// Prices before anything was sent: 0.2 bytes a call of long runs.
const FIRST_PRICE: f64 = 0.1;
/// Prices stay within these: zstd's best, and a plain batch with framing.
const PRICES: (f64, f64) = (0.002, 1.5);
/// Framing of a batch on the connection: HTTP/2's, gRPC's, the message's.
const FRAMING: f64 = 24.0;

/// Bytes of a run of `calls` calls before it is packed: two a call, and what tells whose and when.
fn run_bytes(calls: usize) -> f64 {
    (2 * calls + 40) as f64
}

/// Bytes of anything else.
const OTHER_BYTES: f64 = 60.0;

/// Rates and prices of all containers.
#[derive(Debug)]
pub struct Meter {
    containers: HashMap<Id, Metered>,
    /// Births, deaths, accounts, counters.
    other: Metered,
    mean_price: f64,
    /// Lengths of the slices, seconds; the newest last.
    lengths: [f64; SLICES],
    rolled: Option<Duration>,
}

#[derive(Debug)]
struct Metered {
    now: f64,
    slices: [f64; SLICES],
    price: f64,
}

impl Metered {
    fn new(price: f64) -> Self {
        Self { now: 0.0, slices: [0.0; SLICES], price }
    }

    fn roll(&mut self) {
        self.slices.rotate_left(1);
        self.slices[SLICES - 1] = std::mem::take(&mut self.now);
    }

    fn rate(&self, seconds: f64) -> f64 {
        self.price * self.slices.iter().sum::<f64>() / seconds
    }
}

/// What a batch holds of each container, bytes before packing.
#[derive(Debug, Default)]
pub struct Contents {
    containers: HashMap<String, f64>,
    other: f64,
}

impl Contents {
    /// Of a batch that is about to be packed.
    pub fn of(batch: &v1::Batch) -> Self {
        let mut containers: HashMap<String, f64> = HashMap::new();
        for run in &batch.calls {
            let bytes = run_bytes(run.tokens.len() / 2);
            match containers.get_mut(&run.container_id) {
                Some(sum) => *sum += bytes,
                None => _ = containers.insert(run.container_id.clone(), bytes),
            }
        }
        let other = batch.births.len()
            + batch.names.len()
            + batch.network.len()
            + batch.accounts.len()
            + batch.deaths.len()
            + batch.observed.len();
        Self { containers, other: OTHER_BYTES * other as f64 }
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            containers: HashMap::new(),
            other: Metered::new(FIRST_PRICE),
            mean_price: FIRST_PRICE,
            lengths: [0.0; SLICES],
            rolled: None,
        }
    }
}

impl Meter {
    /// Takes a record's size; sent or not.
    pub fn add(&mut self, record: &Record) {
        match record {
            Record::Calls { container, run } => {
                let id = container.id.as_str();
                let bytes = run_bytes(run.tokens.len());
                if let Some(metered) = self.containers.get_mut(id) {
                    metered.now += bytes;
                } else {
                    self.containers.insert(id.into(), Metered { now: bytes, ..Metered::new(self.mean_price) });
                }
            }
            Record::Birth(_) | Record::Name { .. } | Record::Network { .. } | Record::Account { .. } => {
                self.other.now += OTHER_BYTES;
            }
            Record::Death { container, .. } => {
                self.other.now += OTHER_BYTES;
                self.containers.remove(container.id.as_str());
            }
        }
    }

    /// Containers known: those that called and live.
    pub fn len(&self) -> usize {
        self.containers.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }

    /// A batch weighed so much on the wire.
    pub fn learn(&mut self, contents: &Contents, wire_bytes: usize) {
        let Contents { containers, other } = contents;
        let all: f64 = containers.values().sum::<f64>() + other;
        if all <= 0.0 {
            return;
        }
        let weighed = wire_bytes as f64 + FRAMING;
        self.mean_price += MEAN_STEP * (weighed / all - self.mean_price);
        let mut expected = other * self.other.price;
        let mut squares = other * other;
        for (id, bytes) in containers {
            expected += bytes * self.containers.get(id.as_str()).map_or(self.mean_price, |m| m.price);
            squares += bytes * bytes;
        }
        let step = STEP * (weighed - expected) / squares;
        let corrected = |price: f64, bytes: f64| (price + step * bytes).clamp(PRICES.0, PRICES.1);
        self.other.price = corrected(self.other.price, *other);
        for (id, bytes) in containers {
            if let Some(metered) = self.containers.get_mut(id.as_str()) {
                metered.price = corrected(metered.price, *bytes);
            }
        }
    }

    /// Ends a slice of time: what each container would cost, and what the rest costs, bytes a second.
    pub fn roll(&mut self, now: Duration) -> (Demands, f64) {
        let length = now.saturating_sub(self.rolled.unwrap_or_default()).as_secs_f64();
        self.rolled = Some(now);
        self.lengths.rotate_left(1);
        self.lengths[SLICES - 1] = length;
        let seconds = self.lengths.iter().sum::<f64>().max(1e-3);
        self.other.roll();
        let rate = |(id, metered): (&Id, &mut Metered)| {
            metered.roll();
            (id.clone(), metered.rate(seconds))
        };
        (self.containers.iter_mut().map(rate).collect(), self.other.rate(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        container::{ContainerInfo, ContainerKey, Kind, Names},
        record::Run,
    };
    use jiff::Timestamp;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn info(id: &str) -> Arc<ContainerInfo> {
        let names = Names { kind: Kind::Container, ..Names::default() };
        Arc::new(ContainerInfo::named(ContainerKey(1), "n".into(), id.parse().expect("an id"), names, None))
    }

    fn calls(id: &str, n: usize) -> Record {
        let run = Run {
            tgid: 1,
            tid: 1,
            process: "p".into(),
            first_seq: 0,
            started: Timestamp::UNIX_EPOCH,
            gap: 0,
            tokens: vec![7; n],
            last: false,
            by_exec: false,
        };
        Record::Calls { container: info(id), run }
    }

    fn contents(of: &[(&str, f64)]) -> Contents {
        Contents { containers: of.iter().map(|(id, bytes)| ((*id).to_owned(), *bytes)).collect(), other: 0.0 }
    }

    #[test]
    fn a_rate_is_the_mean_of_the_last_slices() {
        let mut meter = Meter::default();
        let rate = |meter: &mut Meter, ms: u64| meter.roll(Duration::from_millis(ms)).0.get("c1").copied().unwrap_or(0.0);
        assert_eq!(meter.roll(Duration::from_millis(500)).0, Demands::default());
        meter.add(&calls("c1", 980));
        // 2,000 bytes at the first price in one second.
        assert!((rate(&mut meter, 1000) - 200.0).abs() < 1e-6);
        assert!((rate(&mut meter, 2000) - 100.0).abs() < 1e-6);
        for ms in [3000, 4000, 5000, 6000] {
            rate(&mut meter, ms);
        }
        assert!(rate(&mut meter, 7000) <= 0.0);
        meter.add(&Record::Death { container: info("c1"), at: Timestamp::UNIX_EPOCH });
        assert!(meter.is_empty());
        assert!(meter.roll(Duration::from_millis(7500)).1 > 0.0, "deaths are sent in any case");
    }

    #[test]
    fn what_a_batch_holds_is_what_was_added() {
        let Record::Calls { container, run } = calls("c1", 100) else { unreachable!("they are calls") };
        let batch = v1::Batch {
            calls: vec![run.to_wire(&container), run.to_wire(&container)],
            deaths: vec![v1::Death::default()],
            ..v1::Batch::default()
        };
        let contents = Contents::of(&batch);
        assert_eq!((contents.containers["c1"], contents.other), (480.0, OTHER_BYTES));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Each price is found as long as the mixture changes.
        #[test]
        fn prices_are_learned_from_whole_batches(a in 0.01..0.5f64, b in 0.01..0.5f64, mixtures in prop::collection::vec((0.0..30_000.0f64, 0.0..30_000.0f64), 600)) {
            let mut meter = Meter::default();
            meter.add(&calls("a", 1));
            meter.add(&calls("b", 1));
            for (of_a, of_b) in mixtures {
                let wire = a * of_a + b * of_b;
                meter.learn(&contents(&[("a", of_a), ("b", of_b)]), wire as usize);
            }
            let price = |id: &str| meter.containers[id].price;
            prop_assert!((price("a") - a).abs() < 0.02 && (price("b") - b).abs() < 0.02, "{} for {a}, {} for {b}", price("a"), price("b"));
        }

        /// Whatever batches weigh, prices are finite and not negative.
        #[test]
        fn prices_are_numbers(batches in prop::collection::vec((0.0..1e9f64, any::<u32>()), 0..50)) {
            let mut meter = Meter::default();
            meter.add(&calls("a", 1));
            for (bytes, wire) in batches {
                meter.learn(&contents(&[("a", bytes), ("gone", bytes)]), wire as usize);
            }
            let (demands, fixed) = meter.roll(Duration::from_secs(1));
            prop_assert!(fixed.is_finite() && demands.values().all(|d| d.is_finite() && *d >= 0.0));
        }
    }
}
