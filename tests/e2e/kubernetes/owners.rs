//! Who owns a pod, who opts out, and what an upgrade of the agents loses.
//!
//! A zoo of workloads: one of each kind of owner, with names that a guess from the pod's name would get wrong, or would merge.

use super::{PATIENCE, Scorer, Workload, calls, pod, run, wait_until};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, time::Duration};
use surprisal_e2e::{agent, kubernetes::Cluster, scorer};

const NAMESPACE: &str = "zoo";
/// Calls all the time, and little of the processor.
const LOOP: &str = "while :; do cat /etc/passwd >/dev/null; sleep 0.2; done";

/// Workload, owner and role of what the zoo starts, in that order.
const EXPECTED: [(&str, &str, &str); 12] = [
    ("zoo/api-v4/app", "Deployment", "main"),
    ("zoo/bare-x2k8p/app", "ReplicaSet", "main"),
    ("zoo/db-1/app", "StatefulSet", "main"),
    ("zoo/each-node/app", "DaemonSet", "main"),
    ("zoo/once-98765432/app", "Job", "main"),
    ("zoo/nightly/app", "CronJob", "main"),
    ("zoo/old/app", "ReplicationController", "main"),
    ("zoo/lone-x2k8p/app", "Pod", "main"),
    ("zoo/fixed/app", "Node", "main"),
    ("zoo/fleet-a/app", "Fleet", "main"),
    ("zoo/staged-0/migrate", "Pod", "init"),
    ("zoo/second-life/app", "Pod", "main"),
];

pub(super) struct Zoo<'a> {
    cluster: &'a Cluster,
}

