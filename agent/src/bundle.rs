//! A container's names, from its OCI bundle.
//!
//! In: `config.json` and `init.pid` of a bundle, reached through the working directory of the monitor ("shim" for short) that
//! holds it. Out: [`Bundle`]. Never: asks a runtime's socket or an API server, so nothing here waits.
//!
//! containerd starts a shim in its bundle, `…/io.containerd.runtime.v2.task/<namespace>/<id>`. Under CRI one
//! shim holds a whole pod: its own bundle is the sandbox's, and those of the pod's containers lie beside it.
//! `/proc/<shim>/cwd` leads there from any mount namespace.
//!
//! CRI-O and podman start a conmon for each container in its bundle, `…/overlay-containers/<id>/userdata`. What podman calls the
//! container stands on conmon's command line only (`-n`).

use crate::{
    container::{ContainerId, Kind, Names, Role},
    procfs::{Procfs, read_bounded},
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

/// Largest `config.json` that is read. With a long seccomp list and hundreds of mounts one has 200 kB.
const CONFIG_MAX: u64 = 4 << 20;
/// Longest name that is believed; Kubernetes allows 253 bytes, image references get longer.
const NAME_MAX: usize = 1024;
/// Bundles looked at beside a shim's own. A node runs a few hundred containers.
const SIBLINGS_MAX: usize = 1024;

/// Runtimes that give containers a kernel of their own, by what is in the names of their shims or programs: gVisor's `runsc`, Kata's
/// `containerd-shim-kata-v2` and `kata-runtime`, firecracker-containerd's `aws.firecracker`.
const OWN_KERNEL: [&str; 3] = ["runsc", "kata", "firecracker"];

/// What a bundle says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// The container's names.
    pub names: Names,
    /// Where its runtime was told to put its cgroup; in systemd's form `slice:prefix:name`.
    pub cgroups_path: Option<String>,
}

/// Why a bundle says nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read: gone, not there yet, or no rights.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its `config.json` is no such thing (yet: the runtime may still be writing it).
    #[error("{} is no OCI configuration", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    annotations: Option<HashMap<String, serde_json::Value>>,
    #[serde(default)]
    linux: Option<Linux>,
}

#[derive(Deserialize)]
struct Linux {
    #[serde(default, rename = "cgroupsPath")]
    cgroups_path: Option<String>,
}

/// Reads a `config.json`; its path, not its content, tells the runtime's namespace.
pub fn parse(json: &[u8], runtime_namespace: &str) -> Result<Bundle, serde_json::Error> {
    let config: Config = serde_json::from_slice(json)?;
    let annotations = config.annotations.unwrap_or_default();
    let cgroups_path = config.linux.and_then(|l| l.cgroups_path).filter(|p| p.len() <= 4096);
    // The first key that is there and holds a plausible name.
    let say = |keys: &[&str]| {
        let values = keys.iter().filter_map(|key| annotations.get(*key)?.as_str());
        values.map(str::trim).find(|v| is_name(v)).unwrap_or_default().to_owned()
    };
    let mut names = Names {
        namespace: say(&["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace", "io.kubernetes.cri-o.Namespace"]),
        pod: say(&["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name", "io.kubernetes.cri-o.KubeName"]),
        pod_uid: say(&["io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"]),
        name: say(&["io.kubernetes.cri.container-name", "io.kubernetes.container.name"]),
        image: say(&["io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName", "io.kubernetes.cri-o.Image"]),
        // CRI-O and podman have none; what manages the container ("cri-o", "libpod") stands for it.
        runtime_namespace: match runtime_namespace {
            "" => say(&["io.container.manager"]),
            known => known.to_owned(),
        },
        // Guessed from the others, once the id is known too.
        workload: String::new(),
        // Not the bundle's to say.
        own_kernel: false,
        kind: match say(&["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"]).as_str() {
            "sandbox" => Kind::Sandbox,
            _ => Kind::Container,
        },
        // Kubernetes' to say.
        owner_kind: String::new(),
        image_digest: String::new(),
        role: Role::Unknown,
        restarts: None,
        labels: BTreeMap::new(),
    };
    // Older containerd says less: the directory of a sandbox's logs is <namespace>_<pod>_<uid>.
    let logs = say(&["io.kubernetes.cri.sandbox-log-directory"]);
    if let [namespace, pod, uid] = logs.rsplit('/').next().unwrap_or_default().split('_').collect::<Vec<_>>()[..] {
        for (field, value) in [(&mut names.namespace, namespace), (&mut names.pod, pod), (&mut names.pod_uid, uid)] {
            if field.is_empty() {
                value.clone_into(field);
            }
        }
    }
    if names.pod_uid.is_empty() && !names.pod.is_empty() {
        names.pod_uid = cgroups_path.as_deref().and_then(pod_uid_in).unwrap_or_default();
    }
    if names.kind == Kind::Sandbox {
        names.name.clear();
    }
    Ok(Bundle { names, cgroups_path })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_MAX && !text.chars().any(char::is_control)
}

