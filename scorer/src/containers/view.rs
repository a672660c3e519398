//! What queries see of the containers. *Pure.*
//!
//! In: a registry, a filter, a page token from anyone. Out: messages of `surprisal.v1`. Never: a change.

use crate::containers::entry::{Entry, Shown};
use crate::containers::job::Key;
use crate::containers::registry::{Node, Registry};
use crate::detect::names::Kind;
use crate::detect::score::{EVIDENCE, RECENT, Score};
use crate::detect::vocab::hex;
use crate::judge::verdict::{Verdict, shown};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;
use surprisal_proto::v1;

/// Rows of a page: if not said, and at most.
const PAGE: (usize, usize) = (100, 1000);

/// A page token that this scorer did not give.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("page_token is not one that this scorer gave")]
pub struct NotAPageToken;

/// Where a container stands in a list.
type Order<'a> = [&'a str; 5];

fn order<'a>(key: &'a Key, entry: &'a Entry) -> Order<'a> {
    let c = &entry.about;
    [&c.namespace, &c.pod, &c.name, key.id.as_str(), &key.node]
}

impl Registry {
    /// A page of the containers that match, with the token of the next page (empty: none).
    pub fn list(&self, request: &v1::ListRequest) -> Result<v1::ListResponse, NotAPageToken> {
        let after = parse_token(&request.page_token)?;
        let size = match request.page_size as usize {
            0 => PAGE.0,
            n => n.min(PAGE.1),
        };
        let mut rows = self.matching(request.filter.as_ref(), 0);
        if let Some(after) = &after {
            rows.retain(|(key, entry)| {
                order(key, entry).as_slice() > after.iter().map(String::as_str).collect::<Vec<_>>().as_slice()
            });
        }
        let more = rows.len() > size;
        rows.truncate(size);
        let next = rows.last().filter(|_| more).map(|(key, entry)| token(order(key, entry))).unwrap_or_default();
        Ok(v1::ListResponse { scores: rows.into_iter().map(|(k, e)| self.score(k, e)).collect(), next_page_token: next })
    }

    /// The scores that match and changed after `revision`; 0: all.
    pub fn changed_since(&self, filter: Option<&v1::Filter>, revision: u64) -> Vec<v1::Score> {
        self.matching(filter, revision).into_iter().map(|(k, e)| self.score(k, e)).collect()
    }

    /// The nodes, by name.
    pub fn nodes(&self) -> Vec<v1::NodeStatus> {
        let mut sampled: HashMap<&str, u64> = HashMap::new();
        for (key, _) in self.containers.iter().filter(|(_, e)| e.observed.is_some() && e.ended.is_none()) {
            *sampled.entry(key.node.as_ref()).or_default() += 1;
        }
        let status = |(name, node): (&Arc<str>, &Node)| v1::NodeStatus {
            node: name.to_string(),
            connected: node.streams > 0,
            containers: node.containers as u64,
            calls: node.calls,
            dropped_on_node: node.unsent,
            sampled_containers: sampled.get(name.as_ref()).copied().unwrap_or(0),
        };
        let mut nodes: Vec<_> = self.nodes.iter().map(status).collect();
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        nodes
    }

    /// The scores that match, at most `most`.
    pub fn find(&self, filter: &v1::Filter, most: usize) -> Vec<v1::Score> {
        self.matching(Some(filter), 0).into_iter().take(most).map(|(k, e)| self.score(k, e)).collect()
    }

    fn matching(&self, filter: Option<&v1::Filter>, after: u64) -> Vec<(&Key, &Entry)> {
        let empty = v1::Filter::default();
        let filter = filter.unwrap_or(&empty);
        let wanted = |(key, entry): &(&Key, &Entry)| (after == 0 || entry.revision > after) && self.matches(key, entry, filter);
        let mut rows: Vec<_> = self.containers.iter().filter(wanted).collect();
        rows.sort_by(|a, b| order(a.0, a.1).cmp(&order(b.0, b.1)));
        rows
    }

    fn matches(&self, key: &Key, entry: &Entry, filter: &v1::Filter) -> bool {
        let c = &entry.about;
        let is = |wanted: &str, value: &str| wanted.is_empty() || wanted == value;
        let sandbox = c.kind == v1::container::Kind::Sandbox as i32;
        is(&filter.namespace, &c.namespace)
            && is(&filter.pod, &c.pod)
            && is(&filter.container, &c.name)
            && is(&filter.workload, &c.workload)
            && is(&filter.node, &key.node)
            && key.id.as_str().starts_with(&filter.container_id)
            && filter.labels.iter().all(|(name, value)| c.labels.get(name) == Some(value))
            && (filter.include_sandboxes || !sandbox)
            && filter.min_score.is_none_or(|least| entry.recent.score().is_some_and(|s| s.nats() >= least))
            && (filter.verdicts.is_empty() || filter.verdicts.contains(&(spell(self.verdict(entry)) as i32)))
    }

    fn verdict(&self, entry: &Entry) -> Verdict {
        entry.verdict(entry.workload.as_ref().and_then(|w| self.judges.get(w.as_ref())))
    }

