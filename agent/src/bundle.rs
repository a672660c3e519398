//! A container's names, from its OCI bundle.
//!
//! In: `config.json` and `init.pid` of a bundle, reached through the working directory of the shim that
//! runs it. Out: [`Bundle`]. Never: asks a runtime's socket or an API server, so there is nothing to wait for.
//!
//! containerd starts a shim in its bundle, `…/io.containerd.runtime.v2.task/<namespace>/<id>`. Under CRI one
//! shim holds a whole pod: its own bundle is the sandbox's, and those of the pod's containers lie beside it.
//! `/proc/<shim>/cwd` leads there from any mount namespace.

use crate::{
    container::{ContainerId, Kind, Names},
    procfs::{Procfs, read_bounded},
};
use serde::Deserialize;
use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Largest `config.json` that is read. With a long seccomp list and hundreds of mounts one has 200 kB.
const CONFIG_MAX: u64 = 4 << 20;
/// Longest name that is believed; Kubernetes allows 253 bytes, image references get longer.
const NAME_MAX: usize = 1024;
/// Bundles looked at beside a shim's own. A node runs a few hundred containers.
const SIBLINGS_MAX: usize = 1024;

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
    // The first key that is there and speaks sense.
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
        runtime_namespace: runtime_namespace.to_owned(),
        // Guessed from the others, once the id is known too.
        workload: String::new(),
        kind: match say(&["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"]).as_str() {
            "sandbox" => Kind::Sandbox,
            _ => Kind::Container,
        },
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
    /// The runtime's namespace.
    pub runtime_namespace: String,
    /// The container's id.
    pub id: ContainerId,
}

