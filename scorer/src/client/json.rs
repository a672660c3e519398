//! Scores and profiles as JSON for programs. *Pure.*
//!
//! In: messages of `surprisal.v1`. Out: objects whose field names and units do not change within a version.
//! Never: a field that is sometimes missing: what is not known is `null` or empty.

use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use surprisal_proto::v1;

/// A container's score; fields as in `surprisal.v1.Score`, the container's names among them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Container id.
    pub id: String,
    /// Node.
    pub node: String,
    /// Kubernetes namespace.
    pub namespace: String,
    /// Pod.
    pub pod: String,
    /// Container name.
    pub container: String,
    /// Image.
    pub image: String,
    /// Workload.
    pub workload: String,
    /// Kind of the pod's owner ("Deployment", …); "guessed": from the pod's name; empty: it is no pod's container.
    pub owner: String,
    /// "sha256:…"; empty: not known.
    pub image_digest: String,
    /// "main", "init", "sidecar" or "ephemeral"; empty: not known.
    pub role: &'static str,
    /// Restarts under this name in this pod; null: not known.
    pub restarts: Option<u32>,
    /// The pod's labels; empty: there are none, or they are not known.
    pub labels: BTreeMap<String, String>,
    /// "normal", "anomalous" or "unscored".
    pub verdict: &'static str,
    /// Why it is unscored; empty: it is not.
    pub unscored_reason: String,
    /// Nats a call.
    pub score: Option<f64>,
    /// Nats a call.
    pub threshold: Option<f64>,
    /// "quantiles", "profile" or "global"; empty: no profile.
    pub threshold_source: String,
    /// Version of the profile; empty: none.
    pub profile_version: String,
    /// Windows scored.
    pub windows: u64,
    /// Windows that a gap cut.
    pub windows_gapped: u64,
    /// Calls taken in.
    pub calls: u64,
    /// 0 to 1.
    pub loss_ratio: f64,
    /// Share of the time in which its calls are sent, 0 to 1; null: always.
    pub observed_ratio: Option<f64>,
    /// Share of its windows that the model had time for, 0 to 1; null: all.
    pub judged_ratio: Option<f64>,
    /// The node's agent leaves names out (`--no-names`): evidence has none.
    pub names_left_out: bool,
    /// Seconds that the score looks back.
    pub recent_seconds: f64,
    /// RFC 3339.
    pub scored_at: Option<String>,
    /// Nats a call.
    pub peak_score: Option<f64>,
    /// RFC 3339.
    pub peak_at: Option<String>,
    /// The container has ended.
    pub ended: bool,
    /// Windows: of about equally surprising calls what changes what a process is or can do first, then the highest score first.
    pub evidence: Vec<Evidence>,
    /// What it did for the first time in the recent past, in the order in which it did; the first three of each kind.
    pub first_times: Vec<FirstTime>,
    /// Network counters.
    pub network: Option<Network>,
}

/// Something done for the first time, and by whom.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FirstTime {
    /// What.
    #[serde(flatten)]
    pub name: NewName,
    /// Process name.
    pub process: String,
    /// Process id on the node.
    pub pid: u32,
    /// Thread id on the node.
    pub tid: u32,
    /// RFC 3339.
    pub at: Option<String>,
}

/// Something that the workload's calls were never about in training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NewName {
    /// "ran", "changed", "talked to", "listened at", "read".
    pub did: String,
    /// A path, an address.
    pub name: String,
    /// The call, in words.
    pub call: String,
    /// Its number in its thread.
    pub sequence: u64,
    /// How long training listened.
    pub container_seconds: f64,
    /// Its surprisal.
    pub nats: f64,
}

/// One window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// Process id on the node.
    pub pid: u32,
    /// Thread id on the node.
    pub tid: u32,
    /// Process name.
    pub process: String,
    /// The thread was started by exec (`kubectl exec`, an exec probe), not by the container's first process.
    pub by_exec: bool,
    /// RFC 3339.
    pub at: Option<String>,
    /// Nats a call.
    pub score: f64,
    /// It did not cause the alarm by itself: its score is below the container's threshold.
    pub below_threshold: bool,
    /// Nats of it that the window's set of calls counts for: they were not used together in training.
    pub novelty: f64,
    /// Calls in the window.
    pub calls: u32,
    /// Number of the first call in its thread.
    pub first_sequence: u64,
    /// What its calls were about for the first time, programs first; the score is at least the highest of their nats.
    pub new_names: Vec<NewName>,
    /// Most surprising first, of about equal ones what changes what a process is or can do; no call twice.
    pub surprises: Vec<Surprise>,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Surprise {
    /// In words.
    pub call: String,
    /// Number in its thread.
    pub sequence: u64,
    /// 0 to 1.
    pub probability: f64,
    /// Nats.
    pub surprisal: f64,
    /// Not in the training data.
    pub never_seen: bool,
    /// How often it was made in the window and was as surprising.
    pub times: u32,
    /// What it does ("runs another program"); empty: nothing that changes what a process is or can do.
    pub effect: String,
    /// What the call was about ("/bin/bash", "10.0.3.7:4444"); empty: it is not known, or the call has no name.
    pub name: String,
    /// The calls before, oldest first.
    pub after: Vec<String>,
    /// Likeliest first; empty: nothing was likelier than the call itself.
    pub expected: Vec<Expected>,
}

