//! What a scorer says and costs: its metrics, processor time, resident memory, and what each container's score rests on.
//!
//! In: its addresses and its process. Out: figures. Never: a figure that is made up where a program does not say it.

use anyhow::{Context as _, Result, ensure};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};
use surprisal_proto::v1::{self, scores_client::ScoresClient};

/// Names of the metrics that are read.
const PREFIX: &str = "surprisal_scorer_";
/// The histogram of the time from a batch to its verdicts.
const LATENCY: &str = "surprisal_scorer_inference_latency_seconds_bucket{le=\"";
/// Drops by stage and reason.
const DROPPED: &str = "surprisal_scorer_dropped_total{stage=\"";

/// A scorer's metrics at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Counters and gauges without labels, by name without the prefix.
    pub values: BTreeMap<String, f64>,
    /// Things dropped, by "stage reason".
    pub dropped: BTreeMap<String, u64>,
    /// (upper bound in seconds, windows up to there), cumulative, rising.
    pub latency: Vec<(f64, u64)>,
}

impl Metrics {
    /// Asks `address` for `/metrics`.
    pub fn read(address: &str) -> Result<Self> {
        let mut socket = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(socket, "GET /metrics HTTP/1.1\r\nHost: scorer\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).context("reading /metrics")?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "/metrics: {}", answer.lines().next().unwrap_or_default());
        Ok(Self::parse(&answer))
    }

    /// Reads the text.
    pub fn parse(text: &str) -> Self {
        let mut metrics = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            if let Some(bound) = name.strip_prefix(LATENCY).and_then(|rest| rest.split('"').next()) {
                metrics
                    .latency
                    .push((if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap_or(f64::NAN) }, value as u64));
            } else if let Some(labels) = name.strip_prefix(DROPPED) {
                let words: Vec<_> = labels.split('"').collect();
                if let [stage, _, reason, ..] = *words {
                    metrics.dropped.insert(format!("{stage} {reason}"), value as u64);
                }
            } else if let Some(name) = name.strip_prefix(PREFIX) {
                metrics.values.insert(name.to_owned(), value);
            }
        }
        metrics
    }

    /// A value; 0 where there is none.
    pub fn value(&self, name: &str) -> f64 {
        self.values.get(name).copied().unwrap_or(0.0)
    }

    /// How much a counter has grown since `before`.
    pub fn grown(&self, before: &Self, name: &str) -> f64 {
        self.value(name) - before.value(name)
    }

    /// What was dropped since `before`.
    pub fn dropped_since(&self, before: &Self) -> BTreeMap<String, u64> {
        let grown = |(name, n): (&String, &u64)| (name.clone(), n - before.dropped.get(name).copied().unwrap_or(0));
        self.dropped.iter().map(grown).filter(|(_, n)| *n > 0).collect()
    }

    /// The time, in seconds, within which a share `q` of the windows since `before` had their verdict: within a bucket, as if they
    /// were spread evenly. `None`: there were none, or it lies above the last bound.
    pub fn latency_quantile(&self, before: &Self, q: f64) -> Option<f64> {
        let grown: Vec<_> =
            self.latency.iter().enumerate().map(|(i, (le, n))| (*le, n - before.latency.get(i).map_or(0, |b| b.1))).collect();
        let all = grown.last()?.1;
        let wanted = q * all as f64;
        let at = grown.iter().position(|(_, n)| all > 0 && *n as f64 >= wanted)?;
        let (below, n_below) = if at == 0 { (0.0, 0) } else { grown[at - 1] };
        let (above, n) = grown[at];
        let part = if n > n_below { (wanted - n_below as f64) / (n - n_below) as f64 } else { 1.0 };
        above.is_finite().then_some(below + (above - below) * part)
    }
}

/// Processor time that a process has used, all its threads together.
pub fn processor_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} has ended"))?;
    // After the name, which may hold anything: state is field 3, utime 14, stime 15.
    let fields: Vec<_> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).context("no such field in /proc/PID/stat");
    // Linux says USER_HZ here, which is 100 on every architecture that is supported.
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

/// Resident memory of a process, bytes.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} has ended"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("no VmRSS in /proc/PID/status")?;
    Ok(line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).context("a number of VmRSS")? * 1024)
}

/// A container's windows so far: scored, and that the model had no time for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Windows {
    /// Scored.
    pub scored: u64,
    /// Shed.
    pub shed: f64,
}

