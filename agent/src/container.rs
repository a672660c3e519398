//! Who a container is: its id, its names, the workload it belongs to, and whether anyone wants it.
//!
//! In: what [`crate::bundle`] and [`crate::procfs`] read. Out: [`ContainerInfo`], in the words of the wire and
//! of recordings; [`Selection`]. Never: reads a file. Pure.

pub mod id;

pub use id::{BadId, ContainerId, ContainerKey, ID_MAX};

use globset::{Glob, GlobMatcher};
use jiff::Timestamp;
use std::{fmt, str::FromStr, sync::Arc};
use surprisal_proto::{recording, v1};

/// What kind of thing the runtime runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Kind {
    /// Not known: the bundle could not be read (yet).
    #[default]
    Unknown,
    /// An ordinary container.
    Container,
    /// A pod sandbox ("pause"): it only holds namespaces.
    Sandbox,
}

/// Names of a container, as far as its bundle says; empty: it does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Pod name.
    pub pod: String,
    /// Pod UID.
    pub pod_uid: String,
    /// Container name inside the pod.
    pub name: String,
    /// Image reference.
    pub image: String,
    /// The runtime's own namespace: "k8s.io", "default", "moby".
    pub runtime_namespace: String,
    /// Kind.
    pub kind: Kind,
}

/// One container on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerInfo {
    /// What the kernel side calls it.
    pub key: ContainerKey,
    /// The runtime's id; `unnamed-<key>` where not even that is known.
    pub id: ContainerId,
    /// This node's name.
    pub node: Arc<str>,
    /// Kubernetes namespace; empty: none, or not known.
    pub namespace: String,
    /// Pod name; empty: none, or not known.
    pub pod: String,
    /// Pod UID; empty: none, or not known.
    pub pod_uid: String,
    /// Container name inside the pod; empty: none, or not known.
    pub name: String,
    /// Image reference; empty: the bundle does not say.
    pub image: String,
    /// The runtime's own namespace; empty: not known.
    pub runtime_namespace: String,
    /// What shares a profile, "namespace/owner/container"; empty: not named yet.
    pub workload: String,
    /// Kind; [`Kind::Unknown`]: not named yet.
    pub kind: Kind,
    /// When its first process was executed. None: it ran before the agent did.
    pub started_at: Option<Timestamp>,
}

impl ContainerInfo {
    /// A container whose bundle was read.
    pub fn named(key: ContainerKey, node: Arc<str>, id: ContainerId, names: Names, started_at: Option<Timestamp>) -> Self {
        let workload = workload_of(&names, &id, &node);
        let Names { namespace, pod, pod_uid, name, image, runtime_namespace, kind } = names;
        Self { key, id, node, namespace, pod, pod_uid, name, image, runtime_namespace, workload, kind, started_at }
    }

    /// A container of which nothing but perhaps the id is known.
    pub fn unnamed(key: ContainerKey, node: Arc<str>, id: Option<ContainerId>, started_at: Option<Timestamp>) -> Self {
        let id = id.unwrap_or_else(|| ContainerId::unnamed(key));
        Self {
            key,
            id,
            node,
            namespace: String::new(),
            pod: String::new(),
            pod_uid: String::new(),
            name: String::new(),
            image: String::new(),
            runtime_namespace: String::new(),
            workload: String::new(),
            kind: Kind::Unknown,
            started_at,
        }
    }

    /// Its bundle was read.
    pub fn is_named(&self) -> bool {
        self.kind != Kind::Unknown
    }

    /// As the wire carries it.
    pub fn to_wire(&self) -> v1::Container {
        let kind = match self.kind {
            Kind::Unknown => v1::container::Kind::Unspecified,
            Kind::Container => v1::container::Kind::Container,
            Kind::Sandbox => v1::container::Kind::Sandbox,
        };
        v1::Container {
            id: self.id.to_string(),
            node: self.node.to_string(),
            namespace: self.namespace.clone(),
            pod: self.pod.clone(),
            pod_uid: self.pod_uid.clone(),
            name: self.name.clone(),
            image: self.image.clone(),
            runtime_namespace: self.runtime_namespace.clone(),
            workload: self.workload.clone(),
            kind: kind.into(),
            started_at: self.started_at.map(wire_time),
        }
    }

