use super::*;
use proptest::prelude::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const INNER: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

/// `<id>` and `<inner>` in `path` stand for 64 digits; `own` is the path of the container's own cgroup.
#[track_caller]
fn check(path: &str, expect: Option<(&str, &str)>) {
    let fill = |text: &str| text.replace("<id>", ID).replace("<inner>", INNER);
    let path = fill(path);
    let found = container_in(&path);
    let found = found.as_ref().map(|f| (f.id.as_str(), &path[..f.end]));
    let expect = expect.map(|(id, own)| (fill(id), fill(own)));
    assert_eq!(found, expect.as_ref().map(|(id, own)| (id.as_str(), own.as_str())), "{path}");
}

#[test]
fn shapes_of_runtimes() {
    for path in [
        "/docker/<id>",
        "/system.slice/docker-<id>.scope",
        "/kubepods/besteffort/pod7c3b/<id>",
        "/kubepods/burstable/pod7c3b/<id>",
        "/kubepods/pod7c3b/<id>",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod7c3b.slice/cri-containerd-<id>.scope",
        "/kubepods.slice/kubepods-pod7c3b.slice/crio-<id>.scope",
        "/system.slice/containerd.service/kubepods-burstable-pod7c3b.slice:cri-containerd:<id>",
        "/kubepods-burstable-pod7c3b.slice:cri-containerd:<id>",
        "/machine.slice/libpod-<id>.scope",
        "/k8s.io/<id>",
        // In a cgroup namespace.
        "/../<id>",
        "/../../pod7c3b/<id>",
        "/../../../besteffort/pod7c3b/<id>",
        "/../cri-containerd-<id>.scope",
    ] {
        check(path, Some(("<id>", path)));
    }
}

#[test]
fn what_a_container_made_itself_is_not_its_cgroup() {
    check("/docker/<id>/init.scope", Some(("<id>", "/docker/<id>")));
    check("/default/c1/child/grandchild", Some(("c1", "/default/c1")));
    check("/kubepods/burstable/pod7c3b/<id>/system.slice/x.service", Some(("<id>", "/kubepods/burstable/pod7c3b/<id>")));
}

#[test]
fn the_innermost_container_wins() {
    check("/docker/<id>/kubepods/besteffort/pod1/<inner>", Some(("<inner>", "/docker/<id>/kubepods/besteffort/pod1/<inner>")));
}

#[test]
fn plain_containerd() {
    check("/default/c1", Some(("c1", "/default/c1")));
    check("/my-ns/redis_2.a", Some(("redis_2.a", "/my-ns/redis_2.a")));
    check("//default//c1/", Some(("c1", "//default//c1")));
    check("/../c1", Some(("c1", "/../c1")));
    check("/../../other/c1", Some(("c1", "/../../other/c1")));
    check("/system.slice/nerdctl-web.scope", Some(("web", "/system.slice/nerdctl-web.scope")));
    check("/system.slice/ctr.slice:default:web", Some(("web", "/system.slice/ctr.slice:default:web")));
}

#[test]
fn what_is_no_container() {
    for path in [
        "",
        "/",
        "/..",
        "/../..",
        "/c1",
        "/system.slice/containerd.service",
        "/user.slice/user-1000.slice/session-1.scope",
        "/init.scope",
        "/kubepods/besteffort",
        "/kubepods/besteffort/pod7c3b",
        "/kubepods.slice/kubepods-burstable.slice",
        "/default/..",
        "/default/a b",
        "relative",
    ] {
        check(path, None);
    }
    check(&format!("/default/{}", "a".repeat(PATH_MAX)), None);
}

#[test]
fn names_alone() {
    for (name, expect) in [
        (ID.to_owned(), Some(ID)),
        (format!("docker-{ID}.scope"), Some(ID)),
        (format!("a.slice:cri-containerd:{ID}"), Some(ID)),
        ("c1".to_owned(), None),
        ("docker-desktop".to_owned(), None),
        (format!("crio-conmon-{ID}.scope"), None),
        ("init.scope".to_owned(), None),
        (String::new(), None),
    ] {
        assert_eq!(id_by_shape(&name).as_ref().map(ContainerId::as_str), expect, "{name}");
    }
}

#[test]
fn cgroup_files() {
    let hybrid = "9:name=systemd:/default/c1\n4:memory:/default/c1\n3:cpuset:/\n0::/default/c1\n";
    let groups = Cgroups::parse(hybrid);
    assert_eq!(groups, Cgroups { unified: Some("/default/c1".into()), others: vec!["/default/c1".into()] });
    assert_eq!(groups.container().map(|(id, _)| id.to_string()), Some("c1".into()));

    // Everything in the unified root: v1 still says who it is.
    let groups = Cgroups::parse("4:memory:/default/c1\n0::/\n");
    assert_eq!(groups.unified_of_container(), Some("/"));
    assert_eq!(groups.container().map(|(id, path)| (id.to_string(), path)), Some(("c1".into(), "/default/c1")));

    let pure = Cgroups::parse("0::/default/c1/made/by/itself (deleted)\n");
    assert_eq!(pure.unified_of_container(), Some("/default/c1"));

    assert_eq!(Cgroups::parse("garbage\n:::\n"), Cgroups::default());
}

#[test]
fn cgroup_versions() {
    for (text, expect) in [
        ("", CgroupVersion::None),
        ("4:memory:/\n", CgroupVersion::V1),
        ("4:memory:/\n0::/\n", CgroupVersion::Hybrid),
        ("0::/x\n", CgroupVersion::V2),
    ] {
        assert_eq!(CgroupVersion::parse(text), expect, "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_path_makes_it_panic(path in "\\PC{0,200}") {
        if let Some(found) = container_in(&path) {
            prop_assert!(path[..found.end].contains(found.id.as_str()));
        }
    }

    #[test]
    fn no_path_of_real_words_makes_it_panic(parts in prop::collection::vec(
        prop::sample::select(vec!["..", ".", "", "docker", "kubepods", "default", "c1", "a.slice:b:c", ":", ".scope", "docker-.scope", "x.slice", ID]), 0..8)) {
        let path = format!("/{}", parts.join("/"));
        if let Some(found) = container_in(&path) {
            prop_assert!(found.end <= path.len());
            prop_assert!(!found.id.as_str().contains('/'));
        }
    }

    #[test]
    fn no_cgroup_file_makes_it_panic(text in "\\PC{0,200}") {
        let _groups = Cgroups::parse(&text).container().map(|(id, _)| id);
    }
}
