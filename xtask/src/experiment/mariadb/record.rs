//! Recordings of one load: to learn from, to judge, and with the attack in it.
//!
//! In: a load. Out: a data set on disk, of the MariaDB container's calls as our own agent saw them. Never: says where the
//! attack is by anything but its requests' times.
//!
//! Each recording is of a server, an application and clients that were started anew; the same load goes on in all of
//! them. The agent begins when the load does, and follows the MariaDB container alone: whose clients they are, and the
//! application, it does not see.

use super::Load;
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};
use surprisal_e2e::{
    Containerd, Daemon, Netns,
    servers::{Mariadb, Slap, WebApp},
};

/// How long is recorded to learn from, for each of so many containers: what a server does when it is new is normal too, and not
/// the same each time; and under the heaviest load it takes a while until it has to write out what it changed.
const TRAIN: [Duration; 3] = [Duration::from_secs(40), Duration::from_secs(8), Duration::from_secs(8)];
/// How long is recorded to judge.
const TEST: Duration = Duration::from_secs(40);
/// Rounds of mariadb-slap in each recording of normal load at least, on a slow machine too.
const ROUNDS: usize = 2;
/// How long there is no attack before, between and after attacks.
const QUIET: Duration = Duration::from_secs(6);
/// sqlmap is stopped after this time.
const LIMIT: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_mins(2);

/// Between rounds of mariadb-slap, milliseconds: a load that comes in waves.
const PAUSE_MS: u32 = 1000;
/// Visitors of the application, and what each pauses between pages, milliseconds.
const VISITORS: (u32, u32) = (3, 80);

/// What sqlmap is told each time it comes, and what it must have got. It finds out by itself which way of injecting pays
/// (boolean, error, UNION; UNION does here), and takes the tables, the rights of users and a file of the server's; then it
/// has to do with error messages, one value a request.
const ATTACKS: [(&str, &[&str], &str); 3] = [
    (
        "sqlmap",
        &["--technique=BEU", "--users", "--privileges", "--schema", "--file-read=/etc/passwd", "--dump", "-Dshop"],
        "user40",
    ),
    ("sqlmap-error", &["--technique=E", "--is-dba", "--dump", "-Dshop", "-Tusers"], "user40"),
    ("sqlmap", &["--technique=BEU", "--current-user", "--is-dba", "--dump", "-Dshop"], "user40"),
];
/// What it finds it neither keeps nor cracks.
const ANSWERS: &str = "--answers=crack=N,store=N";

/// One of the three recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Train,
    Test,
    Attack,
}

impl Part {
    const ALL: [Self; 3] = [Self::Train, Self::Test, Self::Attack];

    fn folder(self) -> &'static str {
        match self {
            Self::Train => "normal-train",
            Self::Test => "normal-test",
            Self::Attack => "attack",
        }
    }

    fn label(self) -> &'static str {
        if self == Self::Attack { "attack" } else { "normal" }
    }
}

/// What records.
pub(super) struct Recorder {
    containerd: Containerd,
    agent: PathBuf,
}

/// An attack in a recording.
struct Attack {
    family: &'static str,
    from: String,
    to: String,
}

impl Recorder {
    /// Records with the agent `agent` what runs in `containerd`.
    pub(super) fn new(containerd: Containerd, agent: PathBuf) -> Result<Self> {
        // Made before anything runs: the first time it takes half a minute each.
        containerd.import(&surprisal_e2e::images::sqlmap()?)?;
        Ok(Self { containerd, agent })
    }

    /// Records `load` into the directory `dir`.
    pub(super) fn record(&self, load: Load, dir: &Path) -> Result<()> {
        for part in Part::ALL {
            let folder = dir.join(part.folder());
            fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
            let times: &[Duration] = match part {
                Part::Train => &TRAIN,
                Part::Test => &[TEST],
                Part::Attack => &[Duration::ZERO],
            };
            for (n, time) in (1..).zip(times) {
                let begin = Instant::now();
                let file = folder.join(format!("mariadb-{n}.jsonl"));
                // Visitors ask for other pages each time.
                let attacks = self.record_part(load, part, *time, part as u32 * 10 + n, &file)?;
                if part == Part::Attack {
                    write_attacks(&file.with_extension("attacks.json"), &attacks)?;
                }
                let bytes = compress(&file)?;
                println!("  {:.1} s, {:.1} MB: {}", begin.elapsed().as_secs_f64(), bytes as f64 / 1e6, file.display());
            }
        }
        Ok(())
    }