    fn score(&self, key: &Key, entry: &Entry) -> v1::Score {
        let judge = entry.workload.as_ref().and_then(|w| self.judges.get(w.as_ref()));
        let verdict = entry.verdict(judge);
        let scored = !matches!(verdict, Verdict::Unscored(_));
        let kept = || entry.recent.kept().collect();
        let mut top = judge.filter(|_| scored).map_or_else(Vec::new, |judge| {
            shown::choose(kept(), judge.threshold, EVIDENCE, |s| (s.evidence.kinds(), Arc::clone(&s.process), s.thread))
        });
        // A window in which something ran, was changed or was talked to for the first time says most of what happened.
        top.sort_by_key(|(_, shown)| Reverse(first_times(shown)));
        let highest = top.iter().max_by(|(a, _), (b, _)| a.nats().total_cmp(&b.nats()));
        let container_seconds = judge.and_then(|j| j.seen.as_ref()).map_or(0.0, |seen| seen.container_seconds);
        let evidence = top.iter().map(|(_, shown)| evidence(entry, shown, container_seconds));
        v1::Score {
            container: Some(entry.about.clone()),
            verdict: spell(verdict) as i32,
            unscored_reason: match verdict {
                Verdict::Unscored(reason) => reason.as_str().to_owned(),
                _ => String::new(),
            },
            score: entry.recent.score().filter(|_| scored).map(Score::nats),
            threshold: judge.map(|j| j.threshold.nats()),
            threshold_source: judge.map(|j| j.source.as_str().to_owned()).unwrap_or_default(),
            profile_version: judge.map(|j| j.version.to_string()).unwrap_or_default(),
            windows: entry.windows,
            calls: entry.calls,
            loss_ratio: entry.loss_ratio(),
            windows_gapped: entry.gapped,
            recent_seconds: RECENT.as_secs_f64(),
            scored_at: highest.map(|(_, shown)| SystemTime::from(shown.at).into()),
            evidence: evidence.collect(),
            peak_score: entry.peak.map(|(s, _)| s.nats()),
            peak_at: entry.peak.map(|(_, at)| SystemTime::from(at).into()),
            network: entry.network.clone().map(|n| v1::Network { container_id: key.id.as_str().to_owned(), ..n }),
            ended: entry.ended.is_some(),
            observed_ratio: entry.observed,
            judged_ratio: entry.judged_ratio(),
            first_times: if scored { entry.firsts.messages(container_seconds) } else { Vec::new() },
            names_left_out: self.nodes.get(&key.node).is_some_and(|node| node.names_left_out),
        }
    }
}

fn spell(verdict: Verdict) -> v1::Verdict {
    match verdict {
        Verdict::Normal => v1::Verdict::Normal,
        Verdict::Anomalous => v1::Verdict::Anomalous,
        Verdict::Unscored(_) => v1::Verdict::Unscored,
    }
}

/// Where the page ended, as text that needs no quoting.
fn token(order: Order<'_>) -> String {
    hex(order.join("\0").as_bytes())
}

/// In how many ways a window did something for the first time that changes something: ran, changed, talked.
fn first_times(shown: &Shown) -> usize {
    let did = |kind: Kind| shown.new_names.iter().any(|new| new.kind == kind);
    [Kind::Run, Kind::Change, Kind::Talk].into_iter().filter(|kind| did(*kind)).count()
}

/// A window, who made its calls, and what they were about: a name may have come after the window was judged.
fn evidence(entry: &Entry, shown: &Shown, container_seconds: f64) -> v1::Evidence {
    let mut evidence = shown.evidence.to_proto();
    for (n, surprise) in evidence.surprises.iter_mut().enumerate() {
        let known = shown.names.get(n).cloned().flatten();
        surprise.name = known
            .or_else(|| entry.names.get(shown.thread, surprise.sequence).map(|told| Arc::clone(&told.shown)))
            .map(|s| s.to_string())
            .unwrap_or_default();
    }
    v1::Evidence {
        tgid: shown.thread.tgid,
        tid: shown.thread.tid,
        process: shown.process.to_string(),
        by_exec: shown.by_exec,
        new_names: shown.new_names.iter().map(|new| new.message(container_seconds)).collect(),
        ..evidence
    }
}

fn parse_token(text: &str) -> Result<Option<[String; 5]>, NotAPageToken> {
    if text.is_empty() {
        return Ok(None);
    }
    let nibble = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    let bytes = text
        .as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
            _ => None,
        })
        .collect::<Option<Vec<u8>>>()
        .ok_or(NotAPageToken)?;
    let text = String::from_utf8(bytes).map_err(|_source| NotAPageToken)?;
    let parts: Vec<String> = text.split('\0').map(str::to_owned).collect();
    parts.try_into().map(Some).map_err(|_source| NotAPageToken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tokens_read_back_and_nothing_else_is_one(parts in prop::array::uniform5("[^\0]{0,12}"), garbage in ".{1,60}") {
            let order: Order<'_> = [&parts[0], &parts[1], &parts[2], &parts[3], &parts[4]];
            prop_assert_eq!(parse_token(&token(order)), Ok(Some(parts.clone())));
            prop_assert!(parse_token(&garbage).is_err() || garbage.bytes().all(|b| b.is_ascii_hexdigit()));
        }
    }
}
