//! The only door to `/proc`.
//!
//! In: a procfs mount, and what the unified cgroup tree shows. Out: who descends from which shim ([`walk`]),
//! cgroups, namespaces and network totals of processes. Never: names containers (that is
//! [`crate::identity`]), opens a socket, writes.
//!
//! Everything here races with processes that end: what is gone is `None` or left out, never an error.

pub mod cgroup;
pub mod walk;

use crate::container::id::ContainerId;
use cgroup::Unified;
use procfs::{
    FromBufRead as _, FromRead as _, ProcessCGroups,
    net::InterfaceDeviceStatus,
    process::{MountInfos, Stat},
};
use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// A shim's comm: `containerd-shim-runc-v2`, cut to 15 characters by the kernel.
pub const SHIM_COMM: &str = "containerd-shim";

/// How a container's key is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Membership {
    /// By unified cgroup where a container has its own, else by process.
    #[default]
    Auto,
    /// By process alone: mount namespace and inheritance.
    Process,
}

/// Which namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// Mounts.
    Mount,
    /// Network.
    Network,
    /// Cgroups.
    Cgroup,
}

impl Namespace {
    fn link(self) -> &'static str {
        match self {
            Self::Mount => "ns/mnt",
            Self::Network => "ns/net",
            Self::Cgroup => "ns/cgroup",
        }
    }
}

/// Totals over all interfaces of a network namespace but loopback, since the namespace was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetTotals {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
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
}

impl Default for Procfs {
    fn default() -> Self {
        Self::at("/proc")
    }
}

impl Procfs {
    /// Mounted at `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
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
        net_totals(&text)
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
        hosts.extend(shims.filter(|tgid| self.stat(*tgid).is_some_and(|s| s.comm == SHIM_COMM && s.state != 'Z')).take(4));
        let mut seen: Vec<_> = mounts("self").into_iter().map(|m| (m, PathBuf::from("/"))).collect();
        for host in hosts {
            let root = self.path(host, "root");
            seen.extend(mounts(&host.to_string()).into_iter().map(|m| (m, root.clone())));
        }
        Unified::find(seen.iter().map(|(mount, root)| (mount, root.as_path())))
    }
}

/// Which cgroup hierarchies a host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupVersion {
    /// None at all.
    None,
    /// Only v1: containers are told apart by process.
    V1,
    /// v1 and the unified one.
    Hybrid,
    /// Only the unified one.
    V2,
}

impl CgroupVersion {
    fn parse(cgroup_file: &str) -> Self {
        let (unified, others): (Vec<_>, Vec<_>) = cgroup_file.lines().partition(|l| l.starts_with("0::"));
        match (unified.is_empty(), others.is_empty()) {
            (true, true) => Self::None,
            (true, false) => Self::V1,
            (false, false) => Self::Hybrid,
            (false, true) => Self::V2,
        }
    }
}

/// A process's cgroups, unified first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroups {
    /// Path in the unified hierarchy; `None`: there is none.
    pub unified: Option<String>,
    /// Paths in the other hierarchies that are not the root, each once.
    pub others: Vec<String>,
}

impl Cgroups {
    /// From the text of `/proc/<pid>/cgroup`; what cannot be read is left out.
    pub fn parse(text: &str) -> Self {
        let mut cgroups = Self::default();
        for line in text.lines() {
            let Ok(parsed) = ProcessCGroups::from_buf_read(line.as_bytes()) else { continue };
            for group in parsed {
                // A removed cgroup keeps its zombies.
                let path = group.pathname.strip_suffix(" (deleted)").unwrap_or(&group.pathname).to_owned();
                if group.hierarchy == 0 && group.controllers.is_empty() {
                    cgroups.unified = Some(path);
                } else if path != "/" && !cgroups.others.contains(&path) {
                    cgroups.others.push(path);
                }
            }
        }
        cgroups
    }

    /// The container that they speak of, and the path that says so. Only for what descends from a shim.
    pub fn container(&self) -> Option<(ContainerId, &str)> {
        self.unified.iter().chain(&self.others).find_map(|path| {
            let found = cgroup::container_in(path)?;
            Some((found.id, &path[..found.end]))
        })
    }

    /// The unified cgroup of the container itself, without what the container made below it.
    pub fn unified_of_container(&self) -> Option<&str> {
        let path = self.unified.as_deref()?;
        Some(cgroup::container_in(path).map_or(path, |found| &path[..found.end]))
    }
}

/// Totals of a `net/dev` table, loopback left out.
fn net_totals(text: &[u8]) -> Option<NetTotals> {
    let devices = InterfaceDeviceStatus::from_read(text).ok()?;
    Some(devices.0.values().filter(|d| d.name != "lo").fold(NetTotals::default(), |sum, d| NetTotals {
        rx_bytes: sum.rx_bytes.saturating_add(d.recv_bytes),
        tx_bytes: sum.tx_bytes.saturating_add(d.sent_bytes),
        rx_packets: sum.rx_packets.saturating_add(d.recv_packets),
        tx_packets: sum.tx_packets.saturating_add(d.sent_packets),
    }))
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
    use proptest::prelude::*;

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

    #[test]
    fn network_tables() {
        let table = b"Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 9000000    9000    0    0    0     0          0         0  9000000    9000    0    0    0     0       0          0
  eth0:     100       2    0    0    0     0          0         0      300       4    0    0    0     0       0          0
  eth1:      10       1    0    0    0     0          0         0       30       1    0    0    0     0       0          0
";
        assert_eq!(net_totals(table), Some(NetTotals { rx_bytes: 110, tx_bytes: 330, rx_packets: 3, tx_packets: 5 }));
        assert_eq!(net_totals(b"a\nb\nbroken"), None);
    }

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

    proptest! {
        #[test]
        fn no_cgroup_file_makes_it_panic(text in "\\PC{0,200}") {
            let _groups = Cgroups::parse(&text).container().map(|(id, _)| id);
        }

        #[test]
        fn no_network_table_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _totals = net_totals(&bytes);
        }
    }
}