/// From a shim's working directory.
pub fn location(path: &str) -> Option<Location> {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let mut parts = path.rsplit('/');
    let id = parts.next()?.parse().ok()?;
    let runtime_namespace = parts.next()?;
    is_name(runtime_namespace).then(|| Location { runtime_namespace: runtime_namespace.to_owned(), id })
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
        let namespace = self.own(shim).map(|own| own.runtime_namespace).unwrap_or_default();
        parse(&json, &namespace).map_err(|source| Error::Parse { path, source })
    }

    /// First process of `id`, in the runtime's pid namespace. `None`: not started, or gone.
    pub fn init_pid(&self, shim: u32, id: &ContainerId) -> Option<u32> {
        let text = read_bounded(&self.directory(shim, id).join("init.pid"), 32).ok()?;
        str::from_utf8(&text).ok()?.trim().parse().ok()
    }

    /// The shim's own id first, then the ids of the bundles beside it; at most 1,025.
    pub fn around(&self, shim: u32) -> Vec<ContainerId> {
        let own = self.own(shim).map(|own| own.id);
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::symlink;

    const UID: &str = "7c3b1f0e-9f60-4c1e-8a51-2b7f0d0c9a11";

    #[track_caller]
    fn check(annotations: &serde_json::Value, cgroups_path: &str, expect: &Names) {
        let json = serde_json::json!({"ociVersion": "1.0.2", "annotations": annotations, "linux": {"cgroupsPath": cgroups_path}});
        assert_eq!(&parse(json.to_string().as_bytes(), "k8s.io").expect("a configuration").names, expect);
    }

    fn pod() -> Names {
        Names {
            namespace: "shop".into(),
            pod: "web-0".into(),
            pod_uid: UID.into(),
            name: "nginx".into(),
            image: "docker.io/library/nginx:1.27".into(),
            runtime_namespace: "k8s.io".into(),
            kind: Kind::Container,
            ..Names::default()
        }
    }

    #[test]
    fn containerd_cri() {
        let said = serde_json::json!({
            "io.kubernetes.cri.container-name": "nginx",
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.image-name": "docker.io/library/nginx:1.27",
            "io.kubernetes.cri.sandbox-id": "0123",
            "io.kubernetes.cri.sandbox-name": "web-0",
            "io.kubernetes.cri.sandbox-namespace": "shop",
            "io.kubernetes.cri.sandbox-uid": UID,
        });
        check(&said, "", &pod());
        // Without the uid, the cgroup has it, in both drivers' forms.
        let mut less = said.clone();
        less.as_object_mut().expect("an object").remove("io.kubernetes.cri.sandbox-uid");
        check(&less, &format!("/kubepods/burstable/pod{UID}/0123"), &pod());
        check(&less, &format!("kubepods-burstable-pod{}.slice:cri-containerd:0123", UID.replace('-', "_")), &pod());
        check(&less, "/kubepods/burstable/podx/0123", &Names { pod_uid: String::new(), ..pod() });
    }

    #[test]
    fn sandboxes() {
        let expect = Names { name: String::new(), image: String::new(), kind: Kind::Sandbox, ..pod() };
        check(
            &serde_json::json!({
                "io.kubernetes.cri.container-type": "sandbox",
                "io.kubernetes.cri.sandbox-log-directory": format!("/var/log/pods/shop_web-0_{UID}"),
            }),
            "",
            &expect,
        );
    }

    #[test]
    fn cri_o() {
        check(
            &serde_json::json!({
                "io.kubernetes.cri-o.ContainerType": "container",
                "io.kubernetes.cri-o.ImageName": "docker.io/library/nginx:1.27",
                "io.kubernetes.container.name": "nginx",
                "io.kubernetes.pod.name": "web-0",
                "io.kubernetes.pod.namespace": "shop",
                "io.kubernetes.pod.uid": UID,
            }),
            "",
            &pod(),
        );
    }

    #[test]
    fn plain_containers_say_nothing() {
        let expect = Names { runtime_namespace: "moby".into(), kind: Kind::Container, ..Names::default() };
        for json in [r#"{"annotations":null,"linux":null}"#, "{}", r#"{"annotations":{}}"#] {
            assert_eq!(parse(json.as_bytes(), "moby").expect("a configuration").names, expect);
        }
    }

    #[test]
    fn hostile_annotations_are_left_out() {
        let long = "x".repeat(NAME_MAX + 1);
        for bad in [
            serde_json::json!(long),
            serde_json::json!("a\nb"),
            serde_json::json!("  "),
            serde_json::json!(7),
            serde_json::json!([]),
        ] {
            let json = serde_json::json!({"annotations": {"io.kubernetes.cri.container-name": bad}});
            assert_eq!(parse(json.to_string().as_bytes(), "").expect("a configuration").names.name, "");
        }
        assert!(parse(b"{\"annotations\":{\"a\":", "").is_err(), "half written");
        assert!(parse(b"7", "").is_err());
    }

    #[test]
    fn locations() {
        let at = |path: &str| location(path).map(|l| (l.runtime_namespace, l.id.to_string()));
        let path = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/c1";
        assert_eq!(at(path), Some(("k8s.io".into(), "c1".into())));
        assert_eq!(at(&format!("{path} (deleted)")), Some(("k8s.io".into(), "c1".into())));
        for bad in ["", "/", "c1", "/c1", "/run/.."] {
            assert_eq!(at(bad), None, "{bad:?}");
        }
    }

    /// A shim whose working directory is the bundle `…/ns/own`, with `other` beside it.
    fn fake() -> (tempfile::TempDir, Bundles) {
        let dir = tempfile::tempdir().expect("a directory");
        for (id, name) in [("own", "POD"), ("other", "nginx")] {
            let bundle = dir.path().join("task/ns").join(id);
            fs::create_dir_all(&bundle).expect("a directory");
            let json = serde_json::json!({"annotations": {"io.kubernetes.cri.container-name": name}});
            fs::write(bundle.join("config.json"), json.to_string()).expect("a file");
        }
        fs::write(dir.path().join("task/ns/other/init.pid"), "77").expect("a file");
        fs::create_dir_all(dir.path().join("proc/30")).expect("a directory");
        symlink(dir.path().join("task/ns/own"), dir.path().join("proc/30/cwd")).expect("a link");
        let bundles = Bundles::new(Procfs::at(dir.path().join("proc")));
        (dir, bundles)
    }

    #[test]
    fn one_shim_holds_a_pod() {
        let (dir, bundles) = fake();
        let id = |text: &str| text.parse::<ContainerId>().expect("an id");
        let name = |text| bundles.read(30, &id(text)).expect("a bundle").names;
        assert_eq!((name("own").name.as_str(), name("own").runtime_namespace.as_str()), ("POD", "ns"));
        assert_eq!(name("other").name, "nginx");
        assert_eq!(bundles.init_pid(30, &id("other")), Some(77));
        assert_eq!(bundles.init_pid(30, &id("own")), None);
        assert_eq!(bundles.around(30), [id("own"), id("other")]);
        assert!(matches!(bundles.read(30, &id("gone")), Err(Error::Read { .. })));
        assert!(matches!(bundles.read(31, &id("own")), Err(Error::Read { .. })));

        fs::write(dir.path().join("task/ns/own/config.json"), vec![b' '; CONFIG_MAX as usize + 1]).expect("a file");
        let error = bundles.read(30, &id("own")).expect_err("too large");
        assert!(matches!(&error, Error::Read { source, .. } if source.kind() == io::ErrorKind::FileTooLarge), "{error:?}");
    }

    proptest! {
        #[test]
        fn no_configuration_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _names = parse(&bytes, "ns");
        }

        #[test]
        fn no_annotation_makes_it_panic(key in prop::sample::select(vec![
            "io.kubernetes.cri.sandbox-log-directory", "io.kubernetes.cri.sandbox-name", "io.kubernetes.cri.container-type"]),
            value in "\\PC{0,60}", path in "\\PC{0,60}") {
            let json = serde_json::json!({"annotations": {key: value}, "linux": {"cgroupsPath": path}});
            prop_assert!(parse(json.to_string().as_bytes(), "ns").is_ok());
        }

        #[test]
        fn no_path_makes_it_panic(path in "\\PC{0,80}") {
            let _location = location(&path);
        }
    }
}
