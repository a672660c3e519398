//! Offsets of kernel structure members, from the running kernel's BTF.
//!
//! In: the bytes of /sys/kernel/btf/vmlinux. Out: byte offsets. Pure but for [`Btf::of_this_kernel`].
//!
//! Rust programs have no CO-RE relocations, so offsets are looked up here and set in the programs before they are loaded.
//! Read by hand, because aya's `Btf` (0.14) keeps types and members to itself, and the one other crate is LGPL, which a
//! static binary cannot carry. Format: Documentation/bpf/btf.rst of the kernel.

use std::{collections::HashMap, fs, io, path::Path};

/// Where the kernel shows its own types.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const STRUCT: u32 = 4;
const UNION: u32 = 5;

/// Why an offset could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No BTF.
    #[error("this kernel shows no BTF at {VMLINUX} (it wants CONFIG_DEBUG_INFO_BTF)")]
    Absent(#[source] io::Error),
    /// Not BTF, or cut short.
    #[error("{VMLINUX} is not BTF that this program reads: {0}")]
    Malformed(&'static str),
    /// A structure or member is missing.
    #[error("this kernel has no {structure}.{member}")]
    Missing {
        /// The structure.
        structure: String,
        /// The member, with dots for nested ones.
        member: String,
    },
}

/// A kernel's types.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    strings: usize,
    /// Where each type begins in `bytes`; type ids count from 1.
    types: Vec<usize>,
    /// Structures and unions by name.
    named: HashMap<String, u32>,
}

impl Btf {
    /// Reads the running kernel's BTF.
    pub fn of_this_kernel() -> Result<Self, Error> {
        Self::parse(fs::read(Path::new(VMLINUX)).map_err(Error::Absent)?)
    }

