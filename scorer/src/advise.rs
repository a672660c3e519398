//! What a threshold would have meant: "with this one you would have had so many alerts".
//!
//! In: recordings, the profiles that they are judged by, thresholds. Out: [`Advice`]. Never: a threshold that is set; an answer
//! about more than was recorded: what is said for a day says on how little it stands.
//!
//! A recording is played ([`replay`]) into the same registry that serving has, by the recording's own clock, and judged
//! by the same thread; alerts are counted by [`crate::judge::alarms`], which counts as the registry's verdicts do.

pub mod replay;

use crate::containers::job::{Job, Key};
use crate::containers::thread::ThreadId;
use crate::detect::score::Score;
use crate::detect::surprisal::{Loader, Surprisal};
use crate::inference::{self, Command, Reply};
use crate::judge::alarms::episodes;
use crate::judge::calibration::promise::at_most;
use crate::judge::threshold::{Judge, Source, Threshold};
use crate::metrics::Metrics;
use crate::profile::archive::Profile;
use crate::profile::directory::Directory;
use crate::profile::error::ProfileError;
use crate::profile::store::Store;
use crate::train::recording::CorpusError;
use replay::Replay;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Thresholds that are tried, as multiples of the one in force.
pub const MULTIPLES: [f64; 9] = [0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0];
/// Windows handed to the model at once.
const AT_ONCE: usize = 4096;
const DAY: f64 = 86_400.0;

