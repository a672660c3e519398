//! Every figure this agent shows, in one registry.
//!
//! In: what the stages register (each beside its code). Out: text in the OpenMetrics format. Never: counts itself.
//!
//! Names are `surprisal_agent_<stage>_<thing>_<unit>_total`. Every stage has what came in, what went out and what
//! was dropped for which reason, so that the flow balances:
//!
//! | stage | in | out | dropped |
//! |---|---|---|---|
//! | [`capture`](crate::capture) | `capture_records_total` (records, not calls) | `capture_out_calls_total` | `capture_dropped_calls_total{reason}`, `capture_lost_calls_total` |
//! | [`uplink`](crate::uplink) | `uplink_in_calls_total` | `uplink_out_calls_total` | `uplink_dropped_calls_total{reason}` |
//! | [`jsonl`](crate::jsonl) | `jsonl_in_calls_total` | `jsonl_out_calls_total` | `jsonl_dropped_calls_total{reason}` |

use prometheus_client::{encoding::text, metrics::info::Info, registry::Registry};
use std::fmt;

/// Content type of [`encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A registry that knows this program's name and version.
pub fn registry() -> Registry {
    let mut registry = Registry::with_prefix("surprisal_agent");
    registry.register("build", "This program", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
    registry
}

/// All figures as they are now.
pub fn encode(registry: &Registry) -> Result<String, fmt::Error> {
    let mut out = String::new();
    text::encode(&mut out, registry)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uplink::{Options, uplink};

    #[test]
    fn names_are_product_stage_thing_unit() {
        let mut registry = registry();
        let options = Options {
            scorer: "http://x:1".into(),
            node: "n".into(),
            queue_bytes: 0,
            flush_interval: std::time::Duration::ZERO,
            byte_budget: 0,
            names: true,
        };
        let _uplink = uplink(options, &mut registry).expect("an address");
        let text = encode(&registry).expect("memory");
        for line in [
            "surprisal_agent_build_info{version=",
            "surprisal_agent_uplink_in_calls_total 0",
            "surprisal_agent_uplink_out_calls_total 0",
            "surprisal_agent_uplink_dropped_calls_total{reason=\"queue_full\"} 0",
            "surprisal_agent_uplink_dropped_calls_total{reason=\"byte_budget\"} 0",
            "surprisal_agent_uplink_sent_bytes_total 0",
            "surprisal_agent_uplink_connected 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
