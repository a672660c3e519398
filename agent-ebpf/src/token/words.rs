//! A class in words, for people.
//!
//! In: a [`Token`]. Out: [`Words`]. Never: a class without words; numbers that Linux has not given a meaning are "other …".

use super::{
    CLONE, DUP, FCNTL, FIRST_SMALL, IOCTL, MEMFD, MMAP, MPROTECT, OPEN, OPENAT, PTRACE, RULE_NAMED, RULES, SECOND_SMALL, SETID,
    SETNS, SOCKET, THIRD_SMALL, Token, call,
    meanings::{ADVICES, BPF_COMMANDS, FCNTL_COMMANDS, KEYCTL_COMMANDS, PRCTL_OPTIONS, PTRACE_REQUESTS, SIGNALS},
};

/// Words for a token's class, most telling first; empty where it has none. At most 5 words.
#[must_use]
pub fn describe(token: Token) -> Words {
    let mut words = Words::default();
    let Some(class) = token.class().checked_sub(1) else { return words };
    let nr = usize::from(token.nr());
    match RULES.get(nr).copied().unwrap_or(0) & !RULE_NAMED {
        OPEN | OPENAT if class == 32 => words.push("path only"),
        OPEN | OPENAT => {
            words.push(["read", "write", "read-write", "no access"][usize::from(class & 3)]);
            words.push_if(class & 4 != 0, "create");
            words.push_if(class & 8 != 0, "truncate or append");
            words.push_if(class & 16 != 0, "directory");
        }
        SOCKET => {
            words
                .push(["unix", "ipv4", "ipv6", "netlink", "packet", "vsock", "alg", "other family"][usize::from(class >> 2) & 7]);
            words.push(["stream", "datagram", "raw", "other type"][usize::from(class & 3)]);
        }
        SETNS if class == 0 => words.push("any namespace"),
        CLONE | SETNS => {
            words.push_if(class & 1 != 0, "thread");
            words.push_if(class & 3 == 2, "shared memory");
            words.push_if(class & 31 < 1, "process");
            words.push_if(class & 4 != 0, "new user namespace");
            words.push_if(class & 8 != 0, "new mount namespace");
            words.push_if(class & 16 != 0, "other new namespace");
        }
        MMAP | MPROTECT => {
            words.push_if(class & 4 != 0, "executable");
            words.push_if(class & 2 != 0, "writable");
            words.push_if(class & 7 == 1, "read-only");
            words.push_if(class & 7 < 1, "no access");
            words.push_if(class & 8 != 0, "anonymous");
        }
        DUP => words.push(["onto stdin", "onto stdout", "onto stderr", "onto another"][usize::from(class & 3)]),
        SETID => words.push(if class == 0 { "root" } else { "not root" }),
        IOCTL => words.push(["terminal", "socket", "other device"][usize::from(class).min(2)]),
        MEMFD => {
            words.push_if(class & 16 != 0, "may be executed");
            words.push_if(class & 8 != 0, "never executed");
            words.push_if(class & 4 != 0, "huge pages");
            words.push_if(class & 2 != 0, "may be sealed");
            words.push_if(class & 1 != 0, "close on exec");
            words.push_if(class & 31 < 1, "no flags");
        }
        FCNTL => words.push(meaning(&FCNTL_COMMANDS, class, "other command")),
        PTRACE => words.push(meaning(&PTRACE_REQUESTS, class, "other request")),
        FIRST_SMALL => words.push(match nr {
            call::PRCTL => meaning(&PRCTL_OPTIONS, class, "other option"),
            call::BPF => meaning(&BPF_COMMANDS, class, "other command"),
            _ => meaning(&KEYCTL_COMMANDS, class, "other command"),
        }),
        THIRD_SMALL if nr == call::MADVISE => words.push(meaning(&ADVICES, class, "other advice")),
        SECOND_SMALL | THIRD_SMALL => words.push(meaning(&SIGNALS, class, "real-time signal")),
        _ => {}
    }
    words
}

/// Up to five words, without an allocator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Words {
    words: [&'static str; 5],
    len: usize,
}

impl Words {
    fn push(&mut self, word: &'static str) {
        if let Some(slot) = self.words.get_mut(self.len) {
            *slot = word;
            self.len += 1;
        }
    }
    fn push_if(&mut self, when: bool, word: &'static str) {
        if when {
            self.push(word);
        }
    }
    /// The words, most telling first.
    #[must_use]
    pub fn as_slice(&self) -> &[&'static str] {
        &self.words[..self.len]
    }
}

/// What number `n` stands for; `other` where `table` has nothing.
fn meaning(table: &[&'static str], n: u8, other: &'static str) -> &'static str {
    table.get(usize::from(n)).copied().filter(|words| !words.is_empty()).unwrap_or(other)
}
