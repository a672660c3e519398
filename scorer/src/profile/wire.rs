//! A profile as `surprisal.v1` has it. *Pure.*
//!
//! In: a profile, the threshold in force. Out: a message. Never: the weights: those are in an archive.

use crate::judge::threshold::{Source, Threshold};
use crate::profile::archive::Profile;
use std::time::SystemTime;
use surprisal_proto::v1;

/// The message about a profile whose threshold in force is this one.
pub fn message(profile: &Profile, (threshold, source): (Threshold, Source)) -> v1::Profile {
    let m = &profile.metadata;
    let c = &m.calibration;
    v1::Profile {
        workload: m.workload.clone(),
        version: m.version.clone(),
        trained_at: Some(SystemTime::from(m.trained_at).into()),
        trained_calls: m.training.calls,
        held_out_windows: c.windows,
        vocabulary: m.vocabulary.len() as u32,
        held_out_mean: c.mean,
        quantiles: c.quantiles.iter().map(|q| v1::Quantile { q: q.q, score: q.score }).collect(),
        threshold: threshold.nats(),
        threshold_source: source.as_str().to_owned(),
        calibrated_threshold: c.threshold.nats(),
        false_alarm_budget: c.false_alarm_budget,
        extrapolated: c.extrapolated,
        image: m.image.clone(),
        promise: c.promise.as_str().to_owned(),
        held_out_container_days: c.held_out_container_days,
        false_alarms_at_most: c.false_alarms_at_most,
        extremal_index: c.extremal_index,
        names: m
            .names
            .kinds()
            .map(|(kind, known, newcomers)| v1::KnownNames {
                did: kind.did().to_owned(),
                known,
                newcomers,
                nats: m.names.elsewhere(kind),
            })
            .collect(),
    }
}
