//! The harness itself: what it starts runs, and nothing of it stays.

use anyhow::Result;
use std::{fs, path::Path, process::Command, sync::Mutex, thread, time::Duration};
use surprisal_e2e::{Cgroups, Containerd, Daemon, Netns, Run, Scratch, images, scene::Scene, scratch, wait_for};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_container_runs_and_leaves_nothing() -> Result<()> {
    let containerd = Containerd::start()?;
    let (dir, namespace) = (containerd.scratch().path().to_owned(), containerd.namespace().to_owned());
    let busybox = images::busybox()?;
    containerd.import(&busybox)?;
    assert_eq!(containerd.run_to_end(&Run::new("hello", &busybox, &["echo", "hello"]))?, "hello\n");
    let sleeper = containerd.run(&Run::new("sleeper", &busybox, &["sh", "-c", "echo up; sleep 60 & sleep 60"]))?;
    sleeper.wait_for_log("up", SOON);
    assert!(sleeper.is_running());
    assert_eq!(String::from_utf8(sleeper.exec(&["hostname"])?.stdout)?.lines().count(), 1);
    let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", sleeper.pid()))?;
    assert!(cgroup.contains(&format!("0::/{namespace}/sleeper")), "{cgroup}");
    let removed = containerd.run(&Run::new("removed", &busybox, &["sleep", "60"]))?;
    let removed_pid = removed.pid();
    removed.remove()?;
    assert!(!scratch::is_running(removed_pid));
    let pid = sleeper.pid();
    drop((sleeper, containerd));
    wait_for("the container's end", SOON, || (!scratch::is_running(pid)).then_some(()));
    assert!(!dir.exists());
    assert!(!Path::new("/sys/fs/cgroup/unified").join(&namespace).exists());
    assert!(!Path::new("/sys/fs/cgroup/pids").join(&namespace).exists());
    Ok(())
}

#[test]
fn on_cgroup_v1_containers_stay_in_the_unified_root() -> Result<()> {
    let containerd = Containerd::start_with(Cgroups::V1Only)?;
    let busybox = images::busybox()?;
    containerd.import(&busybox)?;
    let container = containerd.run(&Run::new("one", &busybox, &["sleep", "60"]))?;
    let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", container.pid()))?;
    assert!(!cgroup.contains(&format!("0::/{}", containerd.namespace())), "{cgroup}");
    assert!(cgroup.contains(&format!(":pids:/{}/one", containerd.namespace())), "{cgroup}");
    Ok(())
}

#[test]
fn programs_end_well() -> Result<()> {
    let containerd = Containerd::start()?;
    let busybox = images::busybox()?;
    containerd.import(&busybox)?;
    for (id, command) in [
        ("exact", &["exact"][..]),
        ("calls", &["workload", "calls", "1000", "2", "3"]),
        ("sequence", &["workload", "sequence", "7", "3", "500"]),
        ("orphans", &["workload", "orphans", "3", "100"]),
    ] {
        assert_eq!(containerd.run_to_end(&Run::new(id, &busybox, command))?, "");
    }
    assert!(containerd.run_to_end(&Run::new("bad", &busybox, &["workload", "nonsense"])).is_err());
    Ok(())
}

#[test]
fn linked_namespaces_reach_each_other() -> Result<()> {
    let containerd = Containerd::start()?;
    let (a, b) = Netns::pair(containerd.scratch())?;
    let busybox = images::busybox()?;
    containerd.import(&busybox)?;
    let server = ["sh", "-c", "echo ok > /var/www/index.html; echo up; exec httpd -f -p 8080 -h /var/www"];
    let server = containerd.run(&Run::new("server", &busybox, &server).netns(&a.path()))?;
    server.wait_for_log("up", SOON);
    let text = wait_for("an answer", SOON, || {
        let out = b.command("busybox").args(["wget", "-q", "-O-", "http://10.77.0.1:8080/index.html"]).output().ok()?;
        out.status.success().then_some(out.stdout)
    });
    assert_eq!(text, b"ok\n");
    let path = a.path();
    drop((a, b));
    assert!(!path.exists());
    Ok(())
}

/// The scene that the demo and the attack's test use: its shell comes out of the server, and reads the secret.
#[test]
fn the_attack_is_real() -> Result<()> {
    static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let scene = Scene::start()?;
    let attack = scene.attack(|line| SEEN.lock().expect("nobody panics with it").push(line.to_owned()))?;
    wait_for("the attack's end", SOON, || attack.is_over().then_some(()));
    let seen = SEEN.lock().expect("nobody panics with it").join("\n");
    for expected in ["uid=0(root)", "demo-token-4f1c", "redis-server"] {
        assert!(seen.contains(expected), "{expected} in:\n{seen}");
    }
    assert!(scene.server.is_running());
    Ok(())
}

/// What a killed run leaves behind: its owner was killed, and stays as a zombie because nobody has asked for its end.
#[test]
fn what_a_killed_run_left_is_ended() -> Result<()> {
    let dir = tempfile::Builder::new().prefix("surprisal-e2e.").tempdir_in("/tmp")?.keep();
    let mut sleeper = Command::new("sleep").arg("60").spawn()?;
    let start = |pid: u32| -> Result<String> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Ok(stat.split_whitespace().nth(21).expect("a start time").to_owned())
    };
    let mut owner = Command::new("sleep").arg("60").spawn()?;
    let owner_note = format!("{} {}", owner.id(), start(owner.id())?);
    owner.kill()?;
    wait_for("a zombie", SOON, || (!scratch::is_running(owner.id())).then_some(()));
    // Not ours although it has the number: its start time is another.
    let mut other = Command::new("sleep").arg("60").spawn()?;
    let notes = format!("owner {owner_note}\nprocess {} {}\nprocess {} 1\n", sleeper.id(), start(sleeper.id())?, other.id());
    fs::write(dir.join("notes"), notes)?;
    let reaper = thread::spawn(move || sleeper.wait());
    drop(Scratch::new()?);
    assert!(!reaper.join().expect("it waits")?.success());
    assert!(other.try_wait()?.is_none());
    other.kill()?;
    other.wait()?;
    owner.wait()?;
    assert!(!dir.exists());
    Ok(())
}

#[test]
fn a_daemon_that_ends_early_is_an_error_with_its_log() -> Result<()> {
    let scratch = Scratch::new()?;
    let mut daemon = Daemon::start(&scratch, "daemon", Command::new("sh").args(["-c", "echo why; exit 3"]))?;
    let error = daemon.wait_for_log("ready", SOON).expect_err("it has ended");
    assert!(error.to_string().contains("exit status: 3") && error.to_string().contains("why"), "{error}");
    assert_eq!(daemon.wait(SOON)?.code(), Some(3));
    Ok(())
}