/// A call that was expected.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Expected {
    /// In words.
    pub call: String,
    /// 0 to 1.
    pub probability: f64,
}

/// Network counters, cumulative; bytes and packets are `null` where they cannot be attributed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Network {
    /// Bytes in.
    pub rx_bytes: Option<u64>,
    /// Bytes out.
    pub tx_bytes: Option<u64>,
    /// Packets in.
    pub rx_packets: Option<u64>,
    /// Packets out.
    pub tx_packets: Option<u64>,
    /// Connections attempted.
    pub connects_attempted: u64,
    /// Connections established.
    pub connects_established: u64,
    /// Connections failed.
    pub connects_failed: u64,
    /// Connections accepted.
    pub accepts: u64,
    /// Distinct remote addresses, estimated.
    pub distinct_remotes: u64,
}

/// A profile; fields as in `surprisal.v1.Profile`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Profile {
    /// Workload.
    pub workload: String,
    /// Version.
    pub version: String,
    /// RFC 3339.
    pub trained_at: Option<String>,
    /// Calls trained on.
    pub trained_calls: u64,
    /// Windows held out.
    pub held_out_windows: u64,
    /// Tokens known.
    pub vocabulary: u32,
    /// Nats a call.
    pub held_out_mean: f64,
    /// Ascending.
    pub quantiles: Vec<Quantile>,
    /// In force, nats a call.
    pub threshold: f64,
    /// "quantiles", "profile" or "global".
    pub threshold_source: String,
    /// Nats a call.
    pub calibrated_threshold: f64,
    /// False alarms per container-day.
    pub false_alarm_budget: f64,
    /// The budget asks for more than the held-out windows can show.
    pub extrapolated: bool,
    /// What the budget stands on: "measured", "extrapolated", "too little data", "cannot be kept"; empty: not known.
    pub promise: String,
    /// Container-days held out.
    pub held_out_container_days: f64,
    /// False alarms per container-day that these do not rule out, with 95 % confidence.
    pub false_alarms_at_most: Option<f64>,
    /// Alerts for each window above a high level, above 0, at most 1.
    pub extremal_index: Option<f64>,
    /// Image.
    pub image: String,
    /// What its calls were about in training; empty: training could not tell.
    pub names: Vec<KnownNames>,
}

/// What a workload's calls were about, of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KnownNames {
    /// "ran", "changed", "talked to", "listened at", "read".
    pub did: String,
    /// Names that training heard.
    pub known: u32,
    /// Of these, names that came first in its second half.
    pub newcomers: u32,
    /// Nats of a new one.
    pub nats: f64,
}

/// A quantile of held-out scores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quantile {
    /// 0 to 1.
    pub q: f64,
    /// Nats a call.
    pub score: f64,
}

/// A time as RFC 3339; `None` where it is none.
pub fn time(at: Option<&prost_types::Timestamp>) -> Option<String> {
    at.and_then(|t| Timestamp::new(t.seconds, t.nanos).ok()).map(|t| t.to_string())
}

/// A verdict's name.
pub fn verdict(verdict: v1::Verdict) -> &'static str {
    match verdict {
        v1::Verdict::Normal => "normal",
        v1::Verdict::Anomalous => "anomalous",
        v1::Verdict::Unscored | v1::Verdict::Unspecified => "unscored",
    }
}

/// Where the owner in a workload's name is from: its kind, as Kubernetes says it, or "guessed". Empty: there is no pod.
pub fn owner(c: &v1::Container) -> String {
    match (c.owner_kind.as_str(), c.pod.as_str()) {
        ("", "") => String::new(),
        ("", _) => "guessed".to_owned(),
        (kind, _) => kind.to_owned(),
    }
}

/// What a container is in its pod, as one word; empty: not known.
pub fn role(role: v1::container::Role) -> &'static str {
    match role {
        v1::container::Role::Unspecified => "",
        v1::container::Role::Main => "main",
        v1::container::Role::Init => "init",
        v1::container::Role::Sidecar => "sidecar",
        v1::container::Role::Ephemeral => "ephemeral",
    }
}

impl From<&v1::NewName> for NewName {
    fn from(new: &v1::NewName) -> Self {
        let v1::NewName { did, name, call, sequence, container_seconds, nats } = new.clone();
        Self { did, name, call, sequence, container_seconds, nats }
    }
}

