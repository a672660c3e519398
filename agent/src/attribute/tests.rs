use super::{choosing::LABELS_WAIT_NS, ended::TOMBSTONE_NS, *};
use crate::{
    container::{Kind, Names, Watch},
    names::Raw,
};

const KEY: ContainerKey = ContainerKey(7);

fn life(at_ns: u64) -> Life {
    Life { container: 7, at_ns, cgroup_id: 7, mnt_ns: 1, net_ns: 2, tgid: 100, shim_tgid: 50, cgroup_name: "abc".into() }
}

fn calls(first_seq: u64, tokens: &[u16], peek: bool, last: bool) -> Event {
    Event::Calls(Calls {
        container: 7,
        tgid: 100,
        tid: 100,
        born_ns: 1,
        comm: [0; 16],
        first_seq,
        start_ns: 5,
        tokens: tokens.to_vec(),
        peek,
        last,
        by_exec: false,
    })
}

fn info(namespace: &str) -> Arc<ContainerInfo> {
    let names = Names { runtime_namespace: namespace.into(), kind: Kind::Container, ..Names::default() };
    ContainerInfo::named(KEY, "n".into(), "abc".parse().expect("an id"), names, None).into()
}

fn attribution(rule: Option<&str>) -> Attribution {
    let include = rule.map(|r| r.parse().expect("a rule")).into_iter().collect();
    Attribution::new("n".into(), Selection::new(include, Vec::new()), 1_000)
}

