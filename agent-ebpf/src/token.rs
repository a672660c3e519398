//! The two-byte token: a call's number and a class of its scalar arguments.
//!
//! In: a call number and a way to read its arguments. Out: a [`Token`], and [`describe`] for people.
//! Never: reads memory that an argument points at ([`named`] says where it does). Pure, and the same code in the kernel and on the host.
//!
//! Low 10 bits: the call's x86-64 number, or [`NR_FOREIGN`], or [`NR_UNKNOWN`]. High 6 bits: the class,
//! 0 where the call has none. Classes mean something only together with their call.

mod meanings;
pub mod named;
mod words;
// One table of numbers for each architecture; recordings say which by `ABI`.
#[path = "token/x86_64.rs"]
mod call;

pub use call::NR_MAX;
pub use words::{Words, describe};

/// Version of this layout; travels in `Hello.token_layout` and in recordings.
pub const LAYOUT: u32 = 1;
/// Numbering of calls.
pub const ABI: &str = "x86_64";
/// Number that stands for every call made through another ABI (32-bit, x32): its own numbers would collide.
pub const NR_FOREIGN: u16 = 1022;
/// Number that stands for a call number beyond the table.
pub const NR_UNKNOWN: u16 = 1023;
/// Number of `execve`.
pub const NR_EXECVE: u16 = call::EXECVE as u16;

/// Which rule gives a call its class, with [`RULE_NAMED`]; the index is the call number.
pub static RULES: [u8; NR_MAX as usize] = rules();

/// In [`RULES`]: the call is about something that has a name ([`named::NAMED`]). One table, so that a call costs one look.
pub const RULE_NAMED: u8 = 1 << 7;

const OPEN: u8 = 1;
const OPENAT: u8 = 2;
const SOCKET: u8 = 3;
const CLONE: u8 = 4;
const SETNS: u8 = 5;
const MMAP: u8 = 6;
const MPROTECT: u8 = 7;
const SECOND_SMALL: u8 = 8;
const FIRST_SMALL: u8 = 9;
const THIRD_SMALL: u8 = 10;
const FCNTL: u8 = 11;
const PTRACE: u8 = 12;
const DUP: u8 = 13;
const SETID: u8 = 14;
const MEMFD: u8 = 15;
const IOCTL: u8 = 16;

const fn rules() -> [u8; NR_MAX as usize] {
    let mut t = [0; NR_MAX as usize];
    t[call::OPEN] = OPEN;
    t[call::OPENAT] = OPENAT;
    t[call::SOCKET] = SOCKET;
    t[call::SOCKETPAIR] = SOCKET;
    t[call::CLONE] = CLONE;
    t[call::UNSHARE] = CLONE;
    t[call::SETNS] = SETNS;
    t[call::MMAP] = MMAP;
    t[call::MPROTECT] = MPROTECT;
    t[call::PKEY_MPROTECT] = MPROTECT;
    t[call::KILL] = SECOND_SMALL; // signal
    t[call::TKILL] = SECOND_SMALL; // signal
    t[call::TGKILL] = THIRD_SMALL; // signal
    t[call::MADVISE] = THIRD_SMALL; // advice
    t[call::PRCTL] = FIRST_SMALL; // option
    t[call::BPF] = FIRST_SMALL; // command
    t[call::KEYCTL] = FIRST_SMALL; // command
    t[call::FCNTL] = FCNTL;
    t[call::PTRACE] = PTRACE;
    t[call::DUP2] = DUP;
    t[call::DUP3] = DUP;
    t[call::SETUID] = SETID;
    t[call::SETGID] = SETID;
    t[call::MEMFD_CREATE] = MEMFD;
    t[call::IOCTL] = IOCTL;
    let mut nr = 0;
    while nr < t.len() {
        if named::NAMED_CALLS[nr] != 0 {
            t[nr] |= RULE_NAMED;
        }
        nr += 1;
    }
    t
}

/// A call as it is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u16);

impl Token {
    /// From a number and a class, both cut to their width.
    pub const fn new(nr: u16, class: u8) -> Self {
        Self((nr & 0x3ff) | ((class as u16) << 10))
    }
    /// The call's number, [`NR_FOREIGN`] or [`NR_UNKNOWN`].
    pub const fn nr(self) -> u16 {
        self.0 & 0x3ff
    }
    /// The class, 0 to 63; 0: none.
    pub const fn class(self) -> u8 {
        (self.0 >> 10) as u8
    }
    /// The same call without its class.
    #[must_use]
    pub const fn without_class(self) -> Self {
        Self(self.nr())
    }
}