impl<'a> Zoo<'a> {
    pub(super) fn start(cluster: &'a Cluster, image: &str) -> Result<Self> {
        cluster.kubectl(&["create", "namespace", NAMESPACE])?;
        let container = |name: &str, command: &str| json!({ "name": name, "image": image, "imagePullPolicy": "Never", "command": ["/bin/sh", "-c", command] });
        let spec = |restart: &str| {
            json!({
                "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0, "restartPolicy": restart,
                "containers": [container("app", LOOP)],
            })
        };
        let template = |name: &str, restart: &str| json!({ "metadata": { "labels": { "app": name } }, "spec": spec(restart) });
        let object = |api: &str, kind: &str, name: &str, spec: Value| json!({ "apiVersion": api, "kind": kind, "metadata": { "name": name, "namespace": NAMESPACE }, "spec": spec });
        let controlled = |api: &str, kind: &str, name: &str| {
            let selector = json!({ "matchLabels": { "app": name } });
            object(api, kind, name, json!({ "selector": selector, "serviceName": name, "template": template(name, "Always") }))
        };
        let stateless = |mut object: Value| {
            object["spec"].as_object_mut().map(|spec| spec.remove("serviceName"));
            object
        };
        let old = json!({ "selector": { "app": "old" }, "template": template("old", "Always") });
        let job = json!({ "template": template("once", "Never") });
        let nightly = json!({ "schedule": "0 0 1 1 *", "jobTemplate": { "spec": { "template": template("nightly", "Never") } } });
        let mut staged = spec("Always");
        staged["initContainers"] = json!([container("migrate", LOOP)]);
        // It fails once; what it leaves in its volume tells it so.
        let mut second_life = spec("Always");
        let once = format!("[ -e /kept/x ] || {{ touch /kept/x; exit 1; }}; {LOOP}");
        second_life["containers"] = json!([container("app", &once)]);
        second_life["containers"][0]["volumeMounts"] = json!([{ "name": "kept", "mountPath": "/kept" }]);
        second_life["volumes"] = json!([{ "name": "kept", "emptyDir": {} }]);
        let fleet = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": "fleets.example.org" },
            "spec": {
                "group": "example.org", "scope": "Namespaced", "names": { "plural": "fleets", "kind": "Fleet" },
                "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": { "type": "object" } } }],
            },
        });
        let objects = [
            stateless(controlled("apps/v1", "Deployment", "api-v4")),
            stateless(controlled("apps/v1", "ReplicaSet", "bare-x2k8p")),
            controlled("apps/v1", "StatefulSet", "db-1"),
            stateless(controlled("apps/v1", "DaemonSet", "each-node")),
            object("v1", "ReplicationController", "old", old),
            object("batch/v1", "Job", "once-98765432", job),
            object("batch/v1beta1", "CronJob", "nightly", nightly),
            object("v1", "Pod", "lone-x2k8p", spec("Always")),
            object("v1", "Pod", "staged-0", staged),
            object("v1", "Pod", "second-life", second_life),
            fleet,
        ];
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        let file = cluster.write("zoo.json", &list.to_string())?;
        cluster.kubectl(&["apply", "-f", &file])?;
        // As the controller of cron jobs does it at their time, and `kubectl create job --from` for a newer API.
        let mut run = object("batch/v1", "Job", "nightly-by-hand", json!({ "template": template("nightly", "Never") }));
        run["metadata"]["ownerReferences"] = owned_by(cluster, "batch/v1beta1", "CronJob", "cronjobs", "nightly")?;
        let run = cluster.write("run.json", &run.to_string())?;
        cluster.kubectl(&["apply", "-f", &run])?;
        let fixed = object("v1", "Pod", "fixed", spec("Always"));
        fs::write(cluster.static_pods().join("fixed.json"), fixed.to_string())?;

        // A custom owner, which has to be there before its pods.
        let fleet = cluster.write(
            "fleet.json",
            &json!({ "apiVersion": "example.org/v1", "kind": "Fleet", "metadata": { "name": "fleet-a", "namespace": NAMESPACE } }).to_string(),
        )?;
        wait_until("the custom kind", PATIENCE, || Ok(cluster.kubectl(&["apply", "-f", &fleet]).is_ok()))?;
        let mut ship = object("v1", "Pod", "ship-7d4b9c6f5-x2k8p", spec("Always"));
        ship["metadata"]["ownerReferences"] = owned_by(cluster, "example.org/v1", "Fleet", "fleets", "fleet-a")?;
        let ship = cluster.write("ship.json", &ship.to_string())?;
        cluster.kubectl(&["apply", "-f", &ship])?;
        Ok(Self { cluster })
    }

    /// Each container of the zoo has the owner that Kubernetes says, and is one of its own workload.
    pub(super) fn owners_are_told(&self, scorer: &Scorer<'_>) -> Result<()> {
        let expected: BTreeMap<String, (String, String)> =
            EXPECTED.map(|(workload, owner, role)| (workload.to_owned(), (owner.to_owned(), role.to_owned()))).into();
        let mut rows = BTreeMap::new();
        let told = wait_until("owners of each kind", PATIENCE, || {
            let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
            let all = self.rows(scorer)?;
            rows = all.iter().map(|row| (text(row, "workload"), (text(row, "owner"), text(row, "role")))).collect();
            Ok(rows == expected && all.len() == EXPECTED.len())
        });
        told.with_context(|| format!("{rows:#?}\n{}", self.cluster.describe(NAMESPACE)))?;
        wait_until("the restart to be counted", PATIENCE, || {
            let rows = self.rows(scorer)?;
            Ok(rows.iter().all(|row| row["restarts"] == u32::from(row["pod"] == "second-life")))
        })
        .with_context(|| format!("{:?}", self.rows(scorer)))
    }

    /// All agents are replaced while the zoo runs: every container is followed on, under the same name.
    pub(super) fn an_upgrade_loses_nobody(&self, scorer: &Scorer<'_>) -> Result<()> {
        let old = pod(self.cluster, "agent")?["metadata"]["name"].clone();
        self.cluster.kubectl(&["-n", "surprisal", "rollout", "restart", "daemonset/surprisal-agent"])?;
        wait_until("the new agent", PATIENCE, || {
            // While one goes and the other comes, there may be two or none.
            let Ok(new) = pod(self.cluster, "agent") else { return Ok(false) };
            Ok(new["status"]["containerStatuses"][0]["ready"] == true && new["metadata"]["name"] != old)
        })?;
        let key = |row: &Value| (row["id"].to_string(), row["workload"].to_string(), row["owner"].to_string());
        let seen: BTreeMap<_, _> = self.rows(scorer)?.iter().map(|row| (key(row), calls(row))).collect();
        ensure!(seen.len() == EXPECTED.len(), "{seen:#?}");
        let mut silent: Vec<_> = seen.keys().cloned().collect();
        wait_until("calls of every container through the new agent", PATIENCE, || {
            let now: BTreeMap<_, _> = self.rows(scorer)?.iter().map(|row| (key(row), calls(row))).collect();
            silent.retain(|key| now.get(key).is_none_or(|n| *n <= seen[key]));
            Ok(silent.is_empty())
        })
        .with_context(|| format!("{silent:#?}"))
    }

    /// Those of the zoo that have not ended.
    fn rows(&self, scorer: &Scorer<'_>) -> Result<Vec<Value>> {
        let mut command = self.cluster.enter(&scorer::binary()?);
        command.args(["scores", "list", "--scorer", &scorer.address, "--namespace", NAMESPACE, "-o", "json"]);
        let text = run(&mut command)?;
        let rows: Vec<Value> = serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))?;
        Ok(rows.into_iter().filter(|row| row["ended"] == false).collect())
    }
}