    /// As a recording spells it.
    pub fn to_recording(&self) -> recording::Container {
        recording::Container::from(&self.to_wire())
    }
}

/// A time as the wire carries it.
pub fn wire_time(at: Timestamp) -> prost_types::Timestamp {
    let nanos = at.as_nanosecond();
    prost_types::Timestamp { seconds: nanos.div_euclid(1_000_000_000) as i64, nanos: nanos.rem_euclid(1_000_000_000) as i32 }
}

/// What shares a profile with it: "namespace/owner/container".
///
/// In Kubernetes the owner is guessed from the pod's name: the random suffix and a ReplicaSet's hash, a
/// StatefulSet's ordinal, a cron job's minute and a mirror pod's node name are taken off. Elsewhere
/// nothing is shared: "runtime namespace/-/container id".
pub fn workload_of(names: &Names, id: &ContainerId, node: &str) -> String {
    if names.pod.is_empty() {
        let namespace = or_dash(&names.runtime_namespace);
        return format!("{namespace}/-/{id}");
    }
    format!("{}/{}/{}", or_dash(&names.namespace), owner_of(&names.pod, node), or_dash(&names.name))
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// The owner that a pod's name speaks of.
fn owner_of<'a>(pod: &'a str, node: &str) -> &'a str {
    if let Some(owner) = pod.strip_suffix(node).and_then(|rest| rest.strip_suffix('-'))
        && !owner.is_empty()
        && !node.is_empty()
    {
        return owner;
    }
    let Some((rest, last)) = split_last(pod) else { return pod };
    if is_ordinal(last) {
        return rest;
    }
    if !is_random(last) {
        return pod;
    }
    match split_last(rest) {
        Some((owner, middle)) if is_replica_set_hash(middle) || is_cron_minute(middle) => owner,
        _ => rest,
    }
}

fn split_last(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('-').filter(|(rest, last)| !rest.is_empty() && !last.is_empty())
}

/// Five characters of the alphabet that Kubernetes draws names from: no vowels, nothing that reads as one.
fn is_random(part: &str) -> bool {
    part.len() == 5 && part.bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b))
}

/// A 32-bit number in decimal, each digit written as one of ten characters.
fn is_replica_set_hash(part: &str) -> bool {
    (6..=10).contains(&part.len()) && part.bytes().all(|b| b"456789bcdf".contains(&b))
}

/// Minutes (8 digits) or seconds (10 digits) since the epoch, which a cron job puts into its Jobs' names.
fn is_cron_minute(part: &str) -> bool {
    matches!(part.len(), 8 | 10) && part.bytes().all(|b| b.is_ascii_digit())
}

/// A StatefulSet's ordinal.
fn is_ordinal(part: &str) -> bool {
    part.len() <= 5 && part.bytes().all(|b| b.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
}

/// What a selection rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Namespace,
    Pod,
    Container,
    Image,
    Id,
    Workload,
}

/// `KEY=GLOB`: namespace, pod, container, image, id or workload, and a pattern (`*`, `?`, `[a-z]`, `{a,b}`).
///
/// For a container outside Kubernetes, namespace is its runtime's and container is its id.
#[derive(Clone, Debug)]
pub struct Rule {
    field: Field,
    glob: GlobMatcher,
    text: String,
}

