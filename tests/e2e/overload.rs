//! What the line promises when there is far too much: every hop says what came in, what went on and what it dropped, and why; it all
//! adds up, from the kernel to the verdict; and when the load falls the line is itself again without anybody's help.

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread::sleep,
    time::{Duration, Instant},
};
use surprisal_e2e::{Container, Containerd, Daemon, Run, Scorer, agent, images, scorer, wait_for};
use surprisal_proto::{
    status::{imbalance, parse},
    v1,
};

const SOON: Duration = Duration::from_secs(30);
/// What is promised of the recovery; a machine that is shared may starve for a moment, so three times that is waited for.
const RECOVERY: Duration = Duration::from_secs(5);
/// Calls that the noisy container makes in each of its 4 threads, as fast as it can.
const NOISE: u64 = 5_000_000;
/// Reasons that are none of overload: containers of others on this machine, and calls that are taken as context.
const HARMLESS: [&str; 2] = ["unselected", "context"];

struct Line {
    // In the order in which they are ended.
    agent: Daemon,
    admin: SocketAddr,
    scorer: Scorer,
    quiet: Container,
    containerd: Containerd,
}

impl Line {
    fn agent(&self) -> Result<v1::GetStatusResponse> {
        let mut socket = TcpStream::connect(self.admin)?;
        socket.set_read_timeout(Some(SOON))?;
        write!(socket, "GET /status HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let (_, json) = answer.split_once("\r\n\r\n").context("an answer in HTTP")?;
        Ok(parse(json)?)
    }

    fn scorer(&self) -> Result<v1::GetStatusResponse> {
        let out = scorer::run(&["status", "--scorer", &self.scorer.url(), "-o", "json"])?;
        ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        Ok(parse(std::str::from_utf8(&out.stdout)?)?)
    }

    /// Windows of a container that were scored.
    fn windows(&self, id: &str) -> Option<u64> {
        let out = scorer::run(&["scores", "get", "--id", id, "--scorer", &self.scorer.url(), "-o", "json"]).ok()?;
        let score: serde_json::Value = serde_json::from_slice(&out.stdout).ok()?;
        score["windows"].as_u64()
    }

    /// All that overload has made any hop drop so far.
    fn dropped(&self) -> Result<u64> {
        let hops = [self.agent()?.hops, self.scorer()?.hops].concat();
        let drops = hops.iter().flat_map(|hop| &hop.dropped);
        Ok(drops.filter(|drop| !HARMLESS.contains(&drop.reason.as_str())).map(|drop| drop.count).sum())
    }
}

fn hop<'a>(status: &'a v1::GetStatusResponse, name: &str) -> Result<&'a v1::Hop> {
    status.hops.iter().find(|hop| hop.name == name).with_context(|| format!("no hop {name:?} in {status:#?}"))
}

fn dropped(hop: &v1::Hop, reason: &str) -> u64 {
    hop.dropped.iter().find(|drop| drop.reason == reason).map_or(0, |drop| drop.count)
}

/// A line with little room, and a container whose calls it knows.
fn start() -> Result<Line> {
    let containerd = Containerd::start()?;
    let busybox = images::busybox()?;
    containerd.import(&busybox)?;
    let dir = containerd.scratch().path().to_owned();
    let select = format!("namespace={}", containerd.namespace());
    let quiet = containerd.run(&Run::new("quiet", &busybox, &["workload", "steady", "64", "50"]))?;
    let recording = dir.join("normal.jsonl");
    let recording = recording.to_str().context("a path in UTF-8")?;
    let mut recorder =
        agent::start(containerd.scratch(), &["record", "--select", &select, "--duration", "6", "--output", recording])?;
    ensure!(recorder.wait(SOON)?.success(), "{}", recorder.log());
    let profiles = dir.join("profiles");
    let dir_of_profiles = profiles.to_str().context("a path in UTF-8")?;
    // The noisy one does the same, only more of it.
    let noisy = quiet.workload().replace("quiet", "noisy");
    for name in [&quiet.workload(), &noisy] {
        let args =
            ["train", "--profiles", dir_of_profiles, "--workload", &quiet.workload(), "--as", name, "--epochs", "1", recording];
        let out = scorer::run(&args)?;
        ensure!(out.status.success(), "training: {}", String::from_utf8_lossy(&out.stderr));
    }
    let scorer = Scorer::serve(containerd.scratch(), &profiles, &[])?;
    let (url, admin) = (scorer.url(), scorer::free_address()?);
    let address = admin.to_string();
    let mut args = vec!["run", "--scorer", &url, "--select", &select, "--admin", &address];
    args.extend(["--ring-bytes", "65536", "--queue-bytes", "262144"]);
    let mut agent = agent::start(containerd.scratch(), &args)?;
    agent.wait_for_log("capturing", SOON)?;
    Ok(Line { agent, admin, scorer, quiet, containerd })
}