/// Records in a few letters.
fn show(out: &[Record]) -> String {
    let word = |r: &Record| match r {
        Record::Birth(c) => format!("birth {}", c.id),
        Record::Calls { run, .. } => format!("calls {}+{:?}", run.first_seq, run.tokens),
        Record::Name { call, .. } => format!("name {}={}", call.seq, call.name.text),
        Record::Network { .. } => "network".into(),
        Record::Account { issued, delivered, lost_ring, .. } => format!("account {issued}={delivered}+{lost_ring}"),
        Record::Death { .. } => "death".into(),
    };
    out.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn state(issued: u64, lost_calls: u64) -> ContainerState {
    ContainerState { live_threads: 1, issued, lost_calls, ..ContainerState::default() }
}

#[test]
fn calls_wait_for_names_and_come_after_the_birth() {
    let (mut a, mut out) = (attribution(None), Vec::new());
    a.event(Event::Birth(life(1)), 1, &mut out);
    a.event(calls(0, &[59], false, false), 2, &mut out);
    assert_eq!((show(&out), a.to_name.len()), (String::new(), 1));
    a.named(&info("default"), 3, &mut out);
    a.event(calls(1, &[0, 1], false, true), 4, &mut out);
    a.event(Event::End(life(9), state(3, 0)), 5, &mut out);
    assert_eq!(show(&out), "birth abc, calls 0+[59], calls 1+[0, 1], account 3=3+0, death");
    assert_eq!((a.len(), a.held.bytes, a.to_forget.as_slice()), (0, 0, [KEY].as_slice()));
}

#[test]
fn a_threads_end_without_calls_has_the_time_when_it_was_heard() {
    let (mut a, mut out) = (attribution(None), Vec::new());
    a.event(Event::Birth(life(1)), 1, &mut out);
    a.named(&info("default"), 2, &mut out);
    a.event(calls(0, &[1], false, false), 3, &mut out);
    let mut end = calls(1, &[], false, true);
    if let Event::Calls(end) = &mut end {
        end.start_ns = 0;
    }
    a.event(end, 70, &mut out);
    let times: Vec<_> = out
        .iter()
        .filter_map(|record| match record {
            Record::Calls { run, .. } => Some(run.started.as_nanosecond()),
            _ => None,
        })
        .collect();
    // The clock of these tests is 1,000 ns ahead; the first chunk began at 5.
    assert_eq!(times, [1_005, 1_070]);
}

#[test]
fn a_container_that_ended_before_it_was_named_loses_nothing() {
    let (mut a, mut out) = (attribution(None), Vec::new());
    a.event(Event::Birth(life(1)), 1, &mut out);
    a.event(calls(0, &[59, 231], false, true), 2, &mut out);
    a.event(Event::End(life(3), state(4, 2)), 3, &mut out);
    assert_eq!(show(&out), "");
    a.named(&info("default"), 4, &mut out);
    assert_eq!(show(&out), "birth abc, calls 0+[59, 231], account 4=2+2, death");
}

#[test]
fn who_is_not_selected_is_let_go_of_and_counted() {
    let (mut a, mut out) = (attribution(Some("namespace=prod")), Vec::new());
    a.event(Event::Birth(life(1)), 1, &mut out);
    a.event(calls(0, &[59], false, false), 2, &mut out);
    a.named(&info("default"), 3, &mut out);
    a.event(calls(1, &[0], false, true), 4, &mut out);
    a.event(Event::End(life(9), state(2, 0)), 5, &mut out);
    a.gone(KEY, 5, &mut out);
    assert_eq!((show(&out), a.to_ignore.as_slice(), a.totals.calls_unselected), (String::new(), [KEY].as_slice(), 2));
    assert_eq!((a.len(), a.held.bytes), (0, 0));
}

#[test]
fn a_late_peek_does_not_bring_a_container_back() {
    let (mut a, mut out) = (attribution(None), Vec::new());
    a.event(Event::Birth(life(1)), 1, &mut out);
    a.named(&info("default"), 1, &mut out);
    a.event(calls(0, &[59], false, true), 2, &mut out);
    a.event(Event::End(life(3), state(1, 0)), 3, &mut out);
    a.event(calls(0, &[59], true, false), 4, &mut out);
    assert_eq!(show(&out), "birth abc, calls 0+[59], account 1=1+0, death");
    a.sweep(4 + TOMBSTONE_NS, &mut out);
    assert!(a.ended.is_empty() && a.is_empty());
}

#[test]
fn refused_births_and_ends_are_inferred() {
    let (mut a, mut out) = (attribution(None), Vec::new());
    a.event(calls(0, &[59], false, false), 2, &mut out);
    a.named(&info("default"), 3, &mut out);
    a.counters(KEY, Some(state(1, 0)), 4, &mut out);
    a.counters(KEY, None, 4 + VANISHED_NS, &mut out);
    a.counters(KEY, None, 5 + VANISHED_NS, &mut out);
    assert_eq!(show(&out), "birth abc, calls 0+[59], account 1=1+0, account 1=1+0, death");
    assert_eq!((a.totals.births_inferred, a.totals.ends_inferred), (1, 1));
}

#[test]
fn a_container_that_vanishes_before_it_is_named_loses_nothing() {
    let (mut a, mut out) = (attribution(None), Vec::new());
    a.event(Event::Birth(life(1)), 1, &mut out);
    a.event(calls(0, &[59], false, false), 2, &mut out);
    a.counters(KEY, None, 3 + VANISHED_NS, &mut out);
    assert_eq!(show(&out), "birth abc, calls 0+[59], account 1=1+0, death");
    assert_eq!((a.held(), a.to_name.len(), a.threads()), (Held::default(), 0, 0));
}

#[test]
fn calls_balance_at_every_step() {
    let (mut a, mut out) = (attribution(Some("namespace=prod")), Vec::new());
    let check = |a: &Attribution| {
        let t = a.totals;
        assert_eq!(t.calls_in, t.calls_out + t.calls_unselected + t.calls_refused + a.held().calls);
        assert_eq!(a.balance().delivered + t.calls_unfollowed, t.calls_in, "what the kernel delivered is what came in");
        let threads: usize = a.entries.values().map(|e| e.threads.len()).sum();
        assert_eq!(a.threads(), threads);
    };
    for namespace in ["default", "prod"] {
        a.event(Event::Birth(life(1)), 1, &mut out);
        for (n, event) in
            [calls(0, &[59], true, false), calls(0, &[59, 1], false, false), calls(5, &[2], false, false)].into_iter().enumerate()
        {
            a.event(event, n as u64, &mut out);
            check(&a);
        }
        a.named(&info(namespace), 3, &mut out);
        check(&a);
        a.event(calls(6, &[3], false, false), 4, &mut out);
        a.counters(KEY, Some(state(9, 3)), 4, &mut out);
        check(&a);
        a.event(Event::End(life(9), state(9, 3)), 5, &mut out);
        check(&a);
        a.gone(KEY, 5, &mut out);
        a.event(calls(7, &[4], false, false), 6, &mut out);
        check(&a);
        a.sweep(7 + TOMBSTONE_NS, &mut out);
    }
    assert_eq!((a.totals.calls_out, a.totals.calls_unselected, a.totals.calls_late), (4, 4, 2));
    assert_eq!(a.balance(), Balance { issued: 3 + 9, delivered: 3 + 4, lost: 5 });
}

#[test]
fn containers_are_bounded_and_those_without_room_are_counted() {
    let (mut a, mut out) = (attribution(None), Vec::new());
    for key in 0..=CONTAINERS_MAX as u64 {
        a.event(Event::Birth(Life { container: 1000 + key, ..life(1) }), 1, &mut out);
    }
    assert_eq!(
        (a.len(), a.to_name.len(), a.to_ignore.as_slice()),
        (CONTAINERS_MAX, CONTAINERS_MAX, [ContainerKey(5096)].as_slice())
    );
    a.event(calls(0, &[59, 1], false, false), 2, &mut out);
    assert_eq!((a.totals.records_refused, a.totals.calls_refused, a.totals.calls_in), (2, 2, 2));
}

#[test]
fn threads_are_bounded_and_the_largest_container_pays() {
    let (mut a, mut out) = (attribution(None), Vec::new());
    let thread = |container: u64, tid: u32| match calls(0, &[59], false, false) {
        Event::Calls(calls) => Event::Calls(Calls { container, tid, ..calls }),
        other => other,
    };
    for key in [7, 8] {
        a.event(Event::Birth(Life { container: key, ..life(1) }), 1, &mut out);
        a.named(&Arc::new(ContainerInfo { key: ContainerKey(key), ..(*info("default")).clone() }), 1, &mut out);
    }
    a.event(thread(8, 1), 1, &mut out);
    for tid in 0..THREADS_MAX as u32 + 10 {
        a.event(thread(7, tid), 2, &mut out);
        out.clear();
    }
    assert!(a.threads() <= THREADS_MAX && a.threads() > THREADS_MAX / 2);
    assert_eq!(a.totals.threads_forgotten, (THREADS_MAX + 11 - a.threads()) as u64);
    assert_eq!(a.entries[&ContainerKey(8)].threads.len(), 1);
    assert_eq!((a.totals.calls_in, a.totals.calls_lost), (THREADS_MAX as u64 + 11, 0));
}

#[test]
fn what_is_held_is_bounded() {
    let (mut a, mut out) = (attribution(None), Vec::new());
    a.event(Event::Birth(life(1)), 1, &mut out);
    let chunk = vec![1; 256];
    let mut seq = 0;
    while a.totals.named_too_late == 0 {
        a.event(calls(seq, &chunk, false, false), 2, &mut out);
        seq += 256;
        assert!(seq < 1 << 24, "never let go");
    }
    assert_eq!(a.held.bytes, 0);
    assert_eq!(out.iter().map(Record::calls).sum::<u64>(), seq);
    // The names that come after all replace the bare id.
    a.named(&info("default"), 3, &mut out);
    assert!(matches!(out.last(), Some(Record::Birth(c)) if c.is_named()));
}

/// A pod's container, as Kubernetes says it is.
fn pod(app: &str, watch: Watch) -> Arc<ContainerInfo> {
    let names = Names { namespace: "shop".into(), pod: "web-0".into(), kind: Kind::Container, ..Names::default() };
    let mut info = ContainerInfo::named(KEY, "n".into(), "abc".parse().expect("an id"), names, None);
    info.watch = watch;
    if watch != Watch::Unknown {
        info.names.labels.insert("app".into(), app.into());
    }
    info.into()
}

fn by_label() -> Attribution {
    let rule = "label:app=web".parse().expect("a rule");
    Attribution::new("n".into(), Selection::new(vec![rule], Vec::new()).with_labels(), 1_000)
}

#[test]
fn late_names_correct_themselves_and_lose_nothing() {
    let (mut a, mut out) = (attribution(None), Vec::new());
    a.event(Event::Birth(life(1)), 1, &mut out);
    a.named(&pod("web", Watch::Unknown), 1, &mut out);
    a.event(calls(0, &[59], false, false), 2, &mut out);
    let late = pod("web", Watch::Wanted);
    a.named(&late, 3, &mut out);
    a.event(calls(1, &[0], false, false), 4, &mut out);
    assert_eq!(show(&out), "birth abc, calls 0+[59], birth abc, calls 1+[0]");
    assert!(matches!(out.last(), Some(Record::Calls { container, .. }) if Arc::ptr_eq(container, &late)));
    assert_eq!(a.infos().count(), 1);
}

#[test]
fn calls_wait_for_labels_that_decide() {
    for (app, expect) in [("web", "birth abc, calls 0+[59]"), ("other", "")] {
        let (mut a, mut out) = (by_label(), Vec::new());
        a.event(Event::Birth(life(1)), 1, &mut out);
        a.event(calls(0, &[59], false, false), 2, &mut out);
        a.named(&pod(app, Watch::Unknown), 3, &mut out);
        assert_eq!((show(&out), a.held().calls, a.infos().count()), (String::new(), 1, 1));
        a.named(&pod(app, Watch::Wanted), 4, &mut out);
        assert_eq!((show(&out).as_str(), a.held().calls), (expect, 0));
        assert_eq!((a.to_ignore.len(), a.totals.calls_unselected), if app == "web" { (0, 0) } else { (1, 1) });
    }
}

#[test]
fn labels_that_do_not_come_are_not_waited_for_for_long() {
    let (mut a, mut out) = (by_label(), Vec::new());
    a.event(Event::Birth(life(1)), 1, &mut out);
    a.event(calls(0, &[59], false, false), 2, &mut out);
    a.named(&pod("web", Watch::Unknown), 3, &mut out);
    a.sweep(LABELS_WAIT_NS, &mut out);
    assert_eq!((show(&out), a.held().calls), (String::new(), 1));
    a.sweep(1 + LABELS_WAIT_NS, &mut out);
    assert_eq!((show(&out), a.held().calls, a.to_ignore.as_slice()), (String::new(), 0, [KEY].as_slice()));
    // They come after all: it is followed from here on.
    a.named(&pod("web", Watch::Wanted), 2 + LABELS_WAIT_NS, &mut out);
    assert_eq!((show(&out).as_str(), a.to_follow.as_slice()), ("birth abc", [KEY].as_slice()));
}

#[test]
fn who_opts_out_is_let_go_of_and_may_come_back() {
    let (mut a, mut out) = (attribution(None), Vec::new());
    let net = |a: &Attribution| a.balance();
    a.event(Event::Birth(life(1)), 1, &mut out);
    a.named(&pod("web", Watch::Wanted), 1, &mut out);
    a.event(calls(0, &[59, 1], false, false), 2, &mut out);
    a.named(&pod("web", Watch::OptedOut), 3, &mut out);
    assert_eq!(show(&out), "birth abc, calls 0+[59, 1], account 2=2+0, death");
    assert_eq!(std::mem::take(&mut a.to_ignore), [KEY]);
    a.event(calls(2, &[0], false, false), 4, &mut out);
    // Its threads are let go of as they fill their buffers; then the kernel side thinks that it has ended.
    a.event(Event::End(life(5), state(300, 0)), 5, &mut out);
    assert_eq!((a.len(), a.living().count(), a.unfollowed_containers().count()), (1, 0, 1));
    assert_eq!(a.list()[0].naming, Naming::Unwanted);
    // Somebody enters it: that is no birth, and nobody wants it either.
    a.event(Event::Birth(life(6)), 6, &mut out);
    assert_eq!((std::mem::take(&mut a.to_ignore), a.unfollowed_containers().count()), (vec![KEY], 0));
    a.event(Event::End(life(7), state(1, 0)), 7, &mut out);
    out.clear();
    // It is wanted again: its threads go on in their middle, and what they did meanwhile is nobody's loss.
    a.named(&pod("web", Watch::Wanted), 8, &mut out);
    assert_eq!(std::mem::take(&mut a.to_follow), [KEY]);
    a.follows_again(KEY, Some(state(500, 3)));
    a.event(calls(490, &[7], false, false), 9, &mut out);
    a.counters(KEY, Some(state(501, 4)), 10, &mut out);
    assert_eq!(show(&out), "birth abc, calls 490+[7], account 2=1+1");
    assert_eq!((a.totals.calls_lost, net(&a)), (0, Balance { issued: 2 + 2, delivered: 2 + 1, lost: 1 }));
    a.event(Event::End(life(11), state(501, 4)), 11, &mut out);
    assert!(a.is_empty());
}

#[test]
fn who_is_not_wanted_is_listed_until_it_ends() {
    let (mut a, mut out) = (attribution(Some("namespace=prod")), Vec::new());
    a.event(Event::Birth(life(1)), 1, &mut out);
    a.named(&info("default"), 1, &mut out);
    a.gone(KEY, 2, &mut out);
    assert_eq!(a.len(), 1, "the kernel side still follows it");
    a.event(Event::End(life(3), state(1, 0)), 3, &mut out);
    assert_eq!(a.list().len(), 1);
    a.gone(KEY, 4, &mut out);
    assert_eq!((a.len(), show(&out)), (0, String::new()));
    // Another container may have got its key before that was seen.
    a.event(Event::Birth(life(5)), 5, &mut out);
    a.named(&info("default"), 5, &mut out);
    a.event(Event::End(life(6), state(1, 0)), 6, &mut out);
    a.to_name.clear();
    a.event(Event::Birth(Life { cgroup_name: "def".into(), ..life(7) }), 7, &mut out);
    assert_eq!((a.to_name.len(), a.unfollowed_containers().count()), (1, 0));
}

#[test]
fn names_of_calls_wait_with_them_and_go_their_way() {
    let name = |seq: u64, text: &[u8]| {
        let raw = Raw { token: 257, text: text.to_vec(), argv0: Vec::new(), address: false, truncated: false, late: false };
        Event::Name(Named { container: 7, tgid: 100, tid: 100, seq, at_ns: 5, raw })
    };
    let (mut a, mut out) = (attribution(None), Vec::new());
    a.event(name(0, b"/nobody's"), 1, &mut out);
    a.event(Event::Birth(life(1)), 1, &mut out);
    a.event(name(0, b"/etc/passwd"), 2, &mut out);
    a.event(calls(0, &[257], false, false), 2, &mut out);
    assert_eq!((a.held().calls, a.held().bytes > 100), (1, true));
    a.named(&info("default"), 3, &mut out);
    a.event(name(1, b"/tmp/a\nb"), 4, &mut out);
    a.event(name(2, b""), 4, &mut out);
    // Told a moment ago, and told again after five minutes.
    a.event(name(3, b"/tmp/a\nb"), 5, &mut out);
    a.event(name(4, b"/tmp/a\nb"), 301_000_000_000, &mut out);
    assert_eq!(show(&out), "birth abc, name 0=/etc/passwd, calls 0+[257], name 1=/tmp/a\\nb, name 4=/tmp/a\\nb");
    assert_eq!((a.held(), a.totals.names_in, a.totals.names_dropped), (Held::default(), 3, 3));
    // What the kernel could not tell is in the account.
    a.counters(KEY, Some(ContainerState { names_untold: 3, names_unread: 1, ..state(1, 0) }), 5, &mut out);
    assert!(matches!(out.last(), Some(Record::Account { names_untold: 3, names_unread: 1, .. })), "{out:?}");
}