/// Why a rule is none.
#[derive(Debug, thiserror::Error)]
pub enum BadRule {
    /// No `=`.
    #[error("{0:?} is not KEY=GLOB")]
    Shape(String),
    /// No such key.
    #[error("{0:?} is none of namespace, pod, container, image, id, workload")]
    Key(String),
    /// No such pattern.
    #[error("bad pattern")]
    Glob(#[source] globset::Error),
}

impl FromStr for Rule {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Self, BadRule> {
        let (key, glob) = text.split_once('=').ok_or_else(|| BadRule::Shape(text.to_owned()))?;
        let field = match key {
            "namespace" => Field::Namespace,
            "pod" => Field::Pod,
            "container" => Field::Container,
            "image" => Field::Image,
            "id" => Field::Id,
            "workload" => Field::Workload,
            other => return Err(BadRule::Key(other.to_owned())),
        };
        let glob = Glob::new(glob).map_err(BadRule::Glob)?.compile_matcher();
        Ok(Self { field, glob, text: text.to_owned() })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Rule {
    fn matches(&self, c: &ContainerInfo) -> bool {
        let plain = c.pod.is_empty();
        self.glob.is_match(match self.field {
            Field::Namespace if plain => &c.runtime_namespace,
            Field::Namespace => &c.namespace,
            Field::Pod => &c.pod,
            Field::Container if plain => c.id.as_str(),
            Field::Container => &c.name,
            Field::Image => &c.image,
            Field::Id => c.id.as_str(),
            Field::Workload => &c.workload,
        })
    }
}

/// Which containers are followed.
///
/// A container is, when no exclude rule matches it and, for each key that include rules name, one of them
/// does. Sandboxes never are. With include rules, a container without names is not (yet).
#[derive(Clone, Debug, Default)]
pub struct Selection {
    include: Vec<Rule>,
    exclude: Vec<Rule>,
}

impl Selection {
    /// From rules; none: everything but sandboxes.
    pub fn new(include: Vec<Rule>, exclude: Vec<Rule>) -> Self {
        Self { include, exclude }
    }

