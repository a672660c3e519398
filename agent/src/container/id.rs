//! A runtime's container id.
//!
//! In: text that anybody may have written. Out: an id that can be put into a path. Pure.

use super::key::ContainerKey;
use std::{fmt, str::FromStr};

/// Longest id that is believed. containerd allows 76 bytes; Docker, CRI-O and Kubernetes use 64.
pub const ID_MAX: usize = 128;

/// A runtime's container id: 1 to [`ID_MAX`] of `A-Z a-z 0-9 . _ -`, first one a letter or digit.
///
/// **Invariant:** it holds no `/` and is neither `.` nor `..`, so it can be put into a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(Box<str>);

/// What is no container id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a container id")]
pub struct BadId(String);

impl FromStr for ContainerId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if first && rest && text.len() <= ID_MAX {
            return Ok(Self(text.into()));
        }
        Err(BadId(text.chars().take(ID_MAX).collect()))
    }
}

impl ContainerId {
    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `unnamed-<key>`, for a container of which not even the id is known.
    pub fn unnamed(key: ContainerKey) -> Self {
        Self(format!("unnamed-{:x}", key.0).into())
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let hex = "0123456789abcdef".repeat(4);
        for good in [&hex, "c1", "my_redis.2-a", "A"] {
            assert_eq!(good.parse::<ContainerId>().expect("an id").as_str(), good);
        }
        let long = "a".repeat(ID_MAX + 1);
        for bad in ["", ".", "..", "../x", "a/b", "-a", "a b", "é", "a\0", &long] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_unnamed_have_ids_too() {
        let id = ContainerId::unnamed(ContainerKey(255));
        assert_eq!((id.as_str(), id.as_str().parse()), ("unnamed-ff", Ok(id.clone())));
    }
}