    /// Indexes BTF.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Error> {
        let at = |offset: usize| word(&bytes, offset).ok_or(Error::Malformed("its header is cut short"));
        if at(0)? & 0xffff != 0xeb9f {
            return Err(Error::Malformed("its magic number is another"));
        }
        let header = at(4)? as usize;
        let (type_off, type_len, str_off) = (at(8)? as usize, at(12)? as usize, at(16)? as usize);
        let mut btf = Self { strings: header + str_off, types: Vec::new(), named: HashMap::new(), bytes: Vec::new() };
        let (mut cursor, end) = (header + type_off, header + type_off + type_len);
        if end > bytes.len() {
            return Err(Error::Malformed("its types are cut short"));
        }
        btf.bytes = bytes;
        while cursor < end {
            let info = btf.word(cursor + 4)?;
            let (kind, count) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
            btf.types.push(cursor);
            if matches!(kind, STRUCT | UNION) {
                let name = btf.string(btf.word(cursor)?)?.to_owned();
                if !name.is_empty() {
                    btf.named.entry(name).or_insert(btf.types.len() as u32);
                }
            }
            cursor += 12
                + match kind {
                    1 | 14 | 17 => 4,
                    3 => 12,
                    STRUCT | UNION | 15 | 19 => 12 * count,
                    6 | 13 => 8 * count,
                    2 | 7..=12 | 16 | 18 => 0,
                    _ => return Err(Error::Malformed("it has a kind of type that is not known here")),
                };
        }
        Ok(btf)
    }

    /// Offset in bytes of a member, through nested and anonymous structures.
    pub fn offset(&self, structure: &str, path: &[&str]) -> Result<u32, Error> {
        let missing = || Error::Missing { structure: structure.to_owned(), member: path.join(".") };
        let mut id = *self.named.get(structure).ok_or_else(missing)?;
        let mut bits = 0;
        for member in path {
            let (offset, of_type) = self.member(id, member, 0)?.ok_or_else(missing)?;
            bits += offset;
            id = of_type;
        }
        Ok(bits / 8)
    }

    /// Whether a structure is there.
    pub fn has(&self, structure: &str) -> bool {
        self.named.contains_key(structure)
    }

    /// Offset in bits and type of a member, looked for in anonymous members too.
    fn member(&self, id: u32, name: &str, depth: u32) -> Result<Option<(u32, u32)>, Error> {
        let Some(at) = self.resolve(id)? else { return Ok(None) };
        let info = self.word(at + 4)?;
        if !matches!((info >> 24) & 0x1f, STRUCT | UNION) || depth > 16 {
            return Ok(None);
        }
        for i in 0..(info & 0xffff) as usize {
            let entry = at + 12 + 12 * i;
            let (name_off, of_type, offset) = (self.word(entry)?, self.word(entry + 4)?, self.word(entry + 8)?);
            // With the flag set, the high byte is a bit field's size.
            let offset = if info >> 31 == 1 { offset & 0x00ff_ffff } else { offset };
            let found = self.string(name_off)?;
            if found == name {
                return Ok(Some((offset, of_type)));
            }
            if found.is_empty()
                && let Some((inner, of_type)) = self.member(of_type, name, depth + 1)?
            {
                return Ok(Some((offset + inner, of_type)));
            }
        }
        Ok(None)
    }

    /// Where a type begins, behind typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Result<Option<usize>, Error> {
        for _ in 0..32 {
            let Some(at) = (id as usize).checked_sub(1).and_then(|i| self.types.get(i)).copied() else { return Ok(None) };
            match (self.word(at + 4)? >> 24) & 0x1f {
                8..=11 | 18 => id = self.word(at + 8)?,
                _ => return Ok(Some(at)),
            }
        }
        Ok(None)
    }

    fn word(&self, at: usize) -> Result<u32, Error> {
        word(&self.bytes, at).ok_or(Error::Malformed("a type is cut short"))
    }

    fn string(&self, offset: u32) -> Result<&str, Error> {
        let bad = Error::Malformed("a name is cut short");
        let Some(rest) = self.bytes.get(self.strings + offset as usize..) else { return Err(bad) };
        let Some(len) = rest.iter().position(|b| *b == 0) else { return Err(bad) };
        std::str::from_utf8(&rest[..len]).map_err(|_not_utf8| Error::Malformed("a name is not text"))
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).and_then(|w| w.try_into().ok()).map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// struct outer { int a; struct { int b; const struct inner c; }; }; struct inner { int x, y; };
    fn sample() -> Vec<u8> {
        let strings = b"\0outer\0a\0b\0c\0inner\0x\0y\0int\0";
        let name = |s: &str| {
            strings.windows(s.len() + 2).position(|w| w == [b"\0", s.as_bytes(), b"\0"].concat()).expect("listed") as u32 + 1
        };
        let kind = |kind: u32, count: u32| kind << 24 | count;
        let types: Vec<u32> = [
            vec![name("int"), kind(1, 0), 4, 32],
            vec![name("inner"), kind(STRUCT, 2), 8, name("x"), 1, 0, name("y"), 1, 32],
            vec![0, kind(10, 0), 2],
            vec![0, kind(STRUCT, 2), 12, name("b"), 1, 0, name("c"), 3, 32],
            vec![name("outer"), kind(STRUCT, 2), 16, name("a"), 1, 0, 0, 4, 32],
        ]
        .concat();
        let len = 4 * types.len() as u32;
        let header = [0x0001_eb9f, 24, 0, len, len, strings.len() as u32];
        header.iter().chain(&types).flat_map(|w| w.to_le_bytes()).chain(*strings).collect()
    }

    #[test]
    fn finds_members_through_anonymous_and_qualified_structures() {
        let btf = Btf::parse(sample()).expect("well formed");
        for (structure, path, expect) in [
            ("outer", &["a"][..], Some(0)),
            ("outer", &["b"], Some(4)),
            ("outer", &["c"], Some(8)),
            ("outer", &["c", "y"], Some(12)),
            ("inner", &["y"], Some(4)),
            ("outer", &["x"], None),
            ("outer", &["a", "x"], None),
            ("nobody", &["a"], None),
        ] {
            assert_eq!(btf.offset(structure, path).ok(), expect, "{structure}.{path:?}");
        }
    }

    proptest! {
        #[test]
        fn damage_is_an_error_not_a_panic(at in 0usize..200, byte: u8, cut in 0usize..200) {
            let mut bytes = sample();
            let n = bytes.len();
            bytes[at % n] = byte;
            bytes.truncate(n - cut % n);
            if let Ok(btf) = Btf::parse(bytes) {
                let _ = btf.offset("outer", &["c", "y"]);
            }
        }
    }

    #[test]
    fn every_offset_the_programs_need_is_in_this_kernel() {
        let Ok(btf) = Btf::of_this_kernel() else {
            eprintln!("skipped: no {VMLINUX} here");
            return;
        };
        for (global, structure, path) in surprisal_agent_ebpf::abi::globals::OFFSETS {
            btf.offset(structure, path).unwrap_or_else(|e| panic!("{global}: {e}"));
        }
    }
}
