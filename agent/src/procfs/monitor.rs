//! What a container's monitor looks like: the process that a runtime leaves behind to hold a container.
//!
//! In: names, as patterns. Out: [`Monitors`], for `/proc` here and for the kernel side alike. Pure.
//!
//! containerd has `containerd-shim-runc-v2` (docker, k3s and RKE2 too), CRI-O and podman have `conmon` or `conmonrs`.

use procfs::process::Stat;
use surprisal_agent_ebpf::abi::{COMM_LEN, MONITORS_MAX, Monitor};

/// What monitors are called, unless somebody says otherwise.
pub const DEFAULT: [&str; 3] = ["containerd-shim*", "conmon", "conmonrs"];

/// Names of monitors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitors(Vec<Monitor>);

/// Why a list of names is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Nothing would be followed.
    #[error("no name is given")]
    None,
    /// The kernel side has no more room.
    #[error("{0} names are given, and {MONITORS_MAX} are the most")]
    Many(usize),
    /// A name that cannot be compared with.
    #[error("{0:?} is no name of a process, with at most one * at its end")]
    Name(String),
}

impl Monitors {
    /// Names, each of which may end with `*`. Of a name the kernel keeps 15 bytes, and so do we.
    pub fn parse<T: AsRef<str>>(names: &[T]) -> Result<Self, Error> {
        if names.is_empty() {
            return Err(Error::None);
        }
        if names.len() > MONITORS_MAX {
            return Err(Error::Many(names.len()));
        }
        let parse = |name: &T| {
            let name = name.as_ref();
            let (text, prefix) = name.strip_suffix('*').map_or((name, false), |text| (text, true));
            let known = if text.contains('*') { None } else { Monitor::new(text.as_bytes(), prefix) };
            known.ok_or_else(|| Error::Name(name.to_owned()))
        };
        names.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// Whether it is a living monitor, not one that waits to be reaped.
    pub fn is(&self, stat: &Stat) -> bool {
        stat.state != 'Z' && self.is_name(&stat.comm)
    }

    /// Whether a process that is called `comm` is one.
    pub fn is_name(&self, comm: &str) -> bool {
        let mut bytes = [0; COMM_LEN];
        for (to, from) in bytes.iter_mut().zip(comm.bytes().take(COMM_LEN - 1)) {
            *to = from;
        }
        self.0.iter().any(|monitor| monitor.is(bytes))
    }

    /// As the kernel side takes them.
    pub fn for_kernel(&self) -> [Monitor; MONITORS_MAX] {
        let mut all = [Monitor::NONE; MONITORS_MAX];
        for (to, from) in all.iter_mut().zip(&self.0) {
            *to = *from;
        }
        all
    }
}

impl Default for Monitors {
    fn default() -> Self {
        Self::parse(&DEFAULT).expect("a test parses them")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_monitors() {
        let default = Monitors::default();
        for (comm, expect) in [
            // `containerd-shim-runc-v2`, cut by the kernel.
            ("containerd-shim", true),
            ("conmon", true),
            ("conmonrs", true),
            ("conmonrs2", false),
            ("containerd", false),
            ("runc", false),
            ("", false),
        ] {
            assert_eq!(default.is_name(comm), expect, "{comm:?}");
        }
        let own = Monitors::parse(&["my-monitor", "a-monitor-with-a-long-name", "x*"]).expect("good");
        for (comm, expect) in
            [("my-monitor", true), ("my-monitor2", false), ("a-monitor-with-", true), ("x", true), ("xyz", true), ("y", false)]
        {
            assert_eq!(own.is_name(comm), expect, "{comm:?}");
        }
        assert!(!own.is_name("conmon"));
    }

    #[test]
    fn the_kernel_side_compares_alike() {
        let all = Monitors::parse(&["a", "b*"]).expect("good").for_kernel();
        let comm = |text: &[u8]| {
            let mut comm = [0; COMM_LEN];
            comm[..text.len()].copy_from_slice(text);
            comm
        };
        for (text, expect) in [("a", true), ("ab", false), ("b", true), ("bc", true), ("c", false), ("\u{1}", false), ("", false)]
        {
            assert_eq!(all.iter().any(|m| m.is(comm(text.as_bytes()))), expect, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_list_of_names() {
        let names = |n: usize| vec!["x"; n];
        assert_eq!(Monitors::parse::<&str>(&[]), Err(Error::None));
        assert_eq!(Monitors::parse(&names(9)), Err(Error::Many(9)));
        assert!(Monitors::parse(&names(8)).is_ok());
        for bad in ["", "*", "a*b", "a**"] {
            assert_eq!(Monitors::parse(&["ok", bad]), Err(Error::Name(bad.to_owned())));
        }
    }
}
