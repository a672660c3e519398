//! The texts that a node's programs are configured with.
//!
//! In: the node's directory and names. Out: text. Never: writes a file. Pure.

use super::tools::CNI;
use std::path::Path;

/// The node's own address: what the API server listens on, and the kubelet calls itself.
pub const NODE_ADDRESS: &str = "10.99.0.1";
/// The node's name.
pub const NODE: &str = "node0";
/// Image of the pods' sandboxes.
pub(super) const PAUSE: &str = "localhost/surprisal-pause:test";

/// Kernel settings that the kubelet insists on. Files with these values are mounted over them in the node's
/// mount namespace, so that neither does it set the host's, nor fail.
const SYSCTLS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// What the first process of the node's namespaces runs: it prepares them, says so, and then holds them.
///
/// What the programs keep in fixed places (`/run/containerd`, `/var/lib/kubelet`, `/var/log/pods`) goes to
/// file systems in memory that end with the mount namespace.
pub(super) fn holder(dir: &Path) -> String {
    let dir = dir.display();
    let head = format!(
        "set -eu
# A peer group of its own, which the kubelet needs; what is mounted here does not reach the host.
mount --make-rshared /
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=755 log /var/log
mount -t tmpfs -o mode=755 lib /var/lib
ip link set lo up
# The node's uplink: nothing is behind it.
ip link add up0 type bridge
ip addr add {NODE_ADDRESS}/24 dev up0
ip link set up0 up
ip route add default via 10.99.0.254 dev up0 onlink
mkdir {dir}/sysctl
"
    );
    let sysctls = SYSCTLS.map(|(name, value)| {
        let file = format!("{dir}/sysctl/{}", name.replace('/', "_"));
        format!("echo {value} > {file}\nmount --bind {file} /proc/sys/{name}\n")
    });
    format!("{head}{}touch {dir}/holding\nexec sleep infinity\n", sysctls.concat())
}

/// containerd, with its CRI plug-in.
pub(super) fn containerd(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        r#"version = 2
root = "{dir}/containerd/root"
state = "{dir}/containerd/state"
oom_score = 0
[grpc]
  address = "{dir}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  disable_tcp_service = true
  disable_apparmor = true
  # Without CAP_SYS_RESOURCE a sandbox cannot lower its score; with it, this changes nothing.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI}"
    conf_dir = "{dir}/cni"
"#
    )
}

/// Pods' network: a bridge in the node's network namespace.
pub(super) fn cni(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        r#"{{"cniVersion":"0.4.0","name":"node","plugins":[{{"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":false,
"ipam":{{"type":"host-local","dataDir":"{dir}/ipam","ranges":[[{{"subnet":"10.88.0.0/24"}}]],"routes":[{{"dst":"0.0.0.0/0"}}]}}}},{{"type":"loopback"}}]}}
"#
    )
}

/// The administrator's way in, for the programs and for the tests.
pub(super) fn kubeconfig(token: &str) -> String {
    format!(
        r#"apiVersion: v1
kind: Config
clusters: [{{name: node, cluster: {{server: "https://{NODE_ADDRESS}:6443", insecure-skip-tls-verify: true}}}}]
users: [{{name: admin, user: {{token: "{token}"}}}}]
contexts: [{{name: node, context: {{cluster: node, user: admin}}}}]
current-context: node
"#
    )
}

/// The kubelet; `static_pods` is where pods lie as files; `cgroup` is the node's own root in the cgroup hierarchies.
pub(super) fn kubelet(cgroup: &str, static_pods: &Path) -> String {
    let static_pods = static_pods.display();
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}
failSwapOn: false
protectKernelDefaults: true
makeIPTablesUtilChains: false
oomScoreAdj: 0
nodeStatusUpdateFrequency: 1s
staticPodPath: {static_pods}
fileCheckFrequency: 2s
resolvConf: ""
evictionHard: {{memory.available: "100Mi", nodefs.available: "1%", imagefs.available: "1%"}}
imageGCHighThresholdPercent: 99
"#
    )
}
