//! The workload that a container belongs to, guessed from its names.
//!
//! In: [`Names`] without a workload, id, node. Out: the workload: what shares a profile. Pure. Never: asks Kubernetes.

use super::id::ContainerId;
use surprisal_proto::container::Names;

/// What shares a profile with it: "namespace/owner/container".
///
/// In Kubernetes the owner is guessed from the pod's name: the random suffix and a ReplicaSet's hash, a
/// StatefulSet's ordinal, a cron job's minute and a mirror pod's node name are taken off. Elsewhere
/// nothing is shared: "runtime namespace/-/container id".
pub fn guess(names: &Names, id: &ContainerId, node: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ContainerId {
        text.parse().expect("an id")
    }

    #[test]
    fn workloads() {
        #[track_caller]
        fn check(namespace: &str, pod: &str, name: &str, expect: &str) {
            let names = Names { namespace: namespace.into(), pod: pod.into(), name: name.into(), ..Names::default() };
            assert_eq!(guess(&names, &id("c1"), "node-1"), expect);
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
        assert_eq!(guess(&names, &id("c1"), "n"), "default/-/c1");
        assert_eq!(guess(&Names::default(), &id("c1"), "n"), "-/-/c1");
    }
}