    /// Is it followed?
    pub fn wants(&self, c: &ContainerInfo) -> bool {
        c.kind != Kind::Sandbox
            && !self.exclude.iter().any(|r| r.matches(c))
            && self.include.iter().all(|r| self.include.iter().any(|s| s.field == r.field && s.matches(c)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn id(text: &str) -> ContainerId {
        text.parse().expect("an id")
    }

    #[test]
    fn ids() {
        for good in [HEX, "c1", "my_redis.2-a", "A"] {
            assert_eq!(id(good).as_str(), good);
        }
        let long = "a".repeat(ID_MAX + 1);
        for bad in ["", ".", "..", "../x", "a/b", "-a", "a b", "é", "a\0", &long] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn workloads() {
        #[track_caller]
        fn check(namespace: &str, pod: &str, name: &str, expect: &str) {
            let names = Names { namespace: namespace.into(), pod: pod.into(), name: name.into(), ..Names::default() };
            assert_eq!(workload_of(&names, &id(HEX), "node-1"), expect);
        }
        // Deployments.
        check("shop", "web-7d4b9c6f5-x2k8p", "nginx", "shop/web/nginx");
        check("shop", "web-front-5d8f97b4c8-zzzzz", "nginx", "shop/web-front/nginx");
        // StatefulSets.
        check("db", "web-0", "redis", "db/web/redis");
        check("db", "kafka-broker-12", "kafka", "db/kafka-broker/kafka");
        // DaemonSets and Jobs.
        check("kube-system", "kube-proxy-vx4t7", "kube-proxy", "kube-system/kube-proxy/kube-proxy");
        check("batch", "report-28450730-x7k2q", "job", "batch/report/job");
        check("batch", "report-1718000000-x7k2q", "job", "batch/report/job");
        check("batch", "migrate-x7k2q", "job", "batch/migrate/job");
        // Mirror pods carry their node's name.
        check("kube-system", "etcd-node-1", "etcd", "kube-system/etcd/etcd");
        // Bare pods: words are not random suffixes.
        check("default", "redis", "redis", "default/redis/redis");
        check("default", "my-redis", "redis", "default/my-redis/redis");
        check("default", "db-mysql", "db", "default/db-mysql/db");
        check("default", "a-007", "x", "default/a-007/x");
        check("default", "-x7k2q", "x", "default/-x7k2q/x");
        // A sandbox has no container name.
        check("shop", "web-0", "", "shop/web/-");
    }

    #[test]
    fn workloads_outside_kubernetes_share_nothing() {
        let names = Names { runtime_namespace: "default".into(), ..Names::default() };
        assert_eq!(workload_of(&names, &id("c1"), "n"), "default/-/c1");
        assert_eq!(workload_of(&Names::default(), &id("c1"), "n"), "-/-/c1");
    }

    fn info(names: Names) -> ContainerInfo {
        ContainerInfo::named(ContainerKey(9), "node-1".into(), id("c1"), names, None)
    }

    fn pod() -> ContainerInfo {
        info(Names {
            namespace: "shop".into(),
            pod: "web-0".into(),
            name: "nginx".into(),
            image: "docker.io/library/nginx:1.27".into(),
            runtime_namespace: "k8s.io".into(),
            kind: Kind::Container,
            ..Names::default()
        })
    }

    #[track_caller]
    fn check_selection(include: &[&str], exclude: &[&str], c: &ContainerInfo, expect: bool) {
        let rules = |texts: &[&str]| texts.iter().map(|t| t.parse().expect("a rule")).collect();
        assert_eq!(Selection::new(rules(include), rules(exclude)).wants(c), expect, "+{include:?} -{exclude:?}");
    }

    #[test]
    fn selection() {
        let plain = info(Names { runtime_namespace: "default".into(), kind: Kind::Container, ..Names::default() });
        let unnamed = ContainerInfo::unnamed(ContainerKey(9), "n".into(), None, None);
        let sandbox = info(Names { kind: Kind::Sandbox, pod: "web-0".into(), ..Names::default() });
        for (include, exclude, c, expect) in [
            (&[][..], &[][..], &pod(), true),
            (&[], &[], &plain, true),
            (&[], &[], &unnamed, true),
            (&[], &[], &sandbox, false),
            (&["pod=web-*"], &[], &sandbox, false),
            (&["namespace=shop"], &[], &pod(), true),
            (&["namespace=k8s.io"], &[], &pod(), false),
            (&["namespace=default"], &[], &plain, true),
            (&["container=c?"], &[], &plain, true),
            (&["container=nginx"], &[], &pod(), true),
            (&["image=*nginx:*"], &[], &pod(), true),
            (&["workload=shop/*"], &[], &pod(), true),
            (&["id=c*"], &[], &pod(), true),
            // One key: any of its rules. Several keys: each of them.
            (&["pod=x", "pod=web-{0,1}"], &[], &pod(), true),
            (&["pod=web-0", "namespace=other"], &[], &pod(), false),
            (&["namespace=shop"], &["pod=web-0"], &pod(), false),
            (&[], &["image=*redis*"], &pod(), true),
            (&["namespace=*shop*"], &[], &unnamed, false),
        ] {
            check_selection(include, exclude, c, expect);
        }
    }

    #[test]
    fn bad_rules_say_why() {
        for (text, expect) in [
            ("shop", "\"shop\" is not KEY=GLOB"),
            ("pods=x", "\"pods\" is none of namespace, pod, container, image, id, workload"),
            ("pod=[", "bad pattern"),
        ] {
            assert_eq!(text.parse::<Rule>().expect_err(text).to_string(), expect);
        }
    }

    #[test]
    fn the_wire_says_what_is_known() {
        let wire = ContainerInfo { started_at: Some(Timestamp::from_millisecond(-1).expect("in range")), ..pod() }.to_wire();
        assert_eq!(wire.kind, v1::container::Kind::Container as i32);
        assert_eq!(wire.started_at, Some(prost_types::Timestamp { seconds: -1, nanos: 999_000_000 }));
        let unnamed = ContainerInfo::unnamed(ContainerKey(255), "n".into(), None, None).to_wire();
        assert_eq!((unnamed.id.as_str(), unnamed.workload.as_str(), unnamed.kind), ("unnamed-ff", "", 0));
    }
}
