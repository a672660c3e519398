//! From the ring buffer's bytes to events.
//!
//! In: one record's bytes. Out: an [`Event`], or why not. Pure, but for [`monotonic_ns`], the clock of the records.
//!
//! **Invariant:** no length in a record is believed: it is checked against the bytes that are there.

use crate::names::Raw;
use surprisal_agent_ebpf::abi::{
    self, CHUNK_EXEC, CHUNK_HEADER, CHUNK_LAST, CHUNK_PEEK, CHUNK_TOKENS, Chunk, ContainerState, Lifecycle, NAME_HEADER, Name,
};

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A container's first process was executed.
    Birth(Life),
    /// Calls of one thread.
    Calls(Calls),
    /// A container's last thread is gone; its final counters.
    End(Life, ContainerState),
    /// What a call was about.
    Name(Named),
}

/// A call of a thread, and what it was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Container key.
    pub container: u64,
    /// Process id.
    pub tgid: u32,
    /// Thread id.
    pub tid: u32,
    /// Number of the call in its thread.
    pub seq: u64,
    /// When it was read, `CLOCK_MONOTONIC`, nanoseconds.
    pub at_ns: u64,
    /// The name, as the container wrote it.
    pub raw: Raw,
}

/// A container's birth or end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Container key.
    pub container: u64,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub at_ns: u64,
    /// Unified cgroup id of the process.
    pub cgroup_id: u64,
    /// Mount namespace inode.
    pub mnt_ns: u32,
    /// Network namespace inode.
    pub net_ns: u32,
    /// Process id.
    pub tgid: u32,
    /// Process id of the shim; 0: not known.
    pub shim_tgid: u32,
    /// Directory name of the unified cgroup; empty in the root.
    pub cgroup_name: String,
}

/// Calls of one thread, as the kernel copied them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Container key.
    pub container: u64,
    /// Process id.
    pub tgid: u32,
    /// Thread id.
    pub tid: u32,
    /// When the thread was first followed: tells it from an earlier thread of the same id.
    pub born_ns: u64,
    /// Process name, padded with zeros.
    pub comm: [u8; abi::COMM_LEN],
    /// Number of the first call in its thread.
    pub first_seq: u64,
    /// When the first call was entered, `CLOCK_MONOTONIC`, nanoseconds.
    pub start_ns: u64,
    /// The calls.
    pub tokens: Vec<u16>,
    /// A look at a buffer that is still being filled.
    pub peek: bool,
    /// The thread has ended.
    pub last: bool,
    /// It descends from a process that entered the container later.
    pub by_exec: bool,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too short for its kind.
    #[error("a record of kind {kind} has {len} bytes")]
    Short {
        /// Its kind.
        kind: u16,
        /// Its length.
        len: usize,
    },
    /// Another kind.
    #[error("a record of unknown kind {0}")]
    Kind(u16),
    /// It says that it holds more calls than it does.
    #[error("a chunk of {len} bytes says that it holds {calls} calls")]
    Calls {
        /// Its length.
        len: usize,
        /// What it says.
        calls: u32,
    },
}

/// Decodes one record.
pub fn decode(bytes: &[u8]) -> Result<Event, Error> {
    let kind = bytes.first_chunk().map_or(0, |k| u16::from_ne_bytes(*k));
    let short = Error::Short { kind, len: bytes.len() };
    match kind {
        abi::KIND_CHUNK => chunk(bytes.get(..CHUNK_HEADER).ok_or(short)?, &bytes[CHUNK_HEADER..]).map(Event::Calls),
        abi::KIND_BIRTH | abi::KIND_END => {
            if bytes.len() < size_of::<Lifecycle>() {
                return Err(short);
            }
            // SAFETY: long enough, integers only, any bytes are a value; unaligned reads are allowed for.
            let record = unsafe { bytes.as_ptr().cast::<Lifecycle>().read_unaligned() };
            let life = life(&record);
            Ok(if kind == abi::KIND_BIRTH { Event::Birth(life) } else { Event::End(life, record.state) })
        }
        abi::KIND_NAME => {
            // As long as its text: what is missing of the whole is not there to be read.
            let mut whole = [0; size_of::<Name>()];
            let known = bytes.len().min(whole.len());
            if known < NAME_HEADER {
                return Err(short);
            }
            whole[..known].copy_from_slice(&bytes[..known]);
            // SAFETY: a whole one, integers only, any bytes are a value; unaligned reads are allowed for.
            let record = unsafe { whole.as_ptr().cast::<Name>().read_unaligned() };
            Ok(Event::Name(named(&record, known - NAME_HEADER)))
        }
        other => Err(Error::Kind(other)),
    }
}

