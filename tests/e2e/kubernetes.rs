//! deploy/ on a real node: the shipped security contexts suffice, each of their capabilities is needed, and a
//! workload's score is there by namespace and pod name; owners of each kind are told, annotations choose, and an upgrade of the
//! agents loses no container ([`owners`]).
//!
//! One test, because a node takes twenty seconds. The overlay changes what this node cannot give: it has no
//! provisioner of volumes (a directory is one), and no kube-proxy (agents get the scorer's pod address).

mod owners;

use crate::deploy;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::{
    env, fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use surprisal_e2e::{
    agent, daemon, images,
    kubernetes::{Cluster, Found, NODE, NODE_ADDRESS, Tools, run, wait_until},
    scorer, skipped,
};

/// Bits of `/proc/PID/status`' capability masks.
const CAP_SYS_PTRACE: u64 = 1 << 19;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_BPF: u64 = 1 << 39;
/// The scorer's user in deploy/scorer-deployment.yaml.
const SCORER_UID: u32 = 65532;
/// A pod has to be pulled up, to start and to pass its probes, on two busy cores.
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn deploy_runs_on_a_real_node() -> Result<()> {
    let tools = match Tools::find()? {
        Found::Tools(tools) => tools,
        Found::Missing(why) => {
            skipped("kubernetes::deploy_runs_on_a_real_node", &why);
            return Ok(());
        }
    };
    let archives = pack_images()?;
    let cluster = Cluster::start(tools)?;
    for archive in archives {
        cluster.import(&archive)?;
    }
    let busybox = images::busybox()?;
    cluster.import(&busybox.path)?;

    let scorer = Scorer { address: deploy(&cluster)?, cluster: &cluster };
    contexts_are_the_shipped_ones(&cluster)?;
    identities_have_the_rights_that_are_said(&cluster)?;
    each_capability_is_needed(&cluster, &busybox.reference)?;

    let web = start_workload(&cluster, &busybox.reference)?;
    a_score_by_pod_name(&scorer, &web)?;
    let zoo = owners::Zoo::start(&cluster, &busybox.reference)?;
    zoo.owners_are_told(&scorer)?;
    owners::annotations_choose(&scorer, &web)?;
    zoo.an_upgrade_loses_nobody(&scorer)?;
    a_profile_gives_a_verdict(&scorer, &web)?;
    Ok(())
}

/// `xtask image` of what is built.
fn pack_images() -> Result<[PathBuf; 2]> {
    if let Some(dir) = env::var_os("SURPRISAL_IMAGES") {
        return Ok(["agent", "scorer"].map(|name| Path::new(&dir).join(format!("surprisal-{name}.tar"))));
    }
    let output = deploy::repository().join("target/images");
    run(Command::new(daemon::binary("xtask", "SURPRISAL_XTASK")?).args(["image", "--no-build", "--output"]).arg(&output))?;
    Ok(["agent", "scorer"].map(|name| output.join(format!("surprisal-{name}.tar"))))
}

/// Applies deploy/ through an overlay and waits until all of it is ready. Returns the scorer's address.
fn deploy(cluster: &Cluster) -> Result<String> {
    let base = cluster.dir().join("base");
    fs::create_dir(&base)?;
    for entry in fs::read_dir(deploy::repository().join("deploy"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "yaml") {
            fs::copy(&path, base.join(path.file_name().context("a file has a name")?))?;
        }
    }
    // What an administrator's volume is there.
    let volume = cluster.dir().join("volume");
    fs::create_dir(&volume)?;
    chown(&volume, Some(SCORER_UID), Some(SCORER_UID))?;
    let volume = volume.display();
    cluster.write(
        "overlay/volume.yaml",
        &format!(
            "apiVersion: v1
kind: PersistentVolume
metadata: {{name: profiles}}
spec:
  capacity: {{storage: 1Gi}}
  accessModes: [ReadWriteOnce]
  hostPath: {{path: {volume}}}
"
        ),
    )?;
    cluster.write(
        "overlay/kustomization.yaml",
        "bases: [../base]\nresources: [volume.yaml]\npatchesStrategicMerge: [address.yaml]\n",
    )?;
    let overlay = cluster.dir().join("overlay").display().to_string();
    write_address(cluster, "http://set-below:7676")?;
    cluster.kubectl(&["apply", "-k", &overlay, "-l", "app.kubernetes.io/component!=agent"])?;
    wait_for_pods(cluster, "scorer")?;
    let pod = pod(cluster, "scorer")?;
    let address = format!("http://{}:7676", pod["status"]["podIP"].as_str().context("the scorer has no address")?);
    write_address(cluster, &address)?;
    cluster.kubectl(&["apply", "-k", &overlay])?;
    wait_for_pods(cluster, "agent")?;
    Ok(address)
}

fn write_address(cluster: &Cluster, scorer: &str) -> Result<()> {
    let patch = format!(
        "apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: surprisal-agent, namespace: surprisal}}
spec:
  template:
    spec:
      containers:
        - name: agent
          env:
            - {{name: SURPRISAL_SCORER, value: {scorer}}}
            # Without kube-proxy, the address that Kubernetes gives pods leads nowhere.
            - {{name: KUBERNETES_SERVICE_HOST, value: {NODE_ADDRESS}}}
            - {{name: KUBERNETES_SERVICE_PORT, value: '6443'}}
"
    );
    cluster.write("overlay/address.yaml", &patch).map(drop)
}

/// Waits until the DaemonSet (agent) or the Deployment (scorer) has its one pod ready.
fn wait_for_pods(cluster: &Cluster, component: &str) -> Result<()> {
    let (kind, ready) = if component == "agent" { ("daemonset", "numberReady") } else { ("deployment", "readyReplicas") };
    let name = format!("{kind}/surprisal-{component}");
    let result = wait_until(&name, PATIENCE, || {
        let object = cluster.kubectl_json(&["-n", "surprisal", "get", &name])?;
        let status = &object["status"];
        Ok(status[ready] == 1 && status["observedGeneration"] == object["metadata"]["generation"])
    });
    result.with_context(|| cluster.describe("surprisal"))
}

/// The one running pod of a component.
fn pod(cluster: &Cluster, component: &str) -> Result<Value> {
    let selector = format!("app.kubernetes.io/component={component}");
    let list = cluster.kubectl_json(&["-n", "surprisal", "get", "pods", "-l", &selector])?;
    let pods = list["items"].as_array().context("a list of pods")?;
    let running: Vec<_> = pods.iter().filter(|p| p["metadata"]["deletionTimestamp"].is_null()).collect();
    ensure!(running.len() == 1, "{} {component} pods", running.len());
    Ok(running[0].clone())
}

/// What runs is what is in deploy/, field by field, and the kernel says the same of the processes.
fn contexts_are_the_shipped_ones(cluster: &Cluster) -> Result<()> {
    for (kind, component) in [("DaemonSet", "agent"), ("Deployment", "scorer")] {
        let shipped = deploy::object(kind)?["spec"]["template"]["spec"].clone();
        let running = pod(cluster, component)?["spec"].clone();
        assert_eq!(running["containers"][0]["securityContext"], shipped["containers"][0]["securityContext"]);
        // The API server writes an empty one where there is none.
        let of_pod = |spec: &Value| spec["securityContext"].as_object().cloned().unwrap_or_default();
        assert_eq!(of_pod(&running), of_pod(&shipped));
        for field in ["hostPID", "automountServiceAccountToken", "priorityClassName"] {
            assert_eq!(running[field], shipped[field], "{component}: {field}");
        }
        for field in ["hostNetwork", "hostIPC"] {
            assert!(running[field].as_bool() != Some(true), "{component}: {field}");
        }
    }
    let agent = Process::of(cluster, "agent")?;
    assert_eq!(agent.capabilities("CapEff")?, CAP_BPF | CAP_PERFMON | CAP_SYS_PTRACE);
    assert_eq!(agent.capabilities("CapBnd")?, CAP_BPF | CAP_PERFMON | CAP_SYS_PTRACE);
    let scorer = Process::of(cluster, "scorer")?;
    assert_eq!(scorer.capabilities("CapEff")?, 0);
    assert_eq!(scorer.field("Uid")?.split_whitespace().next(), Some("65532"));
    for process in [agent, scorer] {
        assert_eq!(process.field("NoNewPrivs")?, "1");
        // Filtered.
        assert_eq!(process.field("Seccomp")?, "2");
        assert!(process.root_is_read_only()?);
    }
    let token = "root/var/run/secrets/kubernetes.io/serviceaccount/token";
    assert!(Process::of(cluster, "agent")?.path(token).exists(), "no API token is mounted");
    assert!(!Process::of(cluster, "scorer")?.path("root/var/run/secrets").exists(), "an API token is mounted");
    Ok(())
}

/// A container's first process, as the host sees it.
struct Process(u32);

impl Process {
    fn of(cluster: &Cluster, component: &str) -> Result<Self> {
        let pod = pod(cluster, component)?;
        let id = pod["status"]["containerStatuses"][0]["containerID"].as_str().context("no container id")?.to_owned();
        Ok(Self(cluster.pid(&id)?))
    }

    fn path(&self, rest: &str) -> PathBuf {
        Path::new("/proc").join(self.0.to_string()).join(rest)
    }

    fn field(&self, name: &str) -> Result<String> {
        let status = fs::read_to_string(self.path("status"))?;
        let line = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
        Ok(line.with_context(|| format!("no {name} in: {status}"))?.trim().to_owned())
    }

    /// The shim above it: the parent of a container's first process.
    fn shim(&self) -> Result<u32> {
        Ok(self.field("PPid")?.parse()?)
    }

    fn capabilities(&self, name: &str) -> Result<u64> {
        Ok(u64::from_str_radix(&self.field(name)?, 16)?)
    }

    fn root_is_read_only(&self) -> Result<bool> {
        let mounts = fs::read_to_string(self.path("mountinfo"))?;
        let root = mounts.lines().find(|l| l.split(' ').nth(4) == Some("/")).context("no root mount")?;
        Ok(root.split(' ').nth(5).is_some_and(|options| options.split(',').any(|o| o == "ro")))
    }
}

/// The agent may read pods and namespaces, the scorer nothing; neither may write.
fn identities_have_the_rights_that_are_said(cluster: &Cluster) -> Result<()> {
    for component in ["agent", "scorer"] {
        for (verb, resource) in [
            ("list", "pods"),
            ("watch", "namespaces"),
            ("patch", "pods"),
            ("list", "nodes"),
            ("get", "secrets"),
            ("create", "pods"),
        ] {
            let question = json!({
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {
                    "user": format!("system:serviceaccount:surprisal:surprisal-{component}"),
                    "groups": ["system:serviceaccounts", "system:serviceaccounts:surprisal", "system:authenticated"],
                    "resourceAttributes": { "verb": verb, "resource": resource },
                },
            });
            let file = cluster.write("question.json", &question.to_string())?;
            let answer = cluster.kubectl_json(&["create", "-f", &file])?;
            let may = component == "agent" && matches!((verb, resource), ("list", "pods") | ("watch", "namespaces"));
            assert_eq!(answer["status"]["allowed"], may, "{component}, {verb} {resource}: {answer}");
        }
    }
    Ok(())
}

/// With one capability less, one thing that the agent has to do fails; with all of them, none does.
fn each_capability_is_needed(cluster: &Cluster, image: &str) -> Result<()> {
    let spec = deploy::object("DaemonSet")?["spec"]["template"]["spec"].clone();
    let context = spec["containers"][0]["securityContext"].clone();
    let all: Vec<Value> = context["capabilities"]["add"].as_array().context("no capabilities are added")?.clone();
    // Any shim: that of the agent's own pod.
    let shim = Process::of(cluster, "agent")?.shim()?.to_string();
    let pods = std::iter::once(None).chain(all.iter().map(Some)).map(|missing| {
        let mut context = context.clone();
        context["capabilities"]["add"] = all.iter().filter(|c| Some(*c) != missing).cloned().collect();
        let without = missing.and_then(Value::as_str).unwrap_or("nothing");
        let name = format!("without-{}", without.to_lowercase().replace('_', "-"));
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": name, "namespace": "surprisal" },
            "spec": {
                "hostPID": spec["hostPID"],
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": "rights", "image": image, "imagePullPolicy": "Never",
                    "command": ["/bin/rights", shim], "securityContext": context,
                }],
            },
        });
        (without.to_owned(), name, pod)
    });
    for (without, name, pod) in pods {
        let file = cluster.write(&format!("{name}.json"), &pod.to_string())?;
        cluster.kubectl(&["apply", "-f", &file])?;
        let ended = wait_until(&name, PATIENCE, || {
            let pod = cluster.kubectl_json(&["-n", "surprisal", "get", "pod", &name])?;
            Ok(pod["status"]["phase"] == "Succeeded")
        });
        ended.with_context(|| cluster.describe("surprisal"))?;
        let said = cluster.kubectl(&["-n", "surprisal", "logs", &name])?;
        let failed: Vec<_> = said.lines().filter(|l| !l.ends_with(": ok")).filter_map(|l| l.split(':').next()).collect();
        let expect: &[&str] = match without.as_str() {
            "nothing" => &[],
            "BPF" => &["maps", "programs"],
            "PERFMON" => &["programs"],
            "SYS_PTRACE" => &["bundle"],
            other => bail!("deploy/ adds {other}; nothing here shows why"),
        };
        assert_eq!(failed, expect, "without {without}: {said}");
    }
    Ok(())
}