/// By node and container.
pub type ByContainer = BTreeMap<(String, String), Windows>;

/// Asks for the scores of all containers, by node and whether they are busy.
pub async fn windows(url: &str) -> Result<ByContainer> {
    let mut client = ScoresClient::connect(url.to_owned()).await?.max_decoding_message_size(usize::MAX);
    let (mut all, mut page_token) = (ByContainer::new(), String::new());
    loop {
        let page = client.list(v1::ListRequest { filter: None, page_size: 1000, page_token }).await?.into_inner();
        for score in page.scores {
            let container = score.container.unwrap_or_default();
            // scored / (scored + shed) is what it says.
            let shed = score.judged_ratio.map_or(0.0, |r| if r > 0.0 { score.windows as f64 * (1.0 - r) / r } else { 1.0 });
            all.insert((container.node, format!("{}/{}", container.name, container.id)), Windows { scored: score.windows, shed });
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

/// What sharing out the model's time among containers gave, between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    /// Containers of which windows were shed.
    pub shed: usize,
    /// Share of the windows of containers of this kind that were scored.
    pub busy: Option<f64>,
    /// The same of the others.
    pub quiet: Option<f64>,
}

/// Compares two looks.
pub fn shares(before: &ByContainer, after: &ByContainer) -> Shares {
    let mut shares = Shares::default();
    let mut kinds = [(0.0, 0.0); 2];
    for (key, now) in after {
        let then = before.get(key).copied().unwrap_or_default();
        let (scored, shed) = ((now.scored - then.scored) as f64, (now.shed - then.shed).max(0.0));
        shares.shed += usize::from(shed > 0.5);
        let kind = &mut kinds[usize::from(!key.1.starts_with("busy/"))];
        *kind = (kind.0 + scored, kind.1 + scored + shed);
    }
    let [busy, quiet] = kinds.map(|(scored, all)| (all > 0.0).then(|| scored / all));
    Shares { busy, quiet, ..shares }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_and_compared() {
        let text = |n: u64| {
            format!(
                "# HELP surprisal_scorer_windows_scored Windows scored.\nsurprisal_scorer_windows_scored_total {n}\n\
                 surprisal_scorer_dropped_total{{stage=\"windows\",reason=\"overload\"}} {n}\n\
                 surprisal_scorer_inference_latency_seconds_bucket{{le=\"0.1\"}} {n}\n\
                 surprisal_scorer_inference_latency_seconds_bucket{{le=\"0.2\"}} {}\n\
                 surprisal_scorer_inference_latency_seconds_bucket{{le=\"+Inf\"}} {}\n",
                3 * n,
                4 * n
            )
        };
        let (before, after) = (Metrics::parse(&text(100)), Metrics::parse(&text(200)));
        assert!((after.grown(&before, "windows_scored_total") - 100.0).abs() < 1e-9);
        assert_eq!(after.dropped_since(&before), BTreeMap::from([("windows overload".to_owned(), 100)]));
        // 100 up to 0.1 s, 200 up to 0.2 s, 100 above.
        for (q, expect) in [(0.125, Some(0.05)), (0.25, Some(0.1)), (0.5, Some(0.15)), (0.75, Some(0.2)), (0.99, None)] {
            let got = after.latency_quantile(&before, q);
            assert_eq!(got.map(|s| (s * 1e6).round()), expect.map(|s: f64| (s * 1e6).round()), "{q}");
        }
        assert_eq!(after.latency_quantile(&after, 0.5), None);
    }

    #[test]
    fn shares_are_of_what_happened_between_two_looks() {
        let look = |busy: (u64, f64), quiet: (u64, f64)| {
            let of = |(scored, shed)| Windows { scored, shed };
            ByContainer::from([(("n".into(), "busy/1".into()), of(busy)), (("n".into(), "quiet/2".into()), of(quiet))])
        };
        let got = shares(&look((10, 10.0), (10, 0.0)), &look((20, 40.0), (20, 0.0)));
        assert_eq!(got, Shares { shed: 1, busy: Some(0.25), quiet: Some(1.0) });
    }

    #[test]
    fn this_process_has_used_something() {
        let pid = std::process::id();
        assert!(resident_bytes(pid).expect("its status") > 1 << 20);
        processor_time(pid).expect("its stat");
    }
}