/// `room`: bytes of its text that are there.
fn named(record: &Name, room: usize) -> Named {
    let has = |flag: u16| record.flags & flag != 0;
    // What says that it is longer than there is room for is as long as there is.
    let part = |bytes: &[u8], len: u16| bytes[..usize::from(len).min(bytes.len())].to_vec();
    Named {
        container: record.container,
        tgid: record.tgid,
        tid: record.tid,
        seq: record.seq,
        at_ns: record.at_ns,
        raw: Raw {
            token: record.token,
            text: part(&record.text[..room], record.len),
            argv0: part(&record.argv0, if has(abi::NAME_EXEC) { record.argv0_len } else { 0 }),
            address: has(abi::NAME_ADDRESS),
            truncated: has(abi::NAME_CUT),
            late: has(abi::NAME_LATE),
        },
    }
}

fn life(record: &Lifecycle) -> Life {
    let name = record.cgroup_name.split(|b| *b == 0).next().unwrap_or_default();
    Life {
        container: record.container,
        at_ns: record.at_ns,
        cgroup_id: record.cgroup_id,
        mnt_ns: record.mnt_ns,
        net_ns: record.net_ns,
        tgid: record.tgid,
        shim_tgid: record.shim_tgid,
        cgroup_name: String::from_utf8_lossy(name).into_owned(),
    }
}

fn chunk(header: &[u8], rest: &[u8]) -> Result<Calls, Error> {
    use std::mem::offset_of;
    let u16_at = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
    let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
    let len = u32_at(offset_of!(Chunk, len));
    let tokens = rest.get(..2 * len as usize).filter(|_| len as usize <= CHUNK_TOKENS);
    let tokens = tokens.ok_or(Error::Calls { len: header.len() + rest.len(), calls: len })?;
    let flags = u16_at(offset_of!(Chunk, flags));
    let comm_at = offset_of!(Chunk, comm);
    let mut comm = [0; abi::COMM_LEN];
    comm.copy_from_slice(&header[comm_at..comm_at + abi::COMM_LEN]);
    Ok(Calls {
        container: u64_at(offset_of!(Chunk, container)),
        tgid: u32_at(offset_of!(Chunk, tgid)),
        tid: u32_at(offset_of!(Chunk, tid)),
        born_ns: u64_at(offset_of!(Chunk, born_ns)),
        comm,
        first_seq: u64_at(offset_of!(Chunk, first_seq)),
        start_ns: u64_at(offset_of!(Chunk, start_ns)),
        tokens: tokens.chunks_exact(2).map(|t| u16::from_ne_bytes([t[0], t[1]])).collect(),
        peek: flags & CHUNK_PEEK != 0,
        last: flags & CHUNK_LAST != 0,
        by_exec: flags & CHUNK_EXEC != 0,
    })
}