/// The token of call `nr`, whose arguments `arg` reads (0 to 5).
///
/// `rule` is [`RULES`]`[nr]`: the caller looks it up so that the kernel side can bound the index in its own way.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the kernel side must not become a BPF function call")]
pub fn classify(nr: u16, rule: u8, arg: impl Fn(usize) -> u64) -> Token {
    match rule & !RULE_NAMED {
        0 => Token::new(nr, 0),
        rule => Token::new(nr, class(rule, arg)),
    }
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "the kernel side must not become a BPF function call")]
fn class(rule: u8, arg: impl Fn(usize) -> u64) -> u8 {
    let class = match rule {
        OPEN => open(arg(1)),
        OPENAT => open(arg(2)),
        SOCKET => socket(arg(0), arg(1)),
        CLONE => clone(arg(0)),
        SETNS => clone(arg(1)),
        MMAP => 1 + (arg(2) & 7) + ((arg(3) >> 2) & 8),
        MPROTECT => 1 + (arg(2) & 7),
        FIRST_SMALL => small(arg(0)),
        SECOND_SMALL => small(arg(1)),
        THIRD_SMALL => small(arg(2)),
        FCNTL => {
            let cmd = arg(1) & 0xffff_ffff;
            // Linux's own commands begin at 1024.
            if cmd >= 1024 { small(cmd - 1024 + 20) } else { small(cmd) }
        }
        PTRACE => {
            let request = arg(0);
            // Those of every architecture begin at 0x4200.
            if request >= 0x4200 { small(request - 0x4200 + 32) } else { small(request) }
        }
        DUP => 1 + if arg(1) > 2 { 3 } else { arg(1) },
        SETID => 1 + u64::from(arg(0) & 0xffff_ffff != 0),
        MEMFD => 1 + (arg(1) & 0x1f),
        IOCTL => match (arg(1) >> 8) & 0xff {
            0x54 => 1,
            0x89 => 2,
            _ => 3,
        },
        _ => 0,
    };
    (class & 63) as u8
}