/// *Balance* and *recovery*, at ten times of what the line is let carry.
#[test]
fn all_hops_balance_under_overload_and_the_line_recovers() -> Result<()> {
    let mut line = start()?;
    wait_for("scores before", SOON, || line.windows("quiet").filter(|n| *n > 10));

    let busybox = images::busybox()?;
    let noise = NOISE.to_string();
    let noisy = line.containerd.run(&Run::new("noisy", &busybox, &["workload", "calls", &noise, "2", "2"]))?;
    // However fast this machine is: a scorer that does not run cannot keep up, until the agent's queue overflows,
    line.scorer.daemon.signal(Signal::STOP)?;
    wait_for("drops of the queue", Duration::from_mins(1), || {
        let status = line.agent().ok()?;
        (dropped(hop(&status, "queue").ok()?, "queue_full") > 0).then_some(())
    });
    line.scorer.daemon.signal(Signal::CONT)?;
    // and neither can an agent that runs for less than a tenth of the time.
    ensure!(noisy.is_running(), "the noise was over before anything was too small for it");
    while noisy.is_running() {
        line.agent.signal(Signal::STOP)?;
        sleep(Duration::from_millis(100));
        line.agent.signal(Signal::CONT)?;
        sleep(Duration::from_millis(8));
    }
    let fallen = Instant::now();
    for hop in [line.agent()?.hops, line.scorer()?.hops].concat() {
        ensure!(imbalance(&hop) == 0, "with much under way: {hop:#?}");
    }

    // Nobody does anything from here on.
    let mut last = (line.dropped()?, line.windows("quiet").context("the quiet one's score")?);
    loop {
        sleep(Duration::from_millis(500));
        let now = (line.dropped()?, line.windows("quiet").context("the quiet one's score")?);
        if now.0 == last.0 && now.1 > last.1 {
            break;
        }
        last = now;
        ensure!(
            fallen.elapsed() < 3 * RECOVERY,
            "the line has not recovered: {}\n{}",
            table(&line.agent()?),
            table(&line.scorer()?)
        );
    }
    let recovered = fallen.elapsed();

    // To the end, so that nothing is under way any more.
    line.quiet.signal("KILL")?;
    let (agent, scorer) = wait_for("nothing is held anywhere, and the scorer knows what its node dropped", SOON, || {
        let (agent, scorer) = (line.agent().ok()?, line.scorer().ok()?);
        let held: u64 = agent.hops.iter().chain(&scorer.hops).map(|hop| hop.held).sum();
        // A container whose end found no room in the ring is known to have ended, and its last account sent, some seconds later.
        let lost = dropped(hop(&agent, "kernel buffer").ok()?, "ring_full") + dropped(hop(&agent, "queue").ok()?, "queue_full");
        let told = scorer.nodes.first().is_some_and(|node| node.dropped_on_node == lost);
        // The capture thread says what it has counted once a second, the queue at once.
        let through = |status: &v1::GetStatusResponse, from: &str, to: &str| -> Option<bool> {
            Some(hop(status, from).ok()?.passed_on == hop(status, to).ok()?.taken_in)
        };
        let settled = through(&agent, "kernel buffer", "attribution")? && through(&agent, "attribution", "queue")?;
        (held == 0 && told && settled).then_some((agent, scorer))
    });
    eprintln!("recovered after {recovered:?}\n{}\n\n{}", table(&agent), table(&scorer));
    for hop in agent.hops.iter().chain(&scorer.hops) {
        ensure!(imbalance(hop) == 0, "{hop:#?}");
    }
    let (kernel, attribution) = (hop(&agent, "kernel buffer")?, hop(&agent, "attribution")?);
    let (queue, wire) = (hop(&agent, "queue")?, hop(&agent, "wire")?);
    let (windows, model) = (hop(&scorer, "windows")?, hop(&scorer, "model queue")?);
    // What is known to have been issued, what the kernel delivered, and so on from hop to hop to the scorer.
    ensure!(kernel.taken_in >= 4 * NOISE, "{} calls issued, of which {} are known", kernel.taken_in, 4 * NOISE);
    ensure!(kernel.passed_on == attribution.taken_in, "{kernel:#?}{attribution:#?}");
    ensure!(attribution.passed_on == queue.taken_in, "{attribution:#?}{queue:#?}");
    ensure!(queue.passed_on == wire.taken_in, "{queue:#?}{wire:#?}");
    ensure!(wire.passed_on == windows.taken_in, "{wire:#?}{windows:#?}");
    ensure!(model.passed_on > 0, "{model:#?}");
    // And it was an overload.
    let (ring, full) = (dropped(kernel, "ring_full"), dropped(queue, "queue_full"));
    ensure!(ring > 0 && full > 0, "ring_full {ring}, queue_full {full}: nothing was too small");
    ensure!(wire.passed_on < 4 * NOISE / 2, "most of it arrived: that was no overload");
    ensure!(line.agent.terminate(SOON)?.success(), "{}", line.agent.log());
    Ok(())
}

fn table(status: &v1::GetStatusResponse) -> String {
    surprisal_proto::status::table(status)
}