/// Now, by the clock that the kernel side stamps records with, nanoseconds.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(len: u32, tokens: &[u16], flags: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(abi::KIND_CHUNK.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(len.to_ne_bytes());
        for word in [7u64, 1000, 42, 0, 99, 0] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(11u32.to_ne_bytes());
        bytes.extend(12u32.to_ne_bytes());
        bytes.extend(*b"redis-server\0\0\0\0");
        bytes.extend(tokens.iter().flat_map(|t| t.to_ne_bytes()));
        bytes
    }

    #[test]
    fn a_chunk_is_decoded_by_its_layout() {
        let Ok(Event::Calls(calls)) = decode(&record(2, &[59, 0], CHUNK_LAST)) else { panic!("a chunk") };
        assert_eq!((calls.container, calls.first_seq, calls.start_ns, calls.born_ns), (7, 1000, 42, 99));
        assert_eq!((calls.tgid, calls.tid, calls.tokens, calls.last, calls.peek), (11, 12, vec![59, 0], true, false));
        assert_eq!(&calls.comm[..5], b"redis");
        assert!(!calls.by_exec);
        let by_exec = decode(&record(2, &[59, 0], CHUNK_PEEK | CHUNK_EXEC));
        assert!(matches!(by_exec, Ok(Event::Calls(Calls { by_exec: true, peek: true, last: false, .. }))), "{by_exec:?}");
    }

    #[test]
    fn a_name_is_decoded_by_its_layout() {
        let mut name = Name {
            kind: abi::KIND_NAME,
            flags: abi::NAME_EXEC | abi::NAME_CUT,
            token: 59,
            len: 9,
            container: 7,
            seq: 1000,
            born_ns: 99,
            at_ns: 42,
            tgid: 11,
            tid: 12,
            argv0_len: 2,
            reserved: [0; 3],
            argv0: [0; abi::ARGV0_MAX],
            text: [0; 256],
        };
        name.text[..9].copy_from_slice(b"/bin/bash");
        name.argv0[..2].copy_from_slice(b"sh");
        // SAFETY: integers only, and no padding.
        let bytes =
            |name: &Name| unsafe { std::slice::from_raw_parts((&raw const *name).cast::<u8>(), size_of::<Name>()) }.to_vec();
        let Ok(Event::Name(named)) = decode(&bytes(&name)) else { panic!("a name") };
        assert_eq!((named.container, named.tgid, named.tid, named.seq, named.at_ns), (7, 11, 12, 1000, 42));
        assert_eq!((named.raw.token, &named.raw.text[..], &named.raw.argv0[..]), (59, &b"/bin/bash"[..], &b"sh"[..]));
        assert!(named.raw.truncated && !named.raw.address);
        // Lengths are not believed here either.
        let Ok(Event::Name(named)) = decode(&bytes(&Name { len: u16::MAX, argv0_len: u16::MAX, ..name })) else {
            panic!("a name")
        };
        assert_eq!((named.raw.text.len(), named.raw.argv0.len()), (256, abi::ARGV0_MAX));
        let Ok(Event::Name(named)) = decode(&bytes(&name)[..NAME_HEADER + 4]) else { panic!("a name") };
        assert_eq!(&named.raw.text[..], b"/bin");
        assert_eq!(decode(&bytes(&name)[..100]), Err(Error::Short { kind: abi::KIND_NAME, len: 100 }));
    }

    #[test]
    fn lengths_are_not_believed() {
        assert_eq!(decode(&record(3, &[59, 0], 0)), Err(Error::Calls { len: CHUNK_HEADER + 4, calls: 3 }));
        assert_eq!(decode(&record(u32::MAX, &[59, 0], 0)), Err(Error::Calls { len: CHUNK_HEADER + 4, calls: u32::MAX }));
        assert_eq!(decode(&[]), Err(Error::Kind(0)));
        assert_eq!(decode(&record(0, &[], 0)[..40]), Err(Error::Short { kind: abi::KIND_CHUNK, len: 40 }));
        assert_eq!(decode(&[3, 0, 0]), Err(Error::Short { kind: abi::KIND_END, len: 3 }));
        // A peek's record is as long as the whole buffer, whatever of it is filled.
        assert!(decode(&record(1, &[5; CHUNK_TOKENS], CHUNK_PEEK)).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..700), kind in 0u16..6) {
            let mut bytes = bytes;
            if let Some(head) = bytes.first_chunk_mut() {
                *head = kind.to_ne_bytes();
            }
            if let Ok(Event::Calls(calls)) = decode(&bytes) {
                prop_assert!(calls.tokens.len() <= CHUNK_TOKENS);
            }
        }
    }
}
