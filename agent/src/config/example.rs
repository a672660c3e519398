//! The example file.
//!
//! In: [`KEYS`] and the defaults. Out: the text of `agent.example.toml`. Never: writes it; a test does, and keeps it fresh.

use super::{file::defaults, keys::KEYS};
use std::fmt::Write as _;
use toml::Value;

/// An example file: every key with its default and what it does.
pub fn example() -> String {
    let mut text = String::from(
        "# Example configuration of surprisal-agent: every key, with its default.\n\
         # Made from the program's own list (agent/src/config/keys.rs); a test keeps it fresh.\n\
         # The environment wins over this file, flags win over both.\n",
    );
    let defaults = defaults();
    let mut section = "";
    for key in KEYS {
        if key.section != section {
            section = key.section;
            let _infallible = write!(text, "\n[{section}]\n");
        }
        let default = defaults.get(key.section).and_then(|s| s.get(key.name)).map(Value::to_string).unwrap_or_default();
        let _infallible = write!(text, "# {} [env: {}]\n{} = {default}\n", key.doc, key.env, key.name);
    }
    text
}
