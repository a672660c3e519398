use super::{
    host::{hooks, rights, version},
    judge::{judge, obstacles, warnings},
    report::{KernelFacts, PidFacts},
    *,
};
use crate::bpf::LoadError;
use caps::Capability;

#[test]
fn versions() {
    for (release, expect) in
        [("6.18.5", Some((6, 18))), ("5.8-rc1", Some((5, 8))), ("5.10.0-28-amd64", Some((5, 10))), ("x", None), ("6", None)]
    {
        assert_eq!(version(release), expect, "{release}");
    }
}

fn kernel() -> KernelFacts {
    KernelFacts { release: "6.1.0".into(), machine: "x86_64".into(), new_enough: true, btf: true }
}

fn all_types() -> Vec<u8> {
    let names = ["sys_enter", "sched_process_fork", "sched_process_exec", "sched_process_exit", "inet_sock_set_state"];
    let names =
        names.map(|n| format!("btf_trace_{n}")).into_iter().chain(["bpf_iter__task", "bpf_task_storage_get"].map(str::to_owned));
    format!("\0{}\0", names.collect::<Vec<_>>().join("\0")).into_bytes()
}

#[track_caller]
fn check(
    kernel: &KernelFacts,
    types: Option<&[u8]>,
    has: fn(Capability) -> bool,
    load: LoadError,
    verdict: Verdict,
    obstacle: &str,
) {
    let (rights, hooks) = (rights(has), hooks(types));
    let mut found = obstacles(kernel, &rights, &hooks);
    assert_eq!(judge(kernel, &hooks, &rights, Err(load), &mut found).0, verdict);
    assert!(found.iter().any(|o| o.contains(obstacle)), "{found:?} does not say {obstacle:?}");
}

#[test]
fn what_stands_in_the_way() {
    let types = all_types();
    let types = Some(types.as_slice());
    let all = |_| true;
    let none = |_| false;
    let unsupported = Verdict::Unsupported;
    check(&kernel(), types, none, LoadError::NotAllowed, Verdict::RightsMissing, "CAP_BPF is missing");
    check(&kernel(), types, |c| c != Capability::CAP_SYS_PTRACE, LoadError::NotAllowed, Verdict::RightsMissing, "CAP_SYS_PTRACE");
    check(&kernel(), types, all, LoadError::NotAllowed, Verdict::RightsMissing, "not allowed to load");
    check(&kernel(), types, all, LoadError::NotEmbedded, Verdict::NotEmbedded, "built without its eBPF programs");
    check(&kernel(), types, all, LoadError::Incomplete("x"), unsupported, "has no x");
    check(&kernel(), Some(b"\0nothing\0"), all, LoadError::NotAllowed, unsupported, "no tp_btf/sys_enter");
    let old = KernelFacts { release: "5.4.0".into(), new_enough: false, ..kernel() };
    check(&old, types, none, LoadError::NotAllowed, unsupported, "kernel 5.4.0 is older than 5.8");
    let bare = KernelFacts { btf: false, ..kernel() };
    check(&bare, None, all, LoadError::NotAllowed, unsupported, "no BTF");
    let arm = KernelFacts { machine: "aarch64".into(), ..kernel() };
    check(&arm, types, all, LoadError::NotAllowed, unsupported, "only x86_64");
}

#[test]
fn what_cannot_be_known() {
    let pids = |first, own| PidFacts { namespace: Some(7), first, own };
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    for (pids, runtimes, monitors, unsupported, expect) in [
        (pids(true, true), &["containerd"][..], 1, &[][..], &[][..]),
        (pids(true, true), &[], 0, &[], &[]),
        (pids(false, true), &["containerd"], 0, &[], &[]),
        (pids(false, true), &[], 1, &[], &[]),
        (pids(false, true), &[], 0, &[], &["needs hostPID: true to see"]),
        (pids(true, false), &["containerd"], 1, &[], &["ran before the agent are not followed"]),
        (pids(true, true), &[], 0, &["runc", "systemd-nspawn"], &["runc runs here without", "systemd-nspawn runs here without"]),
    ] {
        let found = warnings(&pids, &names(runtimes), monitors, &names(unsupported));
        assert_eq!(found.len(), expect.len(), "{found:?}");
        assert!(found.iter().zip(expect).all(|(text, part)| text.contains(part)), "{found:?} does not say {expect:?}");
    }
}

#[test]
fn sys_admin_includes_the_newer_two() {
    let held: Vec<_> = rights(|c| c == Capability::CAP_SYS_ADMIN).iter().map(|r| r.held).collect();
    assert_eq!(held, [true, true, false]);
}

#[test]
fn exit_codes() {
    let codes = [Verdict::Ready, Verdict::RightsMissing, Verdict::Unsupported, Verdict::NotEmbedded].map(Verdict::exit_code);
    assert_eq!(codes, [0, 77, 78, 78]);
}

#[test]
fn this_host_is_described() {
    let report = probe(&Procfs::default());
    let json = serde_json::to_value(&report).expect("JSON");
    assert_eq!(json["kernel"]["release"], report.kernel.release);
    assert_eq!(json["hooks"].as_array().map(Vec::len), Some(7));
    let table = report.table();
    assert!(table.contains(&report.kernel.release) && table.contains("would use"), "{table}");
    assert_eq!(report.verdict == Verdict::Ready, report.obstacles.is_empty(), "{:?}", report.obstacles);
}