/// Why there is no advice.
#[derive(Debug, thiserror::Error)]
pub enum AdviseError {
    /// A recording is bad.
    #[error("recording")]
    Recording(#[from] CorpusError),
    /// The profiles cannot be read.
    #[error("profiles")]
    Profiles(#[from] ProfileError),
    /// There is nothing to say anything of.
    #[error("{0}")]
    Nothing(String),
    /// The model's thread could not be started.
    #[error(transparent)]
    Start(#[from] inference::StartError),
    /// The model's thread has ended before its work.
    #[error("the inference thread has ended unexpectedly")]
    Ended,
}

/// What is said of one workload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Advice {
    /// Workload.
    pub workload: String,
    /// Version of the profile that judged.
    pub version: String,
    /// Labels of the recordings, sorted; an unlabelled one has none.
    pub labels: Vec<String>,
    /// Containers recorded.
    pub containers: u64,
    /// Seconds recorded, summed over containers: from each one's first call to its last.
    pub container_seconds: f64,
    /// Windows scored.
    pub windows: u64,
    /// Windows that a gap cut or that could not be judged.
    pub unscored: u64,
    /// Threshold in force, nats a call.
    pub threshold: f64,
    /// Where it comes from: "quantiles", "profile" or "global".
    pub threshold_source: String,
    /// Highest score of any window, nats a call; `null`: none was scored.
    pub highest: Option<f64>,
    /// By threshold, ascending.
    pub rows: Vec<Row>,
}

/// What one threshold would have meant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Nats a call.
    pub threshold: f64,
    /// As a multiple of the one in force.
    pub multiple: f64,
    /// Windows at or above it.
    pub windows: u64,
    /// Alerts over the recorded period.
    pub alerts: u64,
    /// The same for a container-day; `null`: no time passed.
    pub alerts_per_container_day: Option<f64>,
    /// Alerts per container-day that the recorded period does not rule out, with 95 % confidence; `null`: no time passed.
    pub at_most_per_container_day: Option<f64>,
}

/// What was scored of a workload: each container of each recording by itself, in the order of time.
#[derive(Clone, Debug, Default)]
pub struct Scored {
    /// Windows, with when they were cut; a container's node is its recording.
    pub containers: BTreeMap<Key, Vec<(Duration, Score)>>,
    /// Seconds from the first call to the last, summed over containers.
    pub container_seconds: f64,
    /// Windows that a gap cut or that could not be judged.
    pub unscored: u64,
    /// Labels of the recordings.
    pub labels: std::collections::BTreeSet<String>,
}

/// Counts. *Pure.*
pub fn advice(profile: &Profile, (threshold, source): (Threshold, Source), scored: &Scored) -> Advice {
    let all = || scored.containers.values().flatten();
    let row = |multiple: f64| {
        let tried = Threshold::try_from(threshold.nats() * multiple).ok()?;
        let found: Vec<_> = scored.containers.values().flat_map(|windows| episodes(windows, tried)).collect();
        let (alerts, days) = (found.len() as u64, scored.container_seconds / DAY);
        let a_day = |n: f64| (days > 0.0).then_some(n / days);
        Some(Row {
            threshold: tried.nats(),
            multiple,
            windows: found.iter().map(|e| e.windows).sum(),
            alerts,
            alerts_per_container_day: a_day(alerts as f64),
            at_most_per_container_day: a_day(at_most(alerts)),
        })
    };
    Advice {
        workload: profile.metadata.workload.clone(),
        version: profile.metadata.version.clone(),
        labels: scored.labels.iter().cloned().collect(),
        containers: scored.containers.len() as u64,
        container_seconds: scored.container_seconds,
        windows: all().count() as u64,
        unscored: scored.unscored,
        threshold: threshold.nats(),
        threshold_source: source.as_str().to_owned(),
        // JSON has no infinity.
        highest: all().map(|(_, score)| score.nats().min(f64::MAX)).max_by(f64::total_cmp),
        rows: MULTIPLES.into_iter().filter_map(row).collect(),
    }
}

/// Reads profiles and recordings, judges, counts: for `workload`, or for every workload in the recordings that has a profile.
pub fn advise(
    store: &impl Store,
    workload: Option<&str>,
    recordings: &[PathBuf],
    allow_truncated: bool,
    loader: Loader,
) -> Result<Vec<Advice>, AdviseError> {
    let profiles: Vec<_> = store.iter().filter(|p| workload.is_none_or(|w| w == p.metadata.workload)).map(Arc::clone).collect();
    let scored = score(&profiles, recordings, allow_truncated, loader)?;
    let said = |profile: &Arc<Profile>| {
        let name = &profile.metadata.workload;
        Some(advice(profile, store.threshold(name)?, scored.get(name)?))
    };
    let advice: Vec<_> = profiles.iter().filter_map(said).collect();
    if advice.is_empty() {
        let known = store.iter().map(|p| p.metadata.workload.as_str()).collect::<Vec<_>>().join(", ");
        return Err(AdviseError::Nothing(match workload {
            Some(name) => format!("the recordings hold no windows of workload {name:?}"),
            None => format!("the recordings hold no windows of a workload that has a profile (there are profiles of: {known})"),
        }));
    }
    Ok(advice)
}

type Judged = Arc<Mutex<Vec<(Arc<str>, Key, Duration, Option<Score>)>>>;
/// What windows that are about something new score for it.
type News = Arc<Mutex<HashMap<(Key, ThreadId, u64), Score>>>;

/// Scores recordings as serving would.
fn score(
    profiles: &[Arc<Profile>],
    recordings: &[PathBuf],
    allow_truncated: bool,
    loader: Loader,
) -> Result<BTreeMap<String, Scored>, AdviseError> {
    let judged: Judged = Arc::default();
    let said = Arc::clone(&judged);
    let news: News = Arc::default();
    let new = Arc::clone(&news);
    let reply: Reply = Box::new(move |job, finding| {
        let new = new.lock().unwrap_or_else(PoisonError::into_inner).remove(&place(job)).unwrap_or_default();
        let score = finding.map(|f| f.score.or(new));
        let line = (Arc::clone(&job.workload), job.key.clone(), job.cut_at, score);
        said.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    });
    let (model, thread) = inference::start(|| Surprisal::new(loader, Metrics::default()), reply, Metrics::default())?;
    let played = play(profiles, recordings, allow_truncated, &model, &news);
    // Whatever came of it: the process must not end while the thread is at work.
    drop(model);
    thread.join().map_err(|_panic| AdviseError::Ended)?;
    let mut scored = played?;
    for (workload, key, at, score) in judged.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        let scored = scored.entry(workload.to_string()).or_default();
        match score {
            Some(score) => scored.containers.entry(key).or_default().push((at, score)),
            None => scored.unscored += 1,
        }
    }
    // Windows that wait together are answered in any order.
    scored.values_mut().flat_map(|s| s.containers.values_mut()).for_each(|windows| windows.sort_by_key(|(at, _)| *at));
    scored.retain(|_, s| !s.containers.is_empty());
    Ok(scored)
}

