//! Calls that are about something with a name: a program, a file, an address.
//!
//! In: a call number. Out: which argument says what it is about, and how. Never: reads it. Pure, and the same code in the kernel and on
//! the host.

use super::call::{self, NR_MAX};

/// How each call is named, by number; 0: it is not.
///
/// Low 3 bits: the number of the argument that points at the name. Above: [`PATH`], [`ADDRESS`].
pub static NAMED: [u8; NR_MAX as usize] = NAMED_CALLS;

pub(super) const NAMED_CALLS: [u8; NR_MAX as usize] = named();

/// The argument points at a string that a zero ends.
pub const PATH: u8 = 1 << 3;
/// The argument points at a `struct sockaddr`, whose length is the next argument; a null pointer: no name.
pub const ADDRESS: u8 = 2 << 3;

/// Bytes of a name that are kept. A longer one is cut, which is said.
pub const NAME_MAX: usize = 256;

/// What a folded run of digits counts as: names that differ in numbers only are told once.
pub const DIGITS: u8 = b'#';

const fn named() -> [u8; NR_MAX as usize] {
    let mut t = [0; NR_MAX as usize];
    // What runs is told when it runs (`sched_process_exec`), not here.
    let mut n = 0;
    let paths = [
        (call::OPEN, 0),
        (call::CREAT, 0),
        (call::OPENAT, 1),
        (call::OPENAT2, 1),
        // Where something is put is what matters, not where it was.
        (call::RENAME, 1),
        (call::RENAMEAT, 3),
        (call::RENAMEAT2, 3),
        (call::LINK, 1),
        (call::LINKAT, 3),
        (call::SYMLINK, 1),
        (call::SYMLINKAT, 2),
        (call::UNLINK, 0),
        (call::UNLINKAT, 1),
        (call::MKDIR, 0),
        (call::MKDIRAT, 1),
        (call::RMDIR, 0),
        (call::MKNOD, 0),
        (call::MKNODAT, 1),
        (call::CHMOD, 0),
        (call::FCHMODAT, 1),
        (call::FCHMODAT2, 1),
        (call::TRUNCATE, 0),
        (call::CHOWN, 0),
        (call::LCHOWN, 0),
        (call::FCHOWNAT, 1),
        (call::MOUNT, 1),
        (call::UMOUNT2, 0),
        (call::MOVE_MOUNT, 3),
        (call::PIVOT_ROOT, 0),
        (call::CHROOT, 0),
        (call::MEMFD_CREATE, 0),
    ];
    while n < paths.len() {
        t[paths[n].0] = PATH | paths[n].1;
        n += 1;
    }
    t[call::CONNECT] = ADDRESS | 1;
    t[call::BIND] = ADDRESS | 1;
    t[call::SENDTO] = ADDRESS | 4;
    t
}

/// Whether a call is of those that run a program.
pub const fn runs_a_program(nr: u16) -> bool {
    nr as usize == call::EXECVE || nr as usize == call::EXECVEAT
}

/// Takes one more byte of a name into its hash: FNV-1a (Fowler, Noll, Vo 1991), over the name with runs of digits as one [`DIGITS`].
/// Returns the hash, and whether `byte` is a digit, which the next call is told as `digits`.
#[inline(always)]
#[must_use]
#[allow(clippy::inline_always, reason = "the kernel side must not become a BPF function call")]
pub const fn fold(hash: u64, byte: u8, digits: bool) -> (u64, bool) {
    let digit = byte.wrapping_sub(b'0') < 10;
    if digit && digits {
        return (hash, true);
    }
    let byte = if digit { DIGITS } else { byte };
    (mix(hash, byte), digit)
}

/// The same for a byte of an address, where no byte is a digit.
#[inline(always)]
#[must_use]
#[allow(clippy::inline_always, reason = "the kernel side must not become a BPF function call")]
pub const fn mix(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x0100_0000_01b3)
}

/// The hash of no bytes yet, of a name that `token` has: one file read and written are two names.
#[inline(always)]
#[must_use]
#[allow(clippy::inline_always, reason = "the kernel side must not become a BPF function call")]
pub const fn empty(token: u16) -> u64 {
    0xcbf2_9ce4_8422_2325 ^ ((token as u64) << 48)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(token: u16, name: &[u8]) -> u64 {
        name.iter().fold((empty(token), false), |(hash, digits), byte| fold(hash, *byte, digits)).0
    }

    #[test]
    fn numbers_do_not_make_a_name_new() {
        for (a, b, same) in [
            ("/proc/1/stat", "/proc/4711/stat", true),
            ("/tmp/a12b3", "/tmp/a9b99", true),
            ("/tmp/12", "/tmp/x", false),
            ("/tmp/1", "/tmp/", false),
            ("/tmp/1/2", "/tmp/12", false),
            ("", "0", false),
            ("/etc/passwd", "/etc/passwe", false),
        ] {
            assert_eq!(hash(1, a.as_bytes()) == hash(1, b.as_bytes()), same, "{a} {b}");
        }
        assert_ne!(hash(1, b"/etc/passwd"), hash(2, b"/etc/passwd"), "read and written");
    }

    #[test]
    fn calls_with_names_have_numbers_that_fit() {
        let named: Vec<_> = (0..NR_MAX as usize).filter(|nr| NAMED[*nr] != 0).collect();
        assert_eq!(named.len(), 34);
        for nr in named {
            assert!(NAMED[nr] & 7 < 6 && matches!(NAMED[nr] & !7, PATH | ADDRESS), "{nr}");
            assert!(!runs_a_program(nr as u16));
        }
        assert!(runs_a_program(59) && runs_a_program(322));
    }
}