/// A small number as a class: 1 + n, with everything from 62 on as 63.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the kernel side must not become a BPF function call")]
fn small(n: u64) -> u64 {
    if n > 61 { 63 } else { 1 + n }
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "the kernel side must not become a BPF function call")]
fn open(flags: u64) -> u64 {
    const CREAT: u64 = 0o100;
    const TRUNC_OR_APPEND: u64 = 0o1000 | 0o2000;
    const DIRECTORY: u64 = 0o200_000;
    const PATH: u64 = 0o10_000_000;
    if flags & PATH != 0 {
        return 33;
    }
    1 + (flags & 3)
        + 4 * u64::from(flags & CREAT != 0)
        + 8 * u64::from(flags & TRUNC_OR_APPEND != 0)
        + 16 * u64::from(flags & DIRECTORY != 0)
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "the kernel side must not become a BPF function call")]
fn socket(family: u64, kind: u64) -> u64 {
    let family = match family & 0xffff_ffff {
        1 => 0,
        2 => 1,
        10 => 2,
        16 => 3,
        17 => 4,
        40 => 5,
        38 => 6,
        _ => 7,
    };
    let kind = match kind & 0xf {
        1 => 0,
        2 => 1,
        3 => 2,
        _ => 3,
    };
    1 + family * 4 + kind
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "the kernel side must not become a BPF function call")]
fn clone(flags: u64) -> u64 {
    const VM: u64 = 0x100;
    const VFORK: u64 = 0x4000;
    const THREAD: u64 = 0x1_0000;
    const NEWNS: u64 = 0x2_0000;
    const NEWUSER: u64 = 0x1000_0000;
    const OTHER_NS: u64 = 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | 0x2000_0000 | 0x4000_0000 | 0x80;
    1 + u64::from(flags & THREAD != 0)
        + if flags & (VM | VFORK) != 0 { 2 } else { 0 }
        + 4 * u64::from(flags & NEWUSER != 0)
        + 8 * u64::from(flags & NEWNS != 0)
        + 16 * u64::from(flags & OTHER_NS != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(nr: u16, args: [u64; 6]) -> Token {
        classify(nr, RULES[usize::from(nr)], |i| args[i])
    }

    #[track_caller]
    fn check(nr: u16, args: [u64; 6], class: u8, words: &[&str]) {
        let token = token(nr, args);
        assert_eq!((token.nr(), token.class()), (nr, class));
        assert_eq!(describe(token).as_slice(), words);
    }

    #[test]
    fn classes_of_scalar_arguments() {
        check(0, [9; 6], 0, &[]);
        check(257, [0, 0, 0, 0, 0, 0], 1, &["read"]);
        check(257, [0, 0, 0o1102, 0, 0, 0], 15, &["read-write", "create", "truncate or append"]);
        check(2, [0, 0o200_000, 0, 0, 0, 0], 17, &["read", "directory"]);
        check(257, [0, 0, 0o10_000_000, 0, 0, 0], 33, &["path only"]);
        check(41, [2, 1 | 0o2_000_000, 0, 0, 0, 0], 5, &["ipv4", "stream"]);
        check(41, [17, 3, 0, 0, 0, 0], 19, &["packet", "raw"]);
        check(56, [0x003d_0f00, 0, 0, 0, 0, 0], 4, &["thread"]);
        check(56, [0x0120_0011, 0, 0, 0, 0, 0], 1, &["process"]);
        check(56, [0x4111, 0, 0, 0, 0, 0], 3, &["shared memory"]);
        check(272, [0x1000_0000, 0, 0, 0, 0, 0], 5, &["new user namespace"]);
        check(308, [4, 0x4000_0000, 0, 0, 0, 0], 17, &["other new namespace"]);
        check(9, [0, 0, 5, 0x2, 0, 0], 6, &["executable"]);
        check(9, [0, 0, 7, 0x22, 0, 0], 16, &["executable", "writable", "anonymous"]);
        check(10, [0, 0, 1, 0, 0, 0], 2, &["read-only"]);
        check(33, [5, 0, 0, 0, 0, 0], 1, &["onto stdin"]);
        check(292, [5, 77, 0, 0, 0, 0], 4, &["onto another"]);
        check(105, [0; 6], 1, &["root"]);
        check(16, [0, 0x5401, 0, 0, 0, 0], 1, &["terminal"]);
        check(308, [4, 0, 0, 0, 0, 0], 1, &["any namespace"]);
        check(62, [1, 0, 0, 0, 0, 0], 1, &["test"]);
        check(62, [1, 9, 0, 0, 0, 0], 10, &["SIGKILL"]);
        check(234, [1, 1, 34, 0, 0, 0], 35, &["real-time signal"]);
        check(28, [0, 0, 4, 0, 0, 0], 5, &["free pages"]);
        check(157, [15, 0, 0, 0, 0, 0], 16, &["set name"]);
        check(157, [0x5356_4d41, 0, 0, 0, 0, 0], 63, &["other option"]);
        check(321, [5, 0, 0, 0, 0, 0], 6, &["load program"]);
        check(250, [11, 0, 0, 0, 0, 0], 12, &["read key"]);
        check(72, [1, 1, 0, 0, 0, 0], 2, &["get descriptor flags"]);
        check(72, [1, 3, 0, 0, 0, 0], 4, &["get flags"]);
        check(72, [1, 1030, 0, 0, 0, 0], 27, &["duplicate, close on exec"]);
        check(101, [16, 0, 0, 0, 0, 0], 17, &["attach"]);
        check(101, [0x4206, 0, 0, 0, 0, 0], 39, &["seize"]);
        check(319, [0, 1, 0, 0, 0, 0], 2, &["close on exec"]);
        check(319, [0; 6], 1, &["no flags"]);
    }

    #[test]
    fn every_class_fits_six_bits_and_never_changes_the_number() {
        for nr in 0..NR_MAX as u16 {
            for value in [0, 1, 3, 17, 61, 62, 63, 64, 1024, 0x4200, u64::from(u32::MAX), u64::MAX] {
                let token = token(nr, [value; 6]);
                assert_eq!(token.nr(), nr);
                assert_eq!(token.class() == 0, RULES[usize::from(nr)] & !RULE_NAMED == 0, "call {nr}, arguments {value:#x}");
                assert!(describe(token).as_slice().len() <= 5);
            }
        }
    }

    #[test]
    fn every_class_has_words() {
        for nr in (0..NR_MAX as u16).filter(|nr| RULES[usize::from(*nr)] & !RULE_NAMED != 0) {
            for class in 1..64 {
                let token = Token::new(nr, class);
                assert!(!describe(token).as_slice().is_empty(), "call {nr}, class {class}");
            }
        }
    }
}