impl From<&v1::FirstTime> for FirstTime {
    fn from(first: &v1::FirstTime) -> Self {
        let v1::FirstTime { name, process, tgid, tid, at } = first.clone();
        Self { name: NewName::from(&name.unwrap_or_default()), process, pid: tgid, tid, at: time(at.as_ref()) }
    }
}

impl From<&v1::Score> for Score {
    fn from(s: &v1::Score) -> Self {
        let c = s.container.clone().unwrap_or_default();
        Self {
            owner: owner(&c),
            role: role(c.role()),
            image_digest: c.image_digest,
            restarts: c.restarts,
            labels: c.labels,
            id: c.id,
            node: c.node,
            namespace: c.namespace,
            pod: c.pod,
            container: c.name,
            image: c.image,
            workload: c.workload,
            verdict: verdict(s.verdict()),
            unscored_reason: s.unscored_reason.clone(),
            score: s.score,
            threshold: s.threshold,
            threshold_source: s.threshold_source.clone(),
            profile_version: s.profile_version.clone(),
            windows: s.windows,
            windows_gapped: s.windows_gapped,
            calls: s.calls,
            loss_ratio: s.loss_ratio,
            observed_ratio: s.observed_ratio,
            judged_ratio: s.judged_ratio,
            names_left_out: s.names_left_out,
            recent_seconds: s.recent_seconds,
            scored_at: time(s.scored_at.as_ref()),
            peak_score: s.peak_score,
            peak_at: time(s.peak_at.as_ref()),
            ended: s.ended,
            evidence: s.evidence.iter().map(|e| Evidence::new(e, s.threshold)).collect(),
            first_times: s.first_times.iter().map(FirstTime::from).collect(),
            network: s.network.as_ref().map(Network::from),
        }
    }
}

impl Evidence {
    /// Of a container with this threshold, nats a call.
    fn new(e: &v1::Evidence, threshold: Option<f64>) -> Self {
        Self {
            pid: e.tgid,
            tid: e.tid,
            process: e.process.clone(),
            by_exec: e.by_exec,
            at: time(e.at.as_ref()),
            score: e.score,
            below_threshold: threshold.is_some_and(|t| e.score < t),
            novelty: e.novelty,
            calls: e.calls,
            new_names: e.new_names.iter().map(NewName::from).collect(),
            first_sequence: e.first_sequence,
            surprises: e.surprises.iter().map(Surprise::from).collect(),
        }
    }
}

impl From<&v1::Surprise> for Surprise {
    fn from(s: &v1::Surprise) -> Self {
        let expected = s.expected.iter().map(|e| Expected { call: e.call.clone(), probability: e.probability });
        Self {
            call: s.call.clone(),
            sequence: s.sequence,
            probability: s.probability,
            surprisal: s.surprisal,
            never_seen: s.never_seen,
            times: s.times,
            effect: s.effect.clone(),
            name: s.name.clone(),
            after: s.after.clone(),
            expected: expected.collect(),
        }
    }
}

impl From<&v1::Network> for Network {
    fn from(n: &v1::Network) -> Self {
        Self {
            rx_bytes: n.rx_bytes,
            tx_bytes: n.tx_bytes,
            rx_packets: n.rx_packets,
            tx_packets: n.tx_packets,
            connects_attempted: n.connects_attempted,
            connects_established: n.connects_established,
            connects_failed: n.connects_failed,
            accepts: n.accepts,
            distinct_remotes: n.distinct_remotes,
        }
    }
}

impl From<&v1::Profile> for Profile {
    fn from(p: &v1::Profile) -> Self {
        Self {
            workload: p.workload.clone(),
            version: p.version.clone(),
            trained_at: time(p.trained_at.as_ref()),
            trained_calls: p.trained_calls,
            held_out_windows: p.held_out_windows,
            vocabulary: p.vocabulary,
            held_out_mean: p.held_out_mean,
            quantiles: p.quantiles.iter().map(|q| Quantile { q: q.q, score: q.score }).collect(),
            threshold: p.threshold,
            threshold_source: p.threshold_source.clone(),
            calibrated_threshold: p.calibrated_threshold,
            false_alarm_budget: p.false_alarm_budget,
            extrapolated: p.extrapolated,
            promise: p.promise.clone(),
            held_out_container_days: p.held_out_container_days,
            false_alarms_at_most: p.false_alarms_at_most,
            extremal_index: p.extremal_index,
            image: p.image.clone(),
            names: p.names.iter().map(KnownNames::from).collect(),
        }
    }
}

impl From<&v1::KnownNames> for KnownNames {
    fn from(names: &v1::KnownNames) -> Self {
        let v1::KnownNames { did, known, newcomers, nats } = names.clone();
        Self { did, known, newcomers, nats }
    }
}

/// On several lines.
pub fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|e| format!("{{\"error\":{:?}}}", e.to_string()))
}

/// On one line.
pub fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|e| format!("{{\"error\":{:?}}}", e.to_string()))
}
