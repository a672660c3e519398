//! Network counters of a namespace.
//!
//! In: the text of `/proc/<pid>/net/dev`. Out: [`NetTotals`]. Pure.

use procfs::{FromRead as _, net::InterfaceDeviceStatus};

/// Totals over all interfaces of a network namespace but loopback, since the namespace was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetTotals {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
}

impl NetTotals {
    /// From the text of `/proc/<pid>/net/dev`. `None`: it cannot be read.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let devices = InterfaceDeviceStatus::from_read(text).ok()?;
        Some(devices.0.values().filter(|d| d.name != "lo").fold(Self::default(), |sum, d| Self {
            rx_bytes: sum.rx_bytes.saturating_add(d.recv_bytes),
            tx_bytes: sum.tx_bytes.saturating_add(d.sent_bytes),
            rx_packets: sum.rx_packets.saturating_add(d.recv_packets),
            tx_packets: sum.tx_packets.saturating_add(d.sent_packets),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn network_tables() {
        let table = b"Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 9000000    9000    0    0    0     0          0         0  9000000    9000    0    0    0     0       0          0
  eth0:     100       2    0    0    0     0          0         0      300       4    0    0    0     0       0          0
  eth1:      10       1    0    0    0     0          0         0       30       1    0    0    0     0       0          0
";
        assert_eq!(NetTotals::parse(table), Some(NetTotals { rx_bytes: 110, tx_bytes: 330, rx_packets: 3, tx_packets: 5 }));
        assert_eq!(NetTotals::parse(b"a\nb\nbroken"), None);
    }

    proptest! {
        #[test]
        fn no_network_table_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _totals = NetTotals::parse(&bytes);
        }
    }
}
