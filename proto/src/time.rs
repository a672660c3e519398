//! Times: ours and the wire's.
//!
//! In: a timestamp of one kind. Out: the same of the other. Pure: no clock.

use jiff::Timestamp;

/// As the wire carries it: whole seconds rounded down, nanoseconds 0 to 999,999,999.
pub fn to_wire(at: Timestamp) -> prost_types::Timestamp {
    let nanos = at.as_nanosecond();
    prost_types::Timestamp { seconds: nanos.div_euclid(1_000_000_000) as i64, nanos: nanos.rem_euclid(1_000_000_000) as i32 }
}

/// As the wire carried it. `None`: out of range.
pub fn from_wire(at: prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(at.seconds, at.nanos).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn before_the_epoch_nanoseconds_count_forward() {
        let at = Timestamp::from_millisecond(-1).expect("in range");
        assert_eq!(to_wire(at), prost_types::Timestamp { seconds: -1, nanos: 999_000_000 });
    }

    #[test]
    fn what_is_no_time_is_none() {
        assert_eq!(from_wire(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }), None);
        assert_eq!(from_wire(prost_types::Timestamp { seconds: 0, nanos: i32::MAX }), None);
    }

    proptest! {
        #[test]
        fn there_and_back(ns in -4_000_000_000_000_000_000_i64..4_000_000_000_000_000_000) {
            let at = Timestamp::from_nanosecond(i128::from(ns)).expect("in range");
            prop_assert_eq!(from_wire(to_wire(at)), Some(at));
        }
    }
}
