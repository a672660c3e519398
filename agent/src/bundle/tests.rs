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
    for bad in
        [serde_json::json!(long), serde_json::json!("a\nb"), serde_json::json!("  "), serde_json::json!(7), serde_json::json!([])]
    {
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
    let path = "/var/lib/containers/storage/overlay-containers/0123/userdata";
    let alone = Location { runtime_namespace: String::new(), id: "0123".parse().expect("an id"), alone: true };
    assert_eq!(location(path), Some(alone));
    for bad in ["", "/", "c1", "/c1", "/run/..", "/userdata"] {
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

/// File trees of the shapes that podman 5 and CRI-O 1.31 leave; neither runs here.
#[test]
fn conmon_holds_one_container() {
    let dir = tempfile::tempdir().expect("a directory");
    let id = "c".repeat(64);
    let other = "d".repeat(64);
    let storage = dir.path().join("storage/overlay-containers");
    let crio = serde_json::json!({
        "io.container.manager": "cri-o",
        "io.kubernetes.container.name": "nginx",
        "io.kubernetes.cri-o.ContainerType": "container",
        "io.kubernetes.cri-o.ImageName": "docker.io/library/nginx:1.27",
        "io.kubernetes.pod.name": "web-0",
        "io.kubernetes.pod.namespace": "shop",
        "io.kubernetes.pod.uid": UID,
    });
    let podman = serde_json::json!({ "io.container.manager": "libpod", "org.opencontainers.image.stopSignal": "15" });
    for (conmon, id, annotations, name) in [(40, &id, podman, "web"), (41, &other, crio, "k8s_nginx_web-0")] {
        let bundle = storage.join(id).join("userdata");
        fs::create_dir_all(&bundle).expect("a directory");
        let json = serde_json::json!({ "ociVersion": "1.2.0", "annotations": annotations });
        fs::write(bundle.join("config.json"), json.to_string()).expect("a file");
        let proc = dir.path().join(format!("proc/{conmon}"));
        fs::create_dir_all(&proc).expect("a directory");
        symlink(&bundle, proc.join("cwd")).expect("a link");
        let line = format!("/usr/bin/conmon\0--api-version\x001\0-c\0{id}\0-u\0{id}\0-n\0{name}\0-s\0");
        fs::write(proc.join("cmdline"), line).expect("a file");
    }
    let bundles = Bundles::new(Procfs::at(dir.path().join("proc")));
    let id = |text: &str| text.parse::<ContainerId>().expect("an id");
    assert_eq!(bundles.around(40), [id(&"c".repeat(64))]);
    let names = bundles.read(40, &id(&"c".repeat(64))).expect("a bundle").names;
    let expect = Names { name: "web".into(), runtime_namespace: "libpod".into(), kind: Kind::Container, ..Names::default() };
    assert_eq!(names, expect);
    let names = bundles.read(41, &id(&other)).expect("a bundle").names;
    assert_eq!(names, Names { runtime_namespace: "cri-o".into(), ..pod() });
}

#[test]
fn sandboxed_runtimes() {
    let dir = tempfile::tempdir().expect("a directory");
    let procfs = Procfs::at(dir.path());
    for (shim, program, line, expect) in [
        (50, "containerd-shim-runc-v2", "/usr/bin/containerd-shim-runc-v2\0-namespace\0k8s.io\0", false),
        (51, "containerd-shim-runsc-v1", "/usr/bin/containerd-shim-runsc-v1\0-namespace\0k8s.io\0", true),
        (52, "containerd-shim-kata-v2", "/opt/kata/bin/containerd-shim-kata-v2\0", true),
        (53, "conmon", "/usr/bin/conmon\0-r\0/usr/bin/runsc\0", true),
        (54, "conmon", "/usr/bin/conmon\0--runtime\0/usr/bin/crun\0-n\0runsc\0", false),
    ] {
        let proc = dir.path().join(shim.to_string());
        fs::create_dir(&proc).expect("a directory");
        symlink(Path::new("/usr/bin").join(program), proc.join("exe")).expect("a link");
        fs::write(proc.join("cmdline"), line).expect("a file");
        assert_eq!(own_kernel(&procfs, shim), expect, "{program}");
    }
    assert!(!own_kernel(&procfs, 99), "gone");
}

#[test]
fn names_on_command_lines() {
    let name = |text: &str| name_on(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
    for (text, expect) in [
        ("conmon -c 1 -n web -s", Some("web")),
        ("conmon --name web", Some("web")),
        ("conmon --name=web -n other", Some("web")),
        ("conmon -c 1", None),
        ("conmon -n", None),
    ] {
        assert_eq!(name(text).as_deref(), expect, "{text:?}");
    }
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