    fn record_part(&self, load: Load, part: Part, time: Duration, seed: u32, file: &Path) -> Result<Vec<Attack>> {
        let network = Netns::new(self.containerd.scratch())?;
        let database = Mariadb::start(&self.containerd, &network, ID)?;
        let shop = WebApp::start(&self.containerd, &network, "webapp")?;
        let mut recorder = self.start_agent(part, file)?;
        let slap = Slap { clients: load.clients, queries: load.queries, pause_ms: PAUSE_MS };
        let slap = database.slap("slap", &slap)?;
        let visitors = shop.visit("visitors", VISITORS.0, VISITORS.1, seed)?;
        let mut attacks = Vec::new();
        match part {
            Part::Train | Part::Test => {
                thread::sleep(time);
                slap.wait_for("round", ROUNDS.saturating_sub(slap.count("round")), PATIENCE)?;
            }
            Part::Attack => {
                slap.wait_for("round", 1, PATIENCE)?;
                for (family, args, loot) in ATTACKS {
                    thread::sleep(QUIET);
                    attacks.push(attack(&shop, family, args, loot)?);
                }
                thread::sleep(QUIET);
            }
        }
        let status = recorder.terminate(PATIENCE)?;
        ensure!(status.success(), "surprisal-agent record ended with {status}:\n{}", recorder.log());
        let rounds = slap.stop()?.matches("round").count();
        let visited = visitors.stop()?;
        let io_uring = if database.uses_io_uring() { "io_uring" } else { "calls of its own" };
        println!(
            "{load} {}: {rounds} rounds; {}; the server's file I/O: {io_uring}",
            part.folder(),
            visited.lines().last().unwrap_or_default()
        );
        shop.container.remove()?;
        database.container.remove()?;
        Ok(attacks)
    }

    fn start_agent(&self, part: Part, file: &Path) -> Result<Daemon> {
        let select = [format!("namespace={}", self.containerd.namespace()), format!("id={ID}")];
        let mut command = Command::new(&self.agent);
        command.args(["record", "--label", part.label(), "--select", &select[0], "--select", &select[1], "--output"]).arg(file);
        let mut agent = Daemon::start(self.containerd.scratch(), "agent", &mut command)?;
        agent.wait_for_log("capturing", PATIENCE)?;
        Ok(agent)
    }
}

/// The MariaDB container; the same in all recordings, for containers of one workload share a profile.
const ID: &str = "mariadb";

/// Lets sqlmap loose with `args`, waits until it has left, and checks that it got `loot`.
fn attack(shop: &WebApp, family: &'static str, args: &[&str], loot: &str) -> Result<Attack> {
    let before = shop.requests()?.len();
    let sqlmap = shop.sqlmap("sqlmap", LIMIT, &[&[ANSWERS], args].concat())?;
    sqlmap.wait(LIMIT + PATIENCE);
    let log = sqlmap.log();
    ensure!(log.contains(loot), "sqlmap did not get {loot}; it wrote:\n{log}");
    sqlmap.remove()?;
    let (from, to) = shop.span("sqlmap", before)?;
    let count = shop.requests()?.iter().skip(before).filter(|r| r.client.starts_with("sqlmap")).count();
    println!("  {family} from {from} to {to}: {count} requests");
    Ok(Attack { family, from, to })
}

fn write_attacks(path: &Path, attacks: &[Attack]) -> Result<()> {
    let attacks: Vec<_> =
        attacks.iter().map(|a| json!({ "family": a.family, "from": a.from, "to": a.to, "container": ID })).collect();
    fs::write(path, format!("{:#}\n", json!({ "attacks": attacks }))).with_context(|| format!("writing {}", path.display()))
}

/// Replaces `file` by `file.zst`; its size, bytes.
fn compress(file: &Path) -> Result<u64> {
    let mut to = file.as_os_str().to_owned();
    to.push(".zst");
    let to = PathBuf::from(to);
    let from = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    let out = File::create(&to).with_context(|| format!("creating {}", to.display()))?;
    zstd::stream::copy_encode(from, out, 9).with_context(|| format!("compressing {}", file.display()))?;
    fs::remove_file(file).with_context(|| format!("removing {}", file.display()))?;
    Ok(fs::metadata(&to)?.len())
}
