//! What calls are about: read where it is in memory, told when it is new, bounded whatever a container does.

use anyhow::{Context as _, Result, ensure};
use std::{collections::BTreeMap, time::Duration};
use surprisal_e2e::{Containerd, Recording, Run, agent, images};
use surprisal_proto::{names, recording::Name};

const SOON: Duration = Duration::from_secs(20);

/// Records one container for each of these commands of `naming`, one after the other.
fn record(flags: &[&str], commands: &[(&str, &[&str])]) -> Result<Recording> {
    let containerd = Containerd::start()?;
    let busybox = images::busybox()?;
    containerd.import(&busybox)?;
    let path = containerd.scratch().path().join("recording.jsonl");
    let select = format!("namespace={}", containerd.namespace());
    let output = path.to_str().context("a path in UTF-8")?;
    let args = [&["record", "--label", "normal", "--select", &select, "--output", output], flags].concat();
    let mut agent = agent::start(containerd.scratch(), &args)?;
    agent.wait_for_log("capturing", SOON)?;
    for (id, command) in commands {
        containerd.run_to_end(&Run::new(id, &busybox, &[&["naming"], *command].concat()))?;
    }
    ensure!(agent.terminate(SOON)?.success(), "{}", agent.log());
    Recording::read(&path)
}

fn of<'a>(recording: &'a Recording, id: &str) -> Vec<&'a Name> {
    recording.names.iter().filter(|name| name.container == id).collect()
}

/// `call name`, with what is said beside it.
fn show(name: &Name) -> String {
    let argv0 = if name.argv0.is_empty() { String::new() } else { format!(" as {}", name.argv0) };
    let relative = if name.relative { " (relative)" } else { "" };
    let truncated = if name.truncated { " (cut)" } else { "" };
    let late = if name.late { " (late)" } else { "" };
    format!("{} {}{argv0}{relative}{truncated}{late}", names::call(name.call), name.name)
}

/// Each name belongs to a call that the recording has, under its number, in its thread.
fn belong_to_their_calls(recording: &Recording, id: &str) -> Result<()> {
    for name in of(recording, id) {
        let run = recording.calls.iter().find(|run| {
            run.container == id && run.tid == name.tid && (run.seq..run.seq + run.calls.len() as u64).contains(&name.seq)
        });
        let run = run.with_context(|| format!("{name:?} is of no call"))?;
        ensure!(run.calls[(name.seq - run.seq) as usize] == name.call, "{name:?} is another call's");
    }
    Ok(())
}

fn every_kind_of_name(flags: &[&str]) -> Result<()> {
    let recording = record(flags, &[("kinds", &["kinds"]), ("hostile", &["hostile"])])?;
    belong_to_their_calls(&recording, "kinds")?;
    belong_to_their_calls(&recording, "hostile")?;
    let told: Vec<_> = of(&recording, "kinds").into_iter().map(show).collect();
    for expect in [
        // The container's first program, and one that runs under another name; its other arguments are not told.
        "execve /bin/naming",
        "execve /bin/exact as renamed",
        "execveat /bin/../bin/exact",
        "openat /etc/passwd",
        "openat /tmp/written",
        "openat relative/path (relative)",
        "rename /tmp/renamed",
        "unlink /tmp/renamed",
        "mkdir /tmp/dir",
        "rmdir /tmp/dir",
        "symlink /tmp/link",
        "chmod /tmp/nothing",
        "memfd_create memfd:payload",
        "connect 127.0.0.1:4444",
        "sendto [::1]:5353",
        "connect unix:/run/none.sock",
        "connect unix:@bus",
    ] {
        ensure!(told.iter().any(|name| name == expect), "no {expect:?} in {told:#?}");
    }
    ensure!(!told.iter().any(|name| name.contains("geheim")), "{told:#?}");
    // What lies behind a socket's path in its structure is no part of the name.
    let socket = told.iter().filter(|name| *name == "connect unix:/run/none.sock").count();
    ensure!(socket == 1, "{told:#?}");

    let told: Vec<_> = of(&recording, "hostile").into_iter().map(show).collect();
    for expect in [
        "openat /tmp/a\\nb\\x1b[31m".to_owned(),
        "openat /tmp/\\xff\\xfe".to_owned(),
        "openat /tmp/../../etc/shadow".to_owned(),
        format!("openat /{} (cut)", "n".repeat(254)),
    ] {
        ensure!(told.contains(&expect), "no {expect:?} in {told:#?}");
    }
    // Two names that are nowhere, and one address; the others are of no family that has names.
    let account = recording.accounts.get("hostile").context("an account")?;
    ensure!((account.names_untold, account.names_unread) == (0, 3), "{account:?}");
    Ok(())
}

#[test]
fn every_kind_of_name_in_task_storage() -> Result<()> {
    every_kind_of_name(&[])
}

#[test]
fn every_kind_of_name_on_raw_tracepoints() -> Result<()> {
    every_kind_of_name(&["--capture", "raw"])
}

/// A name in a page that nobody has touched is read when the thread makes its next call, and is still the first call's.
#[test]
fn a_cold_name_is_read_at_the_next_call() -> Result<()> {
    let recording = record(&[], &[("cold", &["cold"])])?;
    belong_to_their_calls(&recording, "cold")?;
    let told: Vec<_> = of(&recording, "cold").into_iter().map(show).collect();
    ensure!(told.contains(&"open /cold/name (late)".to_owned()), "{told:#?}");
    ensure!(recording.accounts["cold"].names_unread == 0, "{:?}", recording.accounts["cold"]);
    Ok(())
}

/// Numbers make no name new; letters do, as far as the container's own budget goes, and another container has its own.
#[test]
fn names_are_told_once_and_no_container_takes_anothers_place() -> Result<()> {
    let commands: &[(&str, &[&str])] =
        &[("numbers", &["numbers", "5000"]), ("flood", &["flood", "20000"]), ("after", &["kinds"])];
    let recording = record(&[], commands)?;
    let mut times: BTreeMap<_, u64> = BTreeMap::new();
    for name in of(&recording, "numbers") {
        *times.entry(show(name)).or_default() += 1;
    }
    let numbered: Vec<_> = times.iter().filter(|(name, _)| name.starts_with("open /proc/")).collect();
    ensure!(numbered.len() == 1 && numbered[0].1 == &1, "{times:#?}");

    let flood = of(&recording, "flood").len() as u64;
    let untold = recording.accounts["flood"].names_untold;
    // What is new is told or counted; the budget is 1,024 at once, and 16 a second.
    ensure!((1024..3000).contains(&flood), "{flood} names were told");
    ensure!((20_000..20_100).contains(&(flood + untold)), "{flood} told, {untold} untold");
    ensure!(recording.delivered("flood") > 20_000 && recording.accounts["flood"].lost == 0);
    let told: Vec<_> = of(&recording, "after").into_iter().map(show).collect();
    ensure!(told.iter().any(|name| name == "connect 127.0.0.1:4444"), "{told:#?}");
    ensure!(recording.accounts["after"].names_untold == 0);
    Ok(())
}

/// `--no-names`: none is.
#[test]
fn names_can_be_left_out() -> Result<()> {
    let recording = record(&["--no-names"], &[("kinds", &["kinds"])])?;
    ensure!(recording.names.is_empty() && recording.delivered("kinds") > 0, "{:?}", recording.names);
    Ok(())
}
