//! The binary: started, found, asked, stopped.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use surprisal_proto::{status::parse, v1};
use tempfile::TempDir;

/// It lies beside the one that learns, which cargo names: both are built with the workspace.
fn binary() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_surprisal-learn")).with_file_name("surprisal-scorer");
    assert!(path.is_file(), "{} is not there: build the whole workspace", path.display());
    path
}

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Runs the binary to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    Command::new(binary()).args(args).env_remove("SURPRISAL_SCORER").output().expect("runs")
}

/// A directory of profiles with one for `load::WORKLOAD`, trained once for all tests of one build: they may run as
/// threads of one process or as processes of their own.
pub(crate) fn trained() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scorer-trained");
        std::fs::create_dir_all(&root).expect("creates");
        let lock = std::fs::File::create(root.join("lock")).expect("creates");
        lock.lock().expect("locks");
        let built = std::fs::metadata(binary()).and_then(|m| m.modified()).expect("a binary");
        let built = built.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos().to_string();
        let profiles = root.join("profiles");
        if std::fs::read_to_string(root.join("built")).is_ok_and(|b| b == built) {
            return profiles;
        }
        let _ = std::fs::remove_dir_all(&profiles);
        let recording = root.join("normal.jsonl");
        crate::load::record(&recording, Some("normal"), 12_000);
        let out = run(&["train", "--profiles", text(&profiles), text(&recording)]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        std::fs::write(root.join("built"), built).expect("writes");
        profiles
    })
}

/// A fresh directory of profiles with that profile in it.
pub(crate) fn profiles() -> TempDir {
    let dir = TempDir::new().expect("a directory");
    copy(trained(), dir.path());
    dir
}

/// Copies a directory's contents.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("creates");
    for entry in std::fs::read_dir(from).expect("lists") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copies");
        }
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A running scorer; killed when dropped.
pub(crate) struct Scorer {
    child: Child,
    pub(crate) url: String,
    pub(crate) address: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Scorer {
    pub(crate) fn start(profiles: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .args(["serve", "--listen", "127.0.0.1:0", "--profiles", text(profiles), "--log-format", "json"])
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let writer = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                writer.lock().expect("not poisoned").push(line);
            }
        });
        let mut scorer = Self { child, url: String::new(), address: String::new(), log };
        let line = scorer.logged("listening");
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        line["fields"]["address"].as_str().expect("an address").clone_into(&mut scorer.address);
        scorer.url = format!("http://{}", scorer.address);
        scorer
    }

    /// Waits for a line of the log.
    pub(crate) fn logged(&mut self, what: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.log.lock().expect("not poisoned").iter().find(|l| l.contains(what)) {
                return line.clone();
            }
            assert!(self.child.try_wait().expect("waits").is_none(), "ended: {:?}", self.log);
            assert!(Instant::now() < deadline, "no {what:?} in {:?}", self.log);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks with the command line.
    pub(crate) fn ask(&self, args: &[&str]) -> Output {
        run(&[args, &["--scorer", &self.url]].concat())
    }

    /// Asks for JSON.
    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let out = self.ask(&[args, &["-o", "json"]].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice(&out.stdout).expect("JSON")
    }

    /// Resident memory, bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("VmRSS");
        line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).expect("a number") * 1024
    }

    /// How the line is.
    pub(crate) fn status(&self) -> v1::GetStatusResponse {
        let out = self.ask(&["status", "-o", "json"]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        parse(std::str::from_utf8(&out.stdout).expect("UTF-8")).expect("a status")
    }

    /// Stops it as an orchestrator does.
    pub(crate) fn stop(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("waits") {
                return status;
            }
            assert!(Instant::now() < deadline, "does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Scorer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a workload's profile lies.
pub(crate) fn profile_dir(profiles: &Path) -> PathBuf {
    profiles.join("shop%2Fcache%2Fredis")
}