/// A pod of the workload shop/web/app, and where it runs.
struct Workload {
    pod: String,
}

/// A Deployment that goes on making calls, so that there is always something new to score.
fn start_workload(cluster: &Cluster, image: &str) -> Result<Workload> {
    let labels = json!({ "app": "web" });
    let loops = "while :; do cat /etc/passwd >/dev/null; ls -l /bin >/dev/null; sleep 0.05; done";
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "web", "namespace": "shop" },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "automountServiceAccountToken": false,
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{
                        "name": "app", "image": image, "imagePullPolicy": "Never", "command": ["/bin/sh", "-c", loops],
                    }],
                },
            },
        },
    });
    cluster.kubectl(&["create", "namespace", "shop"])?;
    let file = cluster.write("web.json", &deployment.to_string())?;
    cluster.kubectl(&["apply", "-f", &file])?;
    let ready = wait_until("deployment/web", PATIENCE, || {
        Ok(cluster.kubectl_json(&["-n", "shop", "get", "deployment/web"])?["status"]["readyReplicas"] == 1)
    });
    ready.with_context(|| cluster.describe("shop"))?;
    let pods = cluster.kubectl(&["-n", "shop", "get", "pods", "-l", "app=web", "-o", "name"])?;
    let pod = pods.trim().strip_prefix("pod/").with_context(|| format!("one pod, not: {pods}"))?.to_owned();
    Ok(Workload { pod })
}

