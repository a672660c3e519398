//! A real Kubernetes of one node: etcd, API server, controllers, scheduler, kubelet, containerd.
//!
//! In: a control plane's programs ([`Tools`]) and image archives. Out: a node that is `Ready`, kubectl, and
//! commands inside it. Never: touches the host's network, mounts, settings or containers: all of it lives in
//! namespaces, a directory and a cgroup of its own, which go when [`Cluster`] is dropped.
//!
//! API level 1.20. No kube-proxy, so Services have no address that leads anywhere (use pod addresses); no DNS;
//! the CNI bridge does not enforce network policies.

mod config;
mod node;
mod tools;

pub use config::{NODE, NODE_ADDRESS};
pub use node::wait_until;
pub use tools::{Found, Tools};

use crate::oci::{self, Image};
use anyhow::{Context as _, Result, bail};
use node::Node;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

/// A running one-node cluster.
pub struct Cluster {
    node: Node,
    tools: Tools,
    kubeconfig: PathBuf,
}

impl Cluster {
    /// Starts a node and waits until it is `Ready`; needs root.
    pub fn start(tools: Tools) -> Result<Self> {
        let node = Node::new(&tools.path("unshare"), &tools.path("nsenter"))?;
        let kubeconfig = node.dir().join("admin.kubeconfig");
        let mut cluster = Self { node, tools, kubeconfig };
        cluster.bring_up().with_context(|| cluster.node.logs())?;
        Ok(cluster)
    }

    fn bring_up(&mut self) -> Result<()> {
        self.start_containerd()?;
        self.import(&self.pause()?)?;
        self.start_control_plane()?;
        self.start_kubelet()
    }

    /// The node's directory on the host: goes with the cluster.
    pub fn dir(&self) -> &Path {
        self.node.dir()
    }

    /// Where the kubelet looks for static pods.
    pub fn static_pods(&self) -> PathBuf {
        self.dir().join("static-pods")
    }

    /// A command inside the node's network and mount namespaces.
    pub fn enter(&self, program: &Path) -> Command {
        self.node.enter(program)
    }

    /// Imports an OCI archive where the kubelet's runtime finds it.
    pub fn import(&self, archive: &Path) -> Result<()> {
        let mut ctr = self.ctr();
        ctr.args(["images", "import"]).arg(archive);
        run(&mut ctr).map(drop).with_context(|| format!("importing {}", archive.display()))
    }

