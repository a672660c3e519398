//! The workload that a container belongs to: what shares a profile.
//!
//! In: [`Names`], and the owner of its pod, told by Kubernetes ([`owned`]) or not ([`guess`]). Out: "namespace/owner/container". Pure.
//!
//! A guess rather splits one workload into two than merges two into one: it takes off only what Kubernetes itself would have put on.
//! Two pods that a person gave such names to are still taken for one; so whatever is guessed is said to be.

use super::id::ContainerId;
use surprisal_proto::container::Names;

/// With the owner that Kubernetes told.
pub fn owned(names: &Names, owner: &str) -> String {
    format!("{}/{owner}/{}", or_dash(&names.namespace), or_dash(&names.name))
}

/// With the owner that the pod's name speaks of.
///
/// In Kubernetes the owner is guessed from the pod's name: the random suffix and a ReplicaSet's hash, a
/// StatefulSet's ordinal, a cron job's minute and a mirror pod's node name are taken off. Elsewhere
/// nothing is shared: "runtime namespace/-/container id".
pub fn guess(names: &Names, id: &ContainerId, node: &str) -> String {
    if names.pod.is_empty() {
        let namespace = or_dash(&names.runtime_namespace);
        return format!("{namespace}/-/{id}");
    }
    owned(names, owner_of(&names.pod, node))
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
    if let Some(cut) = cut_name(pod) {
        return cut;
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

/// A name of 63 characters may have been cut in its middle to make room for the random part, which then follows without a dash.
fn cut_name(pod: &str) -> Option<&str> {
    let (rest, last) = pod.split_at_checked(LONGEST - 5).filter(|_| pod.len() == LONGEST)?;
    (is_random(last) && !rest.ends_with('-')).then_some(rest)
}

fn split_last(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('-').filter(|(rest, last)| !rest.is_empty() && !last.is_empty())
}

/// Most characters of a pod's name that Kubernetes makes up.
const LONGEST: usize = 63;

/// Five characters of the alphabet that Kubernetes draws names from: no vowels, nothing that reads as one.
fn is_random(part: &str) -> bool {
    part.len() == 5 && part.bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b))
}

/// A 32-bit number in decimal, each digit written as one of ten characters: 8 to 10 of them in 97 of 100 cases. A shorter one may be a
/// person's "v4" or "cdb": it counts if it has both digits and letters, and 5 characters.
fn is_replica_set_hash(part: &str) -> bool {
    let mixed = || part.bytes().any(|b| b.is_ascii_digit()) && part.bytes().any(|b| b.is_ascii_lowercase());
    part.bytes().all(|b| b"456789bcdf".contains(&b)) && (matches!(part.len(), 8..=10) || matches!(part.len(), 5..=7) && mixed())
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
        // Hashes of 5 to 10 characters.
        check("shop", "web-5d8f97b4c8-zzzzz", "a", "shop/web/a");
        check("shop", "web-7d4b9c6f-zzzzz", "a", "shop/web/a");
        check("shop", "web-bcdf98-zzzzz", "a", "shop/web/a");
        check("shop", "web-4bc9d-zzzzz", "a", "shop/web/a");
        // What only looks like one stays: shorter, longer, of other letters, of one kind of characters.
        check("shop", "web-4bc9-zzzzz", "a", "shop/web-4bc9/a");
        check("shop", "web-4bc9d4bc9d4-zzzzz", "a", "shop/web-4bc9d4bc9d4/a");
        check("shop", "web-blue-zzzzz", "a", "shop/web-blue/a");
        check("shop", "web-7d4b9c6g5-zzzzz", "a", "shop/web-7d4b9c6g5/a");
        check("shop", "cache-98765-zzzzz", "a", "shop/cache-98765/a");
        check("shop", "api-v4-x2k8p", "a", "shop/api-v4/a");
        // An indexed Job's pods, each by itself; a ReplicationController's; names with dots.
        check("batch", "render-3-x7k2q", "job", "batch/render-3/job");
        check("shop", "frontend-x7k2q", "a", "shop/frontend/a");
        check("shop", "api.v2-7d4b9c6f5-x2k8p", "a", "shop/api.v2/a");
        check("db", "node.example.org-0", "a", "db/node.example.org/a");
        // Cut to 63 characters, in the middle of the hash.
        let long = "a".repeat(50);
        check("shop", &format!("{long}-7d4b9c6x2k8p"), "a", &format!("shop/{long}-7d4b9c6/a"));
        check("shop", &format!("{long}-7d4b9c6words"), "a", &format!("shop/{long}-7d4b9c6words/a"));
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
    fn told_owners_are_taken_as_they_are() {
        let names = Names { namespace: "shop".into(), pod: "web-0".into(), name: "nginx".into(), ..Names::default() };
        assert_eq!(owned(&names, "web-0"), "shop/web-0/nginx");
    }

    #[test]
    fn workloads_outside_kubernetes_share_nothing() {
        let names = Names { runtime_namespace: "default".into(), ..Names::default() };
        assert_eq!(guess(&names, &id("c1"), "n"), "default/-/c1");
        assert_eq!(guess(&Names::default(), &id("c1"), "n"), "-/-/c1");
    }
}
