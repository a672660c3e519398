//! The figures of this stage.
//!
//! In: a [`Directory`]. Out: metrics at each scrape. Never: counts itself.

use super::directory::{Directory, Report, State};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use std::fmt;

/// Shows a directory's figures.
pub fn register(directory: &Directory, registry: &mut Registry) {
    registry.register_collector(Box::new(Figures(directory.clone())));
}

#[derive(Debug)]
struct Figures(Directory);

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Report { pods, failures, refused, .. } = self.0.report();
        let answers = i64::from(self.0.state() == State::Answering);
        for (name, help, value) in [
            ("kubernetes_answering", "1: the Kubernetes API answers", answers),
            ("kubernetes_pods", "Pods of this node that are known", pods as i64),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        for (name, help, value) in [
            ("kubernetes_failures", "Answers of the Kubernetes API that did not come or were refusals", failures),
            ("kubernetes_refused", "Pods and namespaces for which there was no room", refused),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}
