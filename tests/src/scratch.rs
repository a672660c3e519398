//! A test's own directory, and what has to go when the test ends, however it ends.
//!
//! In: what a test starts (processes, cgroups). Out: all of it gone when the [`Scratch`] is
//! dropped; what a killed run left is found by its notes and ends when the next test starts. Never: ends anything
//! by name alone; a process is ours when its start time is the noted one, or when it is a shim of a containerd in here.

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

const PREFIX: &str = "surprisal-e2e.";
/// One note a line: a word for its kind and the rest.
const NOTES: &str = "notes";

/// The directory; short, because paths of sockets have at most 107 bytes.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    /// A new directory under /tmp, after ending what killed runs left.
    pub fn new() -> Result<Self> {
        end_leftovers();
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in("/tmp").context("making a directory in /tmp")?.keep();
        let scratch = Self { dir };
        let pid = std::process::id();
        scratch.note("owner", &format!("{pid} {}", start_time(pid).unwrap_or_default()))?;
        Ok(scratch)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Process `pid` and what descends from it end with this directory.
    pub fn owns_process(&self, pid: u32) -> Result<()> {
        self.note("process", &format!("{pid} {}", start_time(pid).unwrap_or_default()))
    }

    /// Cgroups /`name` of every hierarchy are removed with this directory.
    pub fn owns_cgroup(&self, name: &str) -> Result<()> {
        self.note("cgroup", name)
    }

    fn note(&self, kind: &str, text: &str) -> Result<()> {
        let path = self.dir.join(NOTES);
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&path)?;
        writeln!(file, "{kind} {text}").with_context(|| format!("writing {}", path.display()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        end(&self.dir);
        if thread::panicking() && std::env::var_os("SURPRISAL_KEEP").is_some() {
            eprintln!("kept: {}", self.dir.display());
            let _ = fs::remove_file(self.dir.join(NOTES));
            return;
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Ends what runs left whose own process is gone.
pub fn end_leftovers() {
    let Ok(entries) = fs::read_dir("/tmp") else { return };
    for entry in entries.flatten() {
        let dir = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if ours && owner_is_gone(&dir) {
            eprintln!("ending what an earlier run left in {}", dir.display());
            end(&dir);
            let _ = fs::remove_dir_all(&dir);
        }
    }
}

fn owner_is_gone(dir: &Path) -> bool {
    let Ok(text) = fs::read_to_string(dir.join(NOTES)) else { return false };
    notes(&text, "owner").next().is_some_and(|owner| !is_alive(owner))
}

fn notes<'a>(text: &'a str, kind: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.split_once(' ').filter(|(k, _)| *k == kind).map(|(_, rest)| rest))
}

/// `PID START_TIME` as noted is still the same process, and no zombie: where nobody reaps, those stay.
fn is_alive(note: &str) -> bool {
    let Some((pid, start)) = note.split_once(' ') else { return false };
    pid.parse().is_ok_and(|pid| is_running(pid) && start_time(pid).is_some_and(|now| now == start))
}

/// Ends all that is noted in `dir`.
fn end(dir: &Path) {
    let text = fs::read_to_string(dir.join(NOTES)).unwrap_or_default();
    // A process may start another between the look and the kill: look again until there is nothing.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let pids = owned(dir, &text);
        if pids.is_empty() || Instant::now() > deadline {
            break;
        }
        for pid in pids {
            if let Some(pid) = Pid::from_raw(pid as i32) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    for name in notes(&text, "cgroup") {
        remove_cgroups(name);
    }
}

/// Live processes that are noted or shims of a containerd in `dir`, and their descendants.
fn owned(dir: &Path, notes_text: &str) -> BTreeSet<u32> {
    let me = std::process::id();
    let needle = dir.to_string_lossy().into_owned();
    let processes = processes();
    let noted: BTreeSet<u32> = notes(notes_text, "process")
        .filter(|note| is_alive(note))
        .filter_map(|note| note.split_once(' ')?.0.parse().ok())
        .collect();
    let mut owned: BTreeSet<u32> = processes
        .iter()
        .filter(|p| p.pid != me && !p.is_zombie && (noted.contains(&p.pid) || is_shim_of(p.pid, &needle)))
        .map(|p| p.pid)
        .collect();
    loop {
        let children = |p: &&Process| !p.is_zombie && p.pid != me && owned.contains(&p.parent) && !owned.contains(&p.pid);
        let more: Vec<_> = processes.iter().filter(children).map(|p| p.pid).collect();
        if more.is_empty() {
            return owned;
        }
        owned.extend(more);
    }
}

struct Process {
    pid: u32,
    parent: u32,
    is_zombie: bool,
}

fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let (state, parent, _) = stat(pid)?;
            Some(Process { pid, parent, is_zombie: matches!(state.as_str(), "Z" | "X") })
        })
        .collect()
}

/// State, parent and start time of /proc/PID/stat; the name before them may hold anything but its own last `)`.
fn stat(pid: u32) -> Option<(String, u32, String)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let (state, parent) = (fields.next()?.to_owned(), fields.next()?.parse().ok()?);
    Some((state, parent, fields.nth(17)?.to_owned()))
}

fn start_time(pid: u32) -> Option<String> {
    stat(pid).map(|(_, _, start)| start)
}

/// Process `pid` runs: it is there and no zombie.
pub fn is_running(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _, _)| !matches!(state.as_str(), "Z" | "X"))
}

/// A containerd-shim has no parent of ours; its command line names its containerd's socket, which lies in `dir`.
fn is_shim_of(pid: u32, dir: &str) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    line.split('\0').next().is_some_and(|program| program.contains("containerd-shim")) && line.contains(dir)
}

fn remove_cgroups(name: &str) {
    let Ok(hierarchies) = fs::read_dir("/sys/fs/cgroup") else { return };
    let mut roots: Vec<_> = hierarchies.flatten().map(|e| e.path().join(name)).collect();
    roots.push(Path::new("/sys/fs/cgroup").join(name));
    // The last process of a cgroup may still be on its way out.
    for _ in 0..50 {
        roots.retain(|root| root.is_dir());
        if roots.is_empty() {
            return;
        }
        for root in &roots {
            remove_tree(root);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Directories of a cgroup file system are removed from below; their files go with them.
fn remove_tree(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}