/// The scorer in the cluster, asked with the shipped command.
struct Scorer<'a> {
    address: String,
    cluster: &'a Cluster,
}

impl Scorer<'_> {
    /// The one row of the workload's pod.
    fn score(&self, workload: &Workload) -> Result<Value> {
        let mut command = self.cluster.enter(&scorer::binary()?);
        command.args(["scores", "get", "--scorer", &self.address]);
        command.args(["--namespace", "shop", "--pod", &workload.pod, "-o", "json"]);
        let text = run(&mut command)?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// Waits until the row is as `condition` wants it.
    fn wait_for(&self, what: &str, workload: &Workload, condition: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut row = Value::Null;
        let result = wait_until(what, PATIENCE, || {
            row = self.score(workload)?;
            Ok(condition(&row))
        });
        result.with_context(|| format!("row: {row}\n{}", self.cluster.describe("surprisal")))?;
        Ok(row)
    }
}

fn calls(row: &Value) -> u64 {
    row["calls"].as_u64().unwrap_or(0)
}

/// Before there is a profile: who it is, that its calls arrive, and why there is no verdict.
fn a_score_by_pod_name(scorer: &Scorer, web: &Workload) -> Result<()> {
    // The digest comes with the kubelet's first word about a container that runs already.
    let row = scorer.wait_for("calls of the pod, and its digest", web, |row| calls(row) > 0 && row["image_digest"] != "")?;
    assert_eq!(row["namespace"], "shop");
    assert_eq!(row["pod"], web.pod.as_str());
    assert_eq!(row["container"], "app");
    assert_eq!(row["workload"], "shop/web/app");
    assert_eq!((&row["owner"], &row["role"], &row["restarts"]), (&json!("Deployment"), &json!("main"), &json!(0)));
    assert_eq!(row["labels"]["app"], "web");
    assert!(row["image_digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{row}");
    assert_eq!(row["node"], NODE);
    assert_eq!(row["verdict"], "unscored");
    assert_eq!(row["unscored_reason"], "no profile");
    assert_eq!(row["score"], Value::Null);
    Ok(())
}

/// A profile trained on what the pod does turns its row into a score.
fn a_profile_gives_a_verdict(scorer: &Scorer, web: &Workload) -> Result<()> {
    let cluster = scorer.cluster;
    let recording = cluster.dir().join("web.jsonl");
    let mut record = cluster.enter(&agent::binary()?);
    record.args(["record", "--label", "normal", "--duration", "10", "--select", "namespace=shop", "--output"]);
    run(record.arg(&recording))?;
    // Trained here, and moved into the volume when it is the scorer's to read: it looks there all the time.
    let trained = cluster.dir().join("volume/trained");
    let mut train = Command::new(scorer::binary()?);
    train.env("OMP_WAIT_POLICY", "PASSIVE").args(["train", "--profiles"]).arg(&trained).arg(&recording);
    run(&mut train)?;
    for entry in fs::read_dir(&trained)? {
        let profile = entry?.path();
        for file in fs::read_dir(&profile)? {
            chown(file?.path(), Some(SCORER_UID), Some(SCORER_UID))?;
        }
        chown(&profile, Some(SCORER_UID), Some(SCORER_UID))?;
        let name = profile.file_name().context("a directory has a name")?;
        fs::rename(&profile, cluster.dir().join("volume/profiles").join(name))?;
    }
    let row = scorer.wait_for("a score", web, |row| row["score"].is_number())?;
    assert!(row["threshold"].is_number(), "{row}");
    assert!(["normal", "anomalous"].map(Value::from).contains(&row["verdict"]), "{row}");
    assert!(row["windows"].as_u64().is_some_and(|n| n > 0), "{row}");
    Ok(())
}
