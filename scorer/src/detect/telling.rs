//! Calls that change what a process is or can do. *Pure.*
//!
//! In: a token. Out: what the call does, in a few words, and how telling that is; sets of such [`Kinds`]. Never: a score: this
//! orders calls that the model finds about equally surprising, and tells a reader why one of them matters.
//!
//! The order is that of what an intrusion gains by the call, greatest first: another program in the process's place,
//! code in the kernel, power over other processes, another identity, another view of the system, code that is in no
//! file, a line to the outside, streams that lead there, changed files, another process. Calls that
//! only ask (`getuid`, `stat`, `read`) are not in it.

use surprisal_proto::token::{Token, describe};

/// Rank of a call that is not in the table.
pub const PLAIN: usize = TABLE.len();

/// Numbers, and what they do; the place is the rank.
const TABLE: [(&[u16], &str); 11] = [
    // execve, execveat
    (&[59, 322], "runs another program"),
    // init_module, finit_module, delete_module, kexec_load, kexec_file_load, bpf
    (&[175, 313, 176, 246, 320, 321], "changes the kernel"),
    // ptrace, process_vm_readv, process_vm_writev, pidfd_getfd
    (&[101, 310, 311, 438], "reaches into another process"),
    // setuid, setgid, setreuid, setregid, setgroups, setresuid, setresgid, setfsuid, setfsgid, capset
    (&[105, 106, 113, 114, 116, 117, 119, 122, 123, 126], "changes its rights"),
    // unshare, setns, mount, umount2, pivot_root, chroot, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr
    (&[272, 308, 165, 166, 155, 161, 428, 429, 430, 431, 432, 433, 442], "changes what it sees of the system"),
    // memfd_create, memfd_secret, userfaultfd, io_uring_setup; mapping what is writable and executable
    (&[319, 447, 323, 425], "makes room for hidden code or work"),
    // connect, listen, bind, socket and sendto where they are raw or packets: see `rank`
    (&[42, 49, 50], "talks to the network"),
    // dup2 and dup3 onto a standard stream: see `rank`
    (&[], "redirects a standard stream"),
    // unlink, unlinkat, rename, renameat, renameat2, chmod, fchmod, fchmodat, fchmodat2, chown, fchown, lchown, fchownat, truncate,
    // link, linkat, symlink, symlinkat, mknod, mknodat; opening to write or to create: see `rank`
    (&[87, 263, 82, 264, 316, 90, 91, 268, 452, 92, 93, 94, 260, 76, 86, 265, 88, 266, 133, 259], "changes files"),
    // fork, vfork, clone, clone3
    (&[57, 58, 56, 435], "starts a process or thread"),
    // kill, tkill, tgkill, pidfd_send_signal, rt_sigqueueinfo
    (&[62, 200, 234, 424, 129], "signals a process"),
];

const NEW_VIEW: usize = 4;
const HIDDEN: usize = 5;
const NETWORK: usize = 6;
const STREAM: usize = 7;
const FILES: usize = 8;

/// How telling a call is: 0 most, [`PLAIN`] not at all.
pub fn rank(token: Token) -> usize {
    let words = describe(token);
    let says = |word: &str| words.as_slice().contains(&word);
    match token.nr() {
        // mmap, mprotect, pkey_mprotect
        9 | 10 | 329 if says("executable") && says("writable") => HIDDEN,
        // dup2, dup3
        33 | 292 if !says("onto another") => STREAM,
        // socket
        41 if says("raw") || says("packet") || says("alg") => NETWORK,
        // clone
        56 if says("new user namespace") || says("new mount namespace") || says("other new namespace") => NEW_VIEW,
        // open, openat
        2 | 257 if says("write") || says("read-write") || says("create") || says("truncate or append") => FILES,
        // creat
        85 => FILES,
        nr => TABLE.iter().position(|(calls, _)| calls.contains(&nr)).unwrap_or(PLAIN),
    }
}

/// What a call does, in a few words; empty: nothing that is in the table.
pub fn effect(token: Token) -> &'static str {
    TABLE.get(rank(token)).map_or("", |(_, words)| words)
}

