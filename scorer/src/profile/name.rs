//! Names of workloads, and of their directories. *Pure.*
//!
//! In: a name that anyone may have chosen. Out: whether it can be a workload's, and a directory name that is safe and tells
//! workloads apart. Never: a path with more than one component.

use crate::detect::vocab::hex;
use crate::profile::error::{ProfileError, WORKLOAD_MAX};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Whether this can be a workload's name.
pub fn check_workload(workload: &str) -> Result<(), ProfileError> {
    if workload.is_empty() || workload.len() > WORKLOAD_MAX || workload.chars().any(char::is_control) {
        return Err(ProfileError::Workload(workload.chars().take(80).collect()));
    }
    Ok(())
}

/// A workload's directory: every byte but letters, digits, `-`, `_` and inner `.` is escaped as `%XX`. A name
/// that would be too long for a file system ends in its checksum.
pub fn directory_name(workload: &str) -> String {
    const LONGEST: usize = 200;
    let mut name = String::new();
    for (i, byte) in workload.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            b'.' if i > 0 => name.push('.'),
            _ => {
                let _ = write!(name, "%{byte:02X}");
            }
        }
    }
    if name.len() > LONGEST {
        name.truncate(LONGEST - 34);
        name.push_str("%~");
        name.push_str(&hex(&Sha256::digest(workload.as_bytes()))[..32]);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn directories_are_safe_and_tell_workloads_apart() {
        for (workload, name) in [
            ("default/redis/redis", "default%2Fredis%2Fredis"),
            ("..", "%2E."),
            (".hidden", "%2Ehidden"),
            ("a%2Fb", "a%252Fb"),
            ("k8s.io/-/0a1b", "k8s.io%2F-%2F0a1b"),
        ] {
            assert_eq!(directory_name(workload), name);
        }
        let (a, b) = (directory_name(&"/".repeat(500)), directory_name(&"/".repeat(501)));
        assert!(a.len() <= 200 && a != b);
    }

    proptest! {
        #[test]
        fn any_name_gives_one_safe_component(a in ".{1,80}", b in ".{1,80}") {
            let name = directory_name(&a);
            prop_assert!(name.len() <= 255 && !name.starts_with('.') && !name.contains('/') && name.is_ascii());
            prop_assert_eq!(name == directory_name(&b), a == b);
        }
    }
}
