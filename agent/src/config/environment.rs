//! Variables of the environment, as values of their keys' types.
//!
//! In: an [`Environment`]. Out: TOML values. Never: guesses a type: it is that of the key's default.

use super::{error::Error, keys::Key};
use std::{collections::HashMap, hash::BuildHasher};
use toml::{Table, Value};

/// The environment, so that a test can bring its own.
pub trait Environment {
    /// A variable; empty counts as absent.
    fn get(&self, name: &str) -> Option<String>;
}

/// This process's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process;

impl Environment for Process {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|v| !v.is_empty())
    }
}

impl<S: BuildHasher> Environment for HashMap<&str, &str, S> {
    fn get(&self, name: &str) -> Option<String> {
        self.get(name).filter(|v| !v.is_empty()).map(|v| (*v).to_owned())
    }
}

/// A variable's text as the type its key has.
pub(super) fn typed(table: &Table, key: Key, text: &str) -> Result<Value, Error> {
    let bad = |reason: String| Error::Env { name: key.env, value: text.to_owned(), reason };
    match table.get(key.section).and_then(|s| s.get(key.name)) {
        Some(Value::Integer(_)) => text.trim().parse().map(Value::Integer).map_err(|e| bad(e.to_string())),
        Some(Value::Boolean(_)) => {
            text.trim().parse().map(Value::Boolean).map_err(|_neither| bad("is neither true nor false".into()))
        }
        Some(Value::Array(_)) => {
            let parts = split_rules(text).into_iter().map(str::trim).filter(|p| !p.is_empty());
            Ok(Value::Array(parts.map(|p| Value::String(p.to_owned())).collect()))
        }
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// At commas, but not at those within a pattern's braces.
fn split_rules(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    text.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_in_variables() {
        for (text, expect) in [
            ("", vec![""]),
            ("pod=a,pod=b", vec!["pod=a", "pod=b"]),
            ("pod=web-{0,1},namespace=x", vec!["pod=web-{0,1}", "namespace=x"]),
        ] {
            assert_eq!(split_rules(text), expect);
        }
    }
}