/// References to one that is there and is its controller.
fn owned_by(cluster: &Cluster, api: &str, kind: &str, resource: &str, name: &str) -> Result<Value> {
    let owner = cluster.kubectl_json(&["-n", NAMESPACE, "get", resource, name])?;
    Ok(json!([{ "apiVersion": api, "kind": kind, "name": name, "uid": owner["metadata"]["uid"], "controller": true }]))
}

/// An annotation of a pod or of its namespace lets go of its containers, and takes them in again, while they run.
pub(super) fn annotations_choose(scorer: &Scorer<'_>, web: &Workload) -> Result<()> {
    let cluster = scorer.cluster;
    let annotate = |what: &[&str]| cluster.kubectl(&[&["-n", "shop", "annotate", "--overwrite"], what].concat()).map(drop);
    let goes_on = |why: &str| {
        let row = scorer.wait_for(why, web, |row| row["ended"] == false)?;
        scorer.wait_for(why, web, |now| calls(now) > calls(&row)).map(drop)
    };
    let stops = |why: &str| -> Result<()> {
        scorer.wait_for(why, web, |row| row["ended"] == true)?;
        let row = wait_for_row(cluster, web, |row| row["reason"] != "")?;
        ensure!(row["reason"] == "opted out by an annotation of its pod or namespace", "{row}");
        ensure!(row["followed_since"].is_null() && row["owner_source"] == "kubernetes", "{row}");
        Ok(())
    };
    let pod = ["pod", &web.pod];
    goes_on("calls before")?;
    annotate(&[pod[0], pod[1], "surprisal.dev/watch=false"])?;
    stops("its pod says no")?;
    annotate(&[pod[0], pod[1], "surprisal.dev/watch-"])?;
    goes_on("its pod says nothing any more")?;
    annotate(&["namespace", "shop", "surprisal.dev/watch=false"])?;
    stops("its namespace says no")?;
    annotate(&[pod[0], pod[1], "surprisal.dev/watch=true"])?;
    goes_on("its pod says yes, and its namespace no")?;
    annotate(&["namespace", "shop", "surprisal.dev/watch-"])?;
    annotate(&[pod[0], pod[1], "surprisal.dev/watch-"])?;
    goes_on("nobody says anything")?;
    // Nothing of it was lost by coming and going.
    let row = scorer.score(web)?;
    ensure!(row["loss_ratio"] == 0.0, "{row}");
    // What the two pods of ours say of themselves.
    let of_ours = |row: &Value| row["namespace"] == "surprisal" && row["container"] != "";
    let ours: Vec<_> = agent_rows(cluster)?.into_iter().filter(of_ours).collect();
    ensure!(ours.len() == 2, "{ours:#?}");
    for row in ours {
        ensure!(row["reason"] == "opted out by an annotation of its pod or namespace", "{row}");
    }
    Ok(())
}

/// What `surprisal-agent containers` says of the workload's container.
fn wait_for_row(cluster: &Cluster, web: &Workload, condition: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut found = Value::Null;
    wait_until("the agent's row", Duration::from_secs(20), || {
        let rows = agent_rows(cluster)?;
        found = rows.into_iter().find(|row| row["pod"] == web.pod.as_str() && row["container"] == "app").unwrap_or_default();
        Ok(condition(&found))
    })
    .with_context(|| found.to_string())?;
    Ok(found)
}

fn agent_rows(cluster: &Cluster) -> Result<Vec<Value>> {
    let address = pod(cluster, "agent")?["status"]["podIP"].as_str().context("the agent has no address")?.to_owned();
    let mut command = cluster.enter(&agent::binary()?);
    let text = run(command.args(["containers", "--admin", &format!("{address}:7677"), "-o", "json"]))?;
    Ok(serde_json::from_str(&text)?)
}
