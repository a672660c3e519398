//! A procfs mount, and what it shows of each process.
//!
//! In: files below `/proc`. Out: ids, states, cgroups, namespaces and network counters of processes. Never: opens a socket,
//! writes.

use super::{
    cgroup::{CgroupVersion, Cgroups},
    monitor::Monitors,
    network::NetTotals,
    unified::Unified,
};
use procfs::{
    FromBufRead as _, FromRead as _,
    process::{MountInfos, Stat},
};
use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// Which namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// Mounts.
    Mount,
    /// Network.
    Network,
    /// Cgroups.
    Cgroup,
    /// Process ids.
    Pid,
}

impl Namespace {
    fn link(self) -> &'static str {
        match self {
            Self::Mount => "ns/mnt",
            Self::Network => "ns/net",
            Self::Cgroup => "ns/cgroup",
            Self::Pid => "ns/pid",
        }
    }
}

/// What could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No procfs there.
    #[error("cannot list processes in {}: is procfs mounted there?", path.display())]
    List {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A procfs mount.
#[derive(Clone, Debug)]
pub struct Procfs {
    root: PathBuf,
    monitors: Monitors,
}

impl Default for Procfs {
    fn default() -> Self {
        Self::at("/proc")
    }
}

impl Procfs {
    /// Mounted at `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), monitors: Monitors::default() }
    }

    /// The same, with other names of monitors.
    #[must_use]
    pub fn with_monitors(self, monitors: Monitors) -> Self {
        Self { monitors, ..self }
    }

    /// Names of containers' monitors.
    pub fn monitors(&self) -> &Monitors {
        &self.monitors
    }

    /// Inode of the pid namespace whose ids this mount shows: that of its first process, or of this one where the first is closed
    /// to us. `None`: no procfs.
    pub fn pid_namespace(&self) -> Option<u32> {
        self.namespace(1, Namespace::Pid).or_else(|| self.own_pid_namespace())
    }

    /// Inode of this process's pid namespace.
    pub fn own_pid_namespace(&self) -> Option<u32> {
        namespace_inode(&self.root.join("self").join(Namespace::Pid.link()))
    }

    /// A path below a process's directory.
    pub fn path(&self, tgid: u32, rest: &str) -> PathBuf {
        self.root.join(tgid.to_string()).join(rest)
    }

    /// Ids of all processes.
    pub fn processes(&self) -> Result<Vec<u32>, Error> {
        let entries = fs::read_dir(&self.root).map_err(|source| Error::List { path: self.root.clone(), source })?;
        Ok(entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect())
    }

    /// `/proc/<tgid>/stat`.
    pub fn stat(&self, tgid: u32) -> Option<Stat> {
        Stat::from_file(self.path(tgid, "stat")).ok()
    }

    /// Whether a process lives and descends from another. With `ancestor` 0, which is not known, it is believed.
    pub fn is_below(&self, tgid: u32, ancestor: u32) -> bool {
        let mut at = tgid;
        // As deep as a process tree gets.
        for _ in 0..64 {
            let Some(stat) = self.stat(at).filter(|stat| at != tgid || !matches!(stat.state, 'Z' | 'X' | 'x')) else {
                return false;
            };
            let parent = u32::try_from(stat.ppid).unwrap_or(0);
            if ancestor == 0 || parent == ancestor {
                return true;
            }
            if parent == 0 {
                return false;
            }
            at = parent;
        }
        false
    }

    /// Whether a process is a living monitor of containers.
    pub fn is_monitor(&self, tgid: u32) -> bool {
        self.stat(tgid).is_some_and(|stat| self.monitors.is(&stat))
    }

    /// Inode of one of a process's namespaces. `None`: gone, or not ours to see (`CAP_SYS_PTRACE`).
    pub fn namespace(&self, tgid: u32, which: Namespace) -> Option<u32> {
        // The first thread may have ended before the others: ask them.
        namespace_inode(&self.path(tgid, which.link())).or_else(|| {
            let mut threads = fs::read_dir(self.path(tgid, "task")).ok()?;
            threads.find_map(|thread| namespace_inode(&thread.ok()?.path().join(which.link())))
        })
    }

    /// A process's cgroup in every hierarchy, unified first. Empty: gone.
    pub fn cgroups(&self, tgid: u32) -> Cgroups {
        // A container may give its own cgroups names that are not UTF-8.
        let text = read_bounded(&self.path(tgid, "cgroup"), 256 << 10).unwrap_or_default();
        Cgroups::parse(&String::from_utf8_lossy(&text))
    }

    /// A process's arguments, its program first. Empty: gone, or a kernel thread.
    pub fn command_line(&self, tgid: u32) -> Vec<String> {
        let text = read_bounded(&self.path(tgid, "cmdline"), 256 << 10).unwrap_or_default();
        let args = text.split(|byte| *byte == 0).map(|arg| String::from_utf8_lossy(arg).into_owned());
        let mut args: Vec<_> = args.collect();
        // Each ends with a zero.
        args.pop();
        args
    }

    /// Base name of a process's program; empty for kernel threads.
    pub fn program(&self, tgid: u32) -> Option<String> {
        let exe = fs::read_link(self.path(tgid, "exe")).ok()?;
        Some(exe.file_name()?.to_string_lossy().into_owned())
    }

    /// Network totals of the namespace that process `pid` is in.
    ///
    /// `None`: the process is gone, or the namespace is also that of the host, of this agent or of
    /// the container's shim, so that its traffic is not the container's alone.
    pub fn network(&self, pid: u32, shim: Option<u32>) -> Option<NetTotals> {
        let own = self.namespace(pid, Namespace::Network)?;
        let init = self.namespace(1, Namespace::Network);
        let agent = namespace_inode(&self.root.join("self").join(Namespace::Network.link()));
        let shim = shim.and_then(|s| self.namespace(s, Namespace::Network));
        if [init, agent, shim].contains(&Some(own)) {
            return None;
        }
        let text = read_bounded(&self.path(pid, "net/dev"), 4 << 20).ok()?;
        NetTotals::parse(&text)
    }

    /// Which hierarchies there are.
    pub fn cgroup_version(&self) -> CgroupVersion {
        let text = fs::read_to_string(self.root.join("self/cgroup")).unwrap_or_default();
        CgroupVersion::parse(&text)
    }

    /// The unified hierarchy, as far as this process can see it.
    pub fn unified(&self) -> Option<Unified> {
        let mounts = |whose: &str| {
            let text = read_bounded(&self.root.join(whose).join("mountinfo"), 16 << 20).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            // Only these lines are parsed: others may be of shapes nobody thought of.
            let lines = text.lines().filter(|l| l.contains(" - cgroup2 ")).collect::<Vec<_>>().join("\n");
            MountInfos::from_buf_read(lines.as_bytes()).map_or_else(|_unreadable| Vec::new(), |m| m.0)
        };
        // In a container, the host's own mount shows more than ours. Its first process may be closed to us; a shim,
        // whose bundles are read as well, is not.
        let mut hosts = vec![1];
        let shims = self.processes().unwrap_or_default().into_iter();
        hosts.extend(shims.filter(|tgid| self.is_monitor(*tgid)).take(4));
        let mut seen: Vec<_> = mounts("self").into_iter().map(|m| (m, PathBuf::from("/"))).collect();
        for host in hosts {
            let root = self.path(host, "root");
            seen.extend(mounts(&host.to_string()).into_iter().map(|m| (m, root.clone())));
        }
        Unified::find(seen.iter().map(|(mount, root)| (mount, root.as_path())))
    }
}

/// `mnt:[4026531841]` → 4026531841.
fn namespace_inode(link: &Path) -> Option<u32> {
    let text = fs::read_link(link).ok()?;
    parse_namespace(text.to_str()?)
}

fn parse_namespace(link: &str) -> Option<u32> {
    link.split_once(":[")?.1.strip_suffix(']')?.parse().ok()
}

/// Reads a file of at most `max` bytes; more is an error, not a long wait.
pub(crate) fn read_bounded(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {max} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces() {
        assert_eq!(parse_namespace("mnt:[4026531841]"), Some(4_026_531_841));
        for bad in ["", "mnt:[", "mnt:[x]", "mnt:[99999999999999]"] {
            assert_eq!(parse_namespace(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn this_process_is_there() {
        let (proc, me) = (Procfs::default(), std::process::id());
        assert!(proc.processes().expect("procfs").contains(&me));
        assert_eq!(proc.stat(me).map(|s| s.pid), i32::try_from(me).ok());
        assert!(proc.namespace(me, Namespace::Mount).is_some());
        // The agent's own namespace is never a container's.
        assert_eq!(proc.network(me, None), None);
        assert!(matches!(Procfs::at("/nonexistent").processes(), Err(Error::List { .. })));
    }
}
