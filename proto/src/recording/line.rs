//! The lines of a recording.
//!
//! In: nothing. Out: [`Line`] and what it holds, as serde reads and writes them. Pure.

use crate::{
    container::Container,
    names,
    token::{self, Token},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Version of the format.
pub const VERSION: u32 = 2;
/// The oldest that is read: what the newer ones have more is not in it.
pub const OLDEST: u32 = 1;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Line {
    /// What the file is.
    Header(Header),
    /// A container, named.
    Container(Container),
    /// What a call was about.
    Name(Name),
    /// A run of calls.
    Calls(Calls),
    /// A container's balance, cumulative.
    Account(Account),
    /// A container's end.
    Death(Death),
    /// The file is whole.
    End(End),
}

/// First line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    pub version: u32,
    /// Numbering of calls: [`token::ABI`].
    pub abi: String,
    /// [`token::LAYOUT`].
    pub token_layout: u32,
    /// Node the calls were made on.
    pub node: String,
    /// What the calls are: "normal", "attack", anything. Absent: not labelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// When the file was begun.
    pub created_at: Timestamp,
}

/// What one call was about. It may stand before the run that has the call, and is told when it is new for its container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// When it was read.
    pub at: Timestamp,
    /// Container id.
    pub container: String,
    /// Process id on the node (tgid).
    pub pid: u32,
    /// Thread id on the node.
    pub tid: u32,
    /// Number of the call in its thread.
    pub seq: u64,
    /// The call.
    #[serde(with = "one_spelled")]
    pub call: Token,
    /// A path, an address; see `surprisal.v1.Name.text`.
    pub name: String,
    /// What a program that runs calls itself, where that is not the last part of its path.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub argv0: String,
    /// A path that does not begin at the root.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub relative: bool,
    /// It goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// It was not in memory at the call and was read at the thread's next one: until then another thread may have changed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
}

/// A run of consecutive calls of one thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// When the first call was entered.
    pub at: Timestamp,
    /// Node.
    pub node: String,
    /// Container id.
    pub container: String,
    /// Pod name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pod: String,
    /// Process id on the node (tgid).
    pub pid: u32,
    /// Thread id on the node.
    pub tid: u32,
    /// Process name.
    pub process: String,
    /// Number of the first call in its thread, from 0.
    pub seq: u64,
    /// Calls known lost directly before the first one here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gap: u64,
    /// The calls.
    #[serde(with = "spelled")]
    pub calls: Vec<Token>,
    /// The thread has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last: bool,
    /// It was started by exec (`kubectl exec`, an exec probe): it descends from a process that entered the container later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_exec: bool,
}

/// A container's balance, cumulative.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Container id.
    pub container: String,
    /// Calls issued.
    pub issued: u64,
    /// Calls delivered to user space.
    pub delivered: u64,
    /// Calls lost in the kernel's ring buffer.
    pub lost: u64,
    /// Threads that could not be followed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub threads_untracked: u64,
    /// Names that were new and are not in the recording: too many at once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub names_untold: u64,
    /// Names that could not be read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub names_unread: u64,
}

/// A container's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// Container id.
    pub container: String,
    /// When its last thread was gone.
    pub at: Timestamp,
}

/// Last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Lines before this one, the header counted in.
    pub lines: u64,
    /// Calls in them.
    pub calls: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

mod spelled {
    use super::{Token, names};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::borrow::Cow;

    pub(super) fn serialize<S: Serializer>(tokens: &[Token], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(tokens.iter().map(|t| names::spell(*t)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Token>, D::Error> {
        let names = Vec::<Cow<'de, str>>::deserialize(d)?;
        names.iter().map(|n| names::parse(n).map_err(D::Error::custom)).collect()
    }
}

mod one_spelled {
    use super::{Token, names};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::borrow::Cow;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(token: &Token, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&names::spell(*token))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Token, D::Error> {
        names::parse(&Cow::<'de, str>::deserialize(d)?).map_err(D::Error::custom)
    }
}

impl Header {
    /// A header of this version.
    #[must_use]
    pub fn new(node: &str, label: Option<&str>, created_at: Timestamp) -> Self {
        Self {
            version: VERSION,
            abi: token::ABI.to_owned(),
            token_layout: token::LAYOUT,
            node: node.to_owned(),
            label: label.map(str::to_owned),
            created_at,
        }
    }
}