/// `/kubepods/burstable/pod<uid>/<id>`, `kubepods-pod<uid with _>.slice:cri-containerd:<id>`.
fn pod_uid_in(cgroups_path: &str) -> Option<String> {
    let part = cgroups_path.split(['/', ':']).find(|p| p.starts_with("pod") || p.contains("-pod"))?;
    let (_, uid) = part.strip_suffix(".slice").unwrap_or(part).rsplit_once("pod")?;
    let uid = uid.replace('_', "-");
    (uid.len() >= 32 && uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')).then_some(uid)
}

/// Where a bundle lies, by the last two parts of its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The runtime's namespace; empty: it has none (CRI-O, podman).
    pub runtime_namespace: String,
    /// The container's id.
    pub id: ContainerId,
    /// The shim holds this container only.
    pub alone: bool,
}

/// From a shim's working directory.
pub fn location(path: &str) -> Option<Location> {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    if let Some(of_container) = path.strip_suffix("/userdata") {
        let id = of_container.rsplit('/').next()?.parse().ok()?;
        return Some(Location { runtime_namespace: String::new(), id, alone: true });
    }
    let mut parts = path.rsplit('/');
    let id = parts.next()?.parse().ok()?;
    let runtime_namespace = parts.next()?;
    is_name(runtime_namespace).then(|| Location { runtime_namespace: runtime_namespace.to_owned(), id, alone: false })
}

/// Bundles, reached through shims.
#[derive(Clone, Debug)]
pub struct Bundles {
    procfs: Procfs,
}

impl Bundles {
    /// Reached through this procfs.
    pub fn new(procfs: Procfs) -> Self {
        Self { procfs }
    }

    /// The shim's own bundle. `None`: it is gone, or not ours to see (`CAP_SYS_PTRACE`).
    pub fn own(&self, shim: u32) -> Option<Location> {
        location(fs::read_link(self.cwd(shim)).ok()?.to_str()?)
    }

    /// Reads the bundle of `id`, which the shim runs or whose bundle lies beside the shim's.
    pub fn read(&self, shim: u32, id: &ContainerId) -> Result<Bundle, Error> {
        let path = self.directory(shim, id).join("config.json");
        let json = read_bounded(&path, CONFIG_MAX).map_err(|source| Error::Read { path: path.clone(), source })?;
        let own = self.own(shim);
        let namespace = own.as_ref().map(|own| own.runtime_namespace.as_str()).unwrap_or_default();
        let mut bundle = parse(&json, namespace).map_err(|source| Error::Parse { path, source })?;
        if own.is_some_and(|own| own.alone) && bundle.names.pod.is_empty() && bundle.names.name.is_empty() {
            bundle.names.name = name_on(&self.procfs.command_line(shim)).unwrap_or_default();
        }
        bundle.names.own_kernel = own_kernel(&self.procfs, shim);
        Ok(bundle)
    }

    /// First process of `id`, in the runtime's pid namespace. `None`: not started, or gone.
    pub fn init_pid(&self, shim: u32, id: &ContainerId) -> Option<u32> {
        let text = read_bounded(&self.directory(shim, id).join("init.pid"), 32).ok()?;
        str::from_utf8(&text).ok()?.trim().parse().ok()
    }

    /// The shim's own id first, then the ids of the bundles beside it; at most 1,025.
    pub fn around(&self, shim: u32) -> Vec<ContainerId> {
        let own = self.own(shim);
        if let Some(own) = own.as_ref().filter(|own| own.alone) {
            return vec![own.id.clone()];
        }
        let own = own.map(|own| own.id);
        let beside = fs::read_dir(self.cwd(shim).join("..")).into_iter().flatten().take(SIBLINGS_MAX);
        let beside = beside.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).filter(|id| Some(id) != own.as_ref());
        own.iter().cloned().chain(beside).collect()
    }

    fn cwd(&self, shim: u32) -> PathBuf {
        self.procfs.path(shim, "cwd")
    }

    fn directory(&self, shim: u32, id: &ContainerId) -> PathBuf {
        let cwd = self.cwd(shim);
        // Not through `..` when it can be avoided: a shim that was moved still holds its own bundle.
        match self.own(shim) {
            Some(own) if own.id == *id => cwd,
            _ => cwd.join("..").join(Path::new(id.as_str())),
        }
    }
}

/// Whether a shim's runtime gives containers a kernel of their own. The shim is the host's: a container cannot pretend.
fn own_kernel(procfs: &Procfs, shim: u32) -> bool {
    let args = procfs.command_line(shim);
    let told = args.iter().zip(args.iter().skip(1)).find(|(flag, _)| ["-r", "--runtime"].contains(&flag.as_str()));
    // conmon says which runtime it starts; of containerd's shims the name does.
    let runtime = told.map(|(_, path)| path.clone()).or_else(|| procfs.program(shim)).unwrap_or_default();
    let name = runtime.rsplit('/').next().unwrap_or_default();
    OWN_KERNEL.iter().any(|sandboxed| name.contains(sandboxed))
}

/// What conmon was told to call its container: `-n NAME`, `--name NAME`, `--name=NAME`.
fn name_on(command_line: &[String]) -> Option<String> {
    let mut args = command_line.iter();
    while let Some(arg) = args.next() {
        let name = match arg.as_str() {
            "-n" | "--name" => args.next()?.as_str(),
            other => match other.strip_prefix("--name=") {
                Some(name) => name,
                None => continue,
            },
        };
        return is_name(name).then(|| name.to_owned());
    }
    None
}

#[cfg(test)]
mod tests;
