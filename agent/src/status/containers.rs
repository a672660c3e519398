//! `/containers`: every container of this node that the agent knows, and why one is not followed.
//!
//! In: the capture thread's list, at most a second old. Out: [`Row`]s, as JSON and as a table. Never: looks for a container itself.

use crate::{
    attribute::{Listed, Naming},
    container::Watch,
    identity::Found,
};
use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One container. An empty text: not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The runtime's id.
    pub id: String,
    /// The runtime's own namespace ("k8s.io", "moby"), or what manages the container ("cri-o", "libpod").
    pub runtime: String,
    /// Kubernetes namespace.
    pub namespace: String,
    /// Pod.
    pub pod: String,
    /// Container's name.
    pub container: String,
    /// What shares a profile with it.
    pub workload: String,
    /// Where the workload's owner is known from: "kubernetes", or "guessed" from the pod's name.
    pub owner_source: String,
    /// How it was found: "birth", "walk" (it ran before the agent), "inferred" (its birth was lost).
    pub seen: String,
    /// Since when it is followed. `None`: it is not.
    pub followed_since: Option<Timestamp>,
    /// Why it is not followed, or has no names.
    pub reason: String,
}

impl From<&Listed> for Row {
    fn from(listed: &Listed) -> Self {
        let names = listed.info.as_ref().filter(|info| info.is_named()).map(|info| info.names.clone());
        let opted_out = listed.info.as_ref().is_some_and(|info| info.watch == Watch::OptedOut);
        let reason = match (listed.naming, &names) {
            (Naming::Asked, _) => "its names are being looked for; its calls wait",
            (Naming::Unwanted, Some(names)) if names.kind.is_sandbox() => "a pod's sandbox: it only holds namespaces",
            (Naming::Unwanted, _) if opted_out => "opted out by an annotation of its pod or namespace",
            (Naming::Unwanted, _) => "not selected",
            (Naming::Followed, Some(names)) if names.own_kernel => {
                "sandboxed runtime: its calls are the sandbox's, and never scored"
            }
            (Naming::Followed, None) => "no bundle was found: it is followed without names",
            (Naming::Followed, Some(_)) => "",
        };
        let owner_source = match &names {
            None => "",
            Some(names) if names.is_owner_known() => "kubernetes",
            Some(_) => "guessed",
        };
        let names = names.unwrap_or_default();
        Self {
            id: listed.id(),
            runtime: names.runtime_namespace,
            namespace: names.namespace,
            pod: names.pod,
            container: names.name,
            workload: names.workload,
            owner_source: owner_source.to_owned(),
            seen: match listed.who.found {
                Found::Birth => "birth",
                Found::Walk => "walk",
                Found::Inferred => "inferred",
            }
            .to_owned(),
            followed_since: (listed.naming == Naming::Followed).then_some(listed.since),
            reason: reason.to_owned(),
        }
    }
}

/// For people. Ends with a line break.
pub fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "no containers\n".to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["CONTAINER", "WORKLOAD", "RUNTIME", "SEEN", "FOLLOWED SINCE", "REASON"]);
    for row in rows {
        // As runtimes shorten it.
        let id = if row.id.len() == 64 { &row.id[..12] } else { &row.id };
        let since = row.followed_since.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"));
        let workload = if row.workload.is_empty() { "-" } else { &row.workload };
        let runtime = if row.runtime.is_empty() { "-" } else { &row.runtime };
        table.add_row([id, workload, runtime, &row.seen, &since, &row.reason]);
    }
    let lines: Vec<_> = table.to_string().lines().map(|l| l.strip_prefix(' ').unwrap_or(l).trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        container::{ContainerInfo, ContainerKey, Kind, Names},
        identity::Sighting,
    };
    use std::sync::Arc;

    fn listed(found: Found, naming: Naming, names: Option<Names>) -> Listed {
        let key = ContainerKey(7);
        let who = Sighting { key, cgroup_name: "c1".into(), tgid: 1, shim_tgid: 2, started_at: None, found };
        let id: crate::container::ContainerId = "c1".parse().expect("an id");
        let info = names.map(|names| match names.kind {
            Kind::Unknown => ContainerInfo::unnamed(key, "n".into(), Some(id), None),
            _ => ContainerInfo::named(key, "n".into(), id, names, None),
        });
        Listed { who, naming, info: info.map(Arc::new), since: Timestamp::UNIX_EPOCH }
    }

    fn names() -> Names {
        Names {
            namespace: "shop".into(),
            pod: "web-0".into(),
            name: "nginx".into(),
            runtime_namespace: "k8s.io".into(),
            kind: Kind::Container,
            ..Names::default()
        }
    }

    #[test]
    fn rows() {
        for (listed, seen, workload, followed, reason) in [
            (listed(Found::Birth, Naming::Followed, Some(names())), "birth", "shop/web/nginx", true, ""),
            (listed(Found::Walk, Naming::Unwanted, Some(names())), "walk", "shop/web/nginx", false, "not selected"),
            (listed(Found::Inferred, Naming::Followed, Some(Names::default())), "inferred", "", true, "no bundle"),
            (listed(Found::Walk, Naming::Asked, None), "walk", "", false, "being looked for"),
        ] {
            let row = Row::from(&listed);
            assert_eq!((row.id.as_str(), row.seen.as_str(), row.workload.as_str()), ("c1", seen, workload));
            assert_eq!((row.followed_since.is_some(), row.owner_source.is_empty()), (followed, workload.is_empty()));
            assert!(row.reason.contains(reason) && row.reason.is_empty() == reason.is_empty(), "{row:?}");
        }
    }

    #[test]
    fn a_table() {
        assert_eq!(table(&[]), "no containers\n");
        let mut row = Row::from(&listed(Found::Birth, Naming::Followed, Some(names())));
        row.id = "a".repeat(64);
        let text = table(&[row]);
        let line = text.lines().nth(1).expect("a row").split_whitespace().collect::<Vec<_>>();
        assert_eq!(line, ["aaaaaaaaaaaa", "shop/web/nginx", "k8s.io", "birth", "1970-01-01T00:00:00Z"]);
    }
}