    /// Runs kubectl as administrator; returns its stdout. An error holds its stderr.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        run(self.kubectl_command().args(args))
    }

    /// kubectl with `-o json`, parsed.
    pub fn kubectl_json(&self, args: &[&str]) -> Result<Value> {
        let text = run(self.kubectl_command().args(args).args(["-o", "json"]))?;
        serde_json::from_str(&text).with_context(|| format!("kubectl {}: not JSON", args.join(" ")))
    }

    /// A file with `text` in the node's directory, for `kubectl apply -f`.
    pub fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.node.dir().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path.display().to_string())
    }

    /// Process id, on the host, of a container, by the id that `containerStatuses` shows.
    pub fn pid(&self, container_id: &str) -> Result<u32> {
        let id = container_id.strip_prefix("containerd://").unwrap_or(container_id);
        let tasks = run(self.ctr().args(["tasks", "list"]))?;
        let line = tasks.lines().find(|l| l.split_whitespace().next() == Some(id));
        line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok()).with_context(|| format!("no task {id} in: {tasks}"))
    }

    /// What the pods of `namespace` say of themselves: for a failed test's message.
    pub fn describe(&self, namespace: &str) -> String {
        let pods = self.kubectl(&["-n", namespace, "describe", "pods"]).unwrap_or_else(|e| format!("{e:#}"));
        let mut text = format!("{pods}\n");
        let names = self.kubectl(&["-n", namespace, "get", "pods", "-o", "name"]).unwrap_or_default();
        for name in names.lines() {
            let logs = self.kubectl(&["-n", namespace, "logs", "--tail=20", name]).unwrap_or_else(|e| format!("{e:#}"));
            text.extend(["--- logs of ", name, "\n", &logs, "\n"]);
        }
        text
    }

    /// The image that holds a pod's namespaces: a program that sleeps.
    fn pause(&self) -> Result<PathBuf> {
        let root = self.node.dir().join("pause");
        fs::create_dir(&root).context("creating the sandbox image's root")?;
        fs::copy(tools::BUSYBOX, root.join("busybox")).context("copying busybox")?;
        let archive = self.node.dir().join("pause.tar");
        let command = ["/busybox", "sleep", "2147483647"];
        Image::new(config::PAUSE, oci::Root::Directory(root), &command).write(&archive)?;
        Ok(archive)
    }

    fn kubectl_command(&self) -> Command {
        let mut command = self.node.enter(&self.tools.path("kubectl"));
        // Its caches belong to the node as well.
        command.env("HOME", self.node.dir()).env_remove("KUBECONFIG");
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command
    }

    fn ctr(&self) -> Command {
        let mut command = self.node.enter(&self.tools.path("ctr"));
        command.arg("--address").arg(self.node.dir().join("containerd.sock")).args(["--namespace", "k8s.io"]);
        command
    }

    fn start_containerd(&mut self) -> Result<()> {
        let dir = self.node.dir().to_owned();
        fs::create_dir(dir.join("cni")).context("creating the CNI directory")?;
        fs::create_dir(self.static_pods()).context("creating the directory of static pods")?;
        self.write("cni/10-bridge.conflist", &config::cni(&dir))?;
        let file = self.write("containerd.toml", &config::containerd(&dir))?;
        self.node.spawn("containerd", &self.tools.path("containerd"), &["--config".to_owned(), file])?;
        wait_until("containerd", Duration::from_secs(30), || run(self.ctr().arg("version")).map(|_| true))
    }

    fn start_control_plane(&mut self) -> Result<()> {
        let dir = self.node.dir().to_owned();
        let at = |name: &str| dir.join(name).display().to_string();
        run(Command::new(self.tools.path("openssl")).args(["genrsa", "-out", &at("sa.key"), "2048"]))
            .context("making the key that signs ServiceAccount tokens")?;
        let token = fs::read_to_string("/proc/sys/kernel/random/uuid").context("reading a random token")?;
        let token = token.trim();
        self.write("tokens.csv", &format!("{token},admin,admin,system:masters\n"))?;
        self.write("admin.kubeconfig", &config::kubeconfig(token))?;

        let etcd = format!(
            "--data-dir={} --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
             --listen-peer-urls=http://127.0.0.1:2380 --unsafe-no-fsync",
            at("etcd")
        );
        self.node.spawn("etcd", &self.tools.path("etcd"), &words(&etcd))?;
        let address = NODE_ADDRESS;
        let apiserver = format!(
            "--etcd-servers=http://127.0.0.1:2379 --bind-address={address} --advertise-address={address} --secure-port=6443 \
             --cert-dir={} --service-cluster-ip-range=10.96.0.0/24 --service-account-issuer=https://kubernetes.default.svc \
             --service-account-key-file={key} --service-account-signing-key-file={key} --token-auth-file={} \
             --authorization-mode=RBAC --allow-privileged=true --kubelet-preferred-address-types=InternalIP",
            at("certs"),
            at("tokens.csv"),
            key = at("sa.key")
        );
        self.node.spawn("kube-apiserver", &self.tools.path("kube-apiserver"), &words(&apiserver))?;
        wait_until("the API server", Duration::from_secs(90), || {
            self.kubectl(&["get", "--raw", "/readyz"]).map(|answer| answer == "ok")
        })?;
        let kubeconfig = format!("--kubeconfig={} --leader-elect=false --port=0 --secure-port=0", at("admin.kubeconfig"));
        let controllers = format!(
            "{kubeconfig} --service-account-private-key-file={} --root-ca-file={} --flex-volume-plugin-dir={}",
            at("sa.key"),
            at("certs/apiserver.crt"),
            at("volume-plugins")
        );
        let program = self.tools.path("kube-controller-manager");
        self.node.spawn("kube-controller-manager", &program, &words(&controllers))?;
        self.node.spawn("kube-scheduler", &self.tools.path("kube-scheduler"), &words(&kubeconfig))
    }

    fn start_kubelet(&mut self) -> Result<()> {
        let dir = self.node.dir().to_owned();
        let file = self.write("kubelet.yaml", &config::kubelet(self.node.cgroup(), &self.static_pods()))?;
        let args = format!(
            "--config={file} --kubeconfig={} --hostname-override={NODE} --node-ip={} --cert-dir={dir}/kubelet-pki \
             --volume-plugin-dir={dir}/volume-plugins --container-runtime=remote \
             --container-runtime-endpoint=unix://{dir}/containerd.sock --pod-infra-container-image={}",
            self.kubeconfig.display(),
            NODE_ADDRESS,
            config::PAUSE,
            dir = dir.display(),
        );
        self.node.spawn("kubelet", &self.tools.path("kubelet"), &words(&args))?;
        wait_until("the node", Duration::from_mins(2), || {
            let node = self.kubectl_json(&["get", "node", NODE])?;
            let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
            Ok(conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
        })
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Runs `command`, returns its stdout; an error holds its stderr.
pub fn run(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().with_context(|| format!("starting {}", show(command)))?;
    if !status.success() {
        bail!("{} ended with {status}: {}", show(command), String::from_utf8_lossy(&stderr).trim());
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

fn show(command: &Command) -> String {
    // `nsenter … -- PROGRAM`: what is run inside is what a reader wants to know.
    let args: Vec<_> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
    let inner = args.iter().position(|a| a == "--").map_or(0, |i| i + 1);
    if inner == 0 { format!("{} {}", command.get_program().display(), args.join(" ")) } else { args[inner..].join(" ") }
}
