//! x86-64: the numbers of the calls that have a class or a name.
//!
//! In: nothing. Out: numbers, as `arch/x86/entry/syscalls/syscall_64.tbl` gives them. Another architecture is another file like this one,
//! [`ABI`](super::ABI), and where `kernel.rs` finds the arguments.

/// Call numbers below this are themselves.
pub const NR_MAX: u64 = 512;

pub(super) const OPEN: usize = 2;
pub(super) const MMAP: usize = 9;
pub(super) const MPROTECT: usize = 10;
pub(super) const IOCTL: usize = 16;
pub(super) const MADVISE: usize = 28;
pub(super) const DUP2: usize = 33;
pub(super) const SOCKET: usize = 41;
pub(super) const CONNECT: usize = 42;
pub(super) const SENDTO: usize = 44;
pub(super) const BIND: usize = 49;
pub(super) const SOCKETPAIR: usize = 53;
pub(super) const CLONE: usize = 56;
pub(super) const EXECVE: usize = 59;
pub(super) const KILL: usize = 62;
pub(super) const FCNTL: usize = 72;
pub(super) const TRUNCATE: usize = 76;
pub(super) const RENAME: usize = 82;
pub(super) const MKDIR: usize = 83;
pub(super) const RMDIR: usize = 84;
pub(super) const CREAT: usize = 85;
pub(super) const LINK: usize = 86;
pub(super) const UNLINK: usize = 87;
pub(super) const SYMLINK: usize = 88;
pub(super) const CHMOD: usize = 90;
pub(super) const CHOWN: usize = 92;
pub(super) const LCHOWN: usize = 94;
pub(super) const PTRACE: usize = 101;
pub(super) const SETUID: usize = 105;
pub(super) const SETGID: usize = 106;
pub(super) const MKNOD: usize = 133;
pub(super) const PIVOT_ROOT: usize = 155;
pub(super) const PRCTL: usize = 157;
pub(super) const CHROOT: usize = 161;
pub(super) const MOUNT: usize = 165;
pub(super) const UMOUNT2: usize = 166;
pub(super) const TKILL: usize = 200;
pub(super) const TGKILL: usize = 234;
pub(super) const KEYCTL: usize = 250;
pub(super) const OPENAT: usize = 257;
pub(super) const MKDIRAT: usize = 258;
pub(super) const MKNODAT: usize = 259;
pub(super) const FCHOWNAT: usize = 260;
pub(super) const UNLINKAT: usize = 263;
pub(super) const RENAMEAT: usize = 264;
pub(super) const LINKAT: usize = 265;
pub(super) const SYMLINKAT: usize = 266;
pub(super) const FCHMODAT: usize = 268;
pub(super) const UNSHARE: usize = 272;
pub(super) const DUP3: usize = 292;
pub(super) const SETNS: usize = 308;
pub(super) const RENAMEAT2: usize = 316;
pub(super) const MEMFD_CREATE: usize = 319;
pub(super) const BPF: usize = 321;
pub(super) const EXECVEAT: usize = 322;
pub(super) const PKEY_MPROTECT: usize = 329;
pub(super) const MOVE_MOUNT: usize = 429;
pub(super) const OPENAT2: usize = 437;
pub(super) const FCHMODAT2: usize = 452;