/// Kinds of telling calls: a set of the table's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u16);

impl Kinds {
    /// All of them, [`PLAIN`] in number.
    pub const ALL: Self = Self((1 << PLAIN) - 1);
    /// The rows above the network: what changes what a process is or may do.
    pub const PROCESS: Self = Self((1 << NETWORK) - 1);

    /// The kind of a call; empty where it is in no row.
    pub fn of(token: Token) -> Self {
        Self(1 << rank(token)).both(Self::ALL)
    }

    /// In either.
    #[must_use]
    pub const fn either(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// In both.
    #[must_use]
    pub const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// In this and not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// How many.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// None.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Rank of the most telling one; [`PLAIN`] if there is none.
    pub fn first(self) -> usize {
        (self.0.trailing_zeros() as usize).min(PLAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use surprisal_proto::names;

    fn rank_of(text: &str) -> usize {
        rank(names::parse(text).expect("a call"))
    }

    #[test]
    fn calls_are_told_by_what_they_change() {
        for (text, expect) in [
            ("execve", "runs another program"),
            ("execveat", "runs another program"),
            ("finit_module", "changes the kernel"),
            ("bpf:6", "changes the kernel"),
            ("ptrace:17", "reaches into another process"),
            ("setuid:1", "changes its rights"),
            ("capset", "changes its rights"),
            ("unshare:5", "changes what it sees of the system"),
            ("clone:5", "changes what it sees of the system"),
            ("mount", "changes what it sees of the system"),
            ("memfd_create:2", "makes room for hidden code or work"),
            // Writable, executable, anonymous; and only executable, as every library is.
            ("mmap:16", "makes room for hidden code or work"),
            ("mmap:6", ""),
            ("connect", "talks to the network"),
            ("socket:19", "talks to the network"),
            ("socket:5", ""),
            ("dup2:1", "redirects a standard stream"),
            ("dup2:4", ""),
            ("openat:15", "changes files"),
            ("openat:2", "changes files"),
            ("openat:1", ""),
            ("openat:33", ""),
            ("renameat2", "changes files"),
            ("clone:1", "starts a process or thread"),
            ("kill:10", "signals a process"),
            ("geteuid", ""),
            ("syscall_470", ""),
            ("foreign_abi_call", ""),
        ] {
            assert_eq!(effect(names::parse(text).expect("a call")), expect, "{text}");
        }
    }

    #[test]
    fn the_order_is_that_of_what_is_gained() {
        let order = [
            "execve",
            "bpf:6",
            "ptrace:17",
            "setuid:1",
            "mount",
            "memfd_create:2",
            "connect",
            "dup2:2",
            "openat:15",
            "clone:1",
            "kill:10",
            "getppid",
        ];
        let ranks: Vec<_> = order.iter().map(|call| rank_of(call)).collect();
        assert_eq!(ranks, (0..order.len()).collect::<Vec<_>>());
    }

    #[test]
    fn kinds_are_sets_of_ranks() {
        let kinds = |calls: &[&str]| {
            calls.iter().fold(Kinds::default(), |all, call| all.either(Kinds::of(names::parse(call).expect("a call"))))
        };
        let some = kinds(&["connect", "setuid:1", "read", "setgid:1", "kill:10"]);
        assert_eq!((some.len(), some.first()), (3, rank_of("setuid:1")));
        assert_eq!(some.both(Kinds::PROCESS), kinds(&["setuid:2"]));
        assert_eq!(some.without(kinds(&["setuid:1"])).first(), rank_of("connect"));
        assert_eq!((kinds(&["read"]).is_empty(), kinds(&["read"]).first()), (true, PLAIN));
        assert_eq!((Kinds::ALL.len(), Kinds::PROCESS.len()), (PLAIN, 6));
    }

    #[test]
    fn no_number_stands_twice() {
        let mut all: Vec<_> = TABLE.iter().flat_map(|(calls, _)| calls.iter()).collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "{all:?}");
    }
}