/// Which window of all.
fn place(job: &Job) -> (Key, ThreadId, u64) {
    (job.key.clone(), job.thread, job.window.first_sequence)
}

/// Sends all windows of the recordings to the model; says what else was in them.
fn play(
    profiles: &[Arc<Profile>],
    recordings: &[PathBuf],
    allow_truncated: bool,
    model: &mpsc::Sender<Command>,
    news: &News,
) -> Result<BTreeMap<String, Scored>, AdviseError> {
    let tell = |command| model.blocking_send(command).map_err(|_source| AdviseError::Ended);
    for profile in profiles {
        tell(Command::Install(Arc::clone(profile)))?;
    }
    // Whoever has a profile is judged; what is made of the scores comes later.
    let judge = |p: &Arc<Profile>| {
        let m = &p.metadata;
        let judge = Judge {
            version: m.version.as_str().into(),
            threshold: m.calibration.threshold,
            source: Source::Quantiles,
            seen: p.seen(),
        };
        (m.workload.clone(), judge)
    };
    let judges: HashMap<_, _> = profiles.iter().map(judge).collect();
    let mut scored: BTreeMap<String, Scored> = BTreeMap::new();
    for (number, path) in recordings.iter().enumerate() {
        let mut replay = Replay::open(path, &number.to_string(), judges.clone(), allow_truncated)?;
        let mut jobs = Vec::new();
        let mut looked = 0;
        while replay.step(&mut jobs)? {
            for job in &jobs[looked..] {
                let score = replay.names_score(job);
                if score.nats() > 0.0 {
                    news.lock().unwrap_or_else(PoisonError::into_inner).insert(place(job), score);
                }
            }
            looked = jobs.len();
            if jobs.len() >= AT_ONCE {
                tell(Command::Judge(std::mem::take(&mut jobs)))?;
                looked = 0;
            }
        }
        tell(Command::Judge(jobs))?;
        for (workload, about) in replay.finish() {
            let scored = scored.entry(workload).or_default();
            scored.container_seconds += about.container_seconds;
            scored.unscored += about.gapped;
            scored.labels.extend(about.label);
        }
    }
    Ok(scored)
}

/// Opens a directory of profiles, without making one.
pub fn open(profiles: &Path) -> Result<Directory, AdviseError> {
    if !profiles.is_dir() {
        return Err(AdviseError::Nothing(format!("{} is no directory of profiles", profiles.display())));
    }
    let mut store = Directory::open(profiles, None)?;
    store.scan()?;
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::wire::ContainerId;
    use crate::profile::archive::tests::profile;

    #[test]
    fn counts_are_extrapolated_with_what_is_not_ruled_out() {
        let key = |node: &str| Key { node: node.into(), id: ContainerId::try_from("a").expect("an id") };
        let at = |s: u64, nats: f64| (Duration::from_secs(s), Score::new(nats));
        let scored = Scored {
            containers: BTreeMap::from([(key("0"), vec![at(0, 3.0), at(10, 3.0), at(100, 1.2)]), (key("1"), vec![at(12, 2.5)])]),
            // A tenth of a day.
            container_seconds: 8640.0,
            unscored: 2,
            labels: ["normal".to_owned()].into(),
        };
        let threshold = Threshold::try_from(2.0).expect("positive");
        let advice = advice(&profile("a/b/c"), (threshold, Source::Global), &scored);
        assert_eq!((advice.containers, advice.windows, advice.unscored, advice.highest), (2, 4, 2, Some(3.0)));
        let rows: Vec<_> = advice.rows.iter().map(|r| (r.multiple, r.windows, r.alerts)).collect();
        assert_eq!(
            rows,
            [
                (0.25, 4, 3),
                (0.5, 4, 3),
                (0.75, 3, 2),
                (0.9, 3, 2),
                (1.0, 3, 2),
                (1.1, 3, 2),
                (1.25, 3, 2),
                (1.5, 2, 1),
                (2.0, 0, 0)
            ]
        );
        let last = &advice.rows[8];
        assert_eq!(last.alerts_per_container_day, Some(0.0));
        assert!(last.at_most_per_container_day.is_some_and(|n| (n - 29.96).abs() < 0.01), "{last:?}");
        assert_eq!(advice.rows[4].alerts_per_container_day, Some(20.0));
    }
}
