//! What the agent is told: defaults < file < environment < flags, put together and checked once.
//!
//! In: a TOML file, an [`Environment`], a parsed command line. Out: [`Config`]. Never: read again while running.
//!
//! | module | in | out |
//! |---|---|---|
//! | [`keys`] | | all there is to configure |
//! | `file`, [`environment`], `flags` | a file, variables, arguments | a layer each |
//! | `layer` | layers | one table, in which the last wins |
//! | `check` | that table | [`Config`], or the [`Error`] that names the layer or the key |
//! | [`example()`] | the keys and their defaults | `agent.example.toml` |

mod check;
pub mod environment;
mod error;
mod example;
mod file;
mod flags;
pub mod keys;
mod layer;

pub use check::Config;
pub use environment::{Environment, Process};
pub use error::Error;
pub use example::example;
pub use flags::Flags;

use crate::status::ask::DEFAULT_ADMIN;
use file::File;
use keys::KEYS;
use layer::Layer;
use serde::Deserialize as _;
use std::{net::SocketAddr, path::PathBuf};
use toml::Value;

/// Where `status` looks for an agent: the flag, the environment, the default.
pub fn admin_of(flag: Option<SocketAddr>, env: &impl Environment) -> Result<SocketAddr, Error> {
    const NAME: &str = "SURPRISAL_ADMIN";
    match (flag, env.get(NAME)) {
        (Some(address), _) => Ok(address),
        (None, None) => Ok(DEFAULT_ADMIN),
        (None, Some(value)) => match value.parse() {
            Ok(address) => Ok(address),
            Err(_not_one) => Err(Error::Env { name: NAME, value, reason: "is not ADDRESS:PORT".to_owned() }),
        },
    }
}

impl Config {
    /// Puts everything together. `hostname` is used where nothing names the node.
    pub fn load(flags: Flags<'_>, env: &impl Environment, hostname: &str) -> Result<Self, Error> {
        let mut table = file::defaults();
        let named = flags.config().or_else(|| env.get("SURPRISAL_CONFIG").map(PathBuf::from));
        if let Some(path) = named {
            file::read(&path)?.over(&mut table);
            // Checked before anything else is put over it, so that the error names the file.
            File::deserialize(Value::Table(table.clone())).map_err(|e| Error::File { path, reason: file::one_line(&e, "") })?;
        }
        for key in KEYS {
            if let Some(text) = env.get(key.env) {
                let value = environment::typed(&table, key, &text)?;
                let mut layer = Layer::default();
                layer.put(key.section, key.name, Some(value));
                layer.over(&mut table);
                File::deserialize(Value::Table(table.clone())).map_err(|e| Error::Env {
                    name: key.env,
                    value: text,
                    reason: e.message().to_owned(),
                })?;
            }
        }
        flags.layer().over(&mut table);
        // Defaults, file and variables were checked above, and flags have their types.
        let file = File::deserialize(Value::Table(table))
            .map_err(|e| Error::Value { key: "command line", reason: e.message().to_owned() })?;
        let node = [file.node.name.clone(), env.get("NODE_NAME").unwrap_or_default(), hostname.to_owned()];
        let node = node.into_iter().find(|n| !n.is_empty()).unwrap_or_default();
        let config = file.check(node)?;
        if flags.run.is_some() && config.uplink.is_none() && config.jsonl.is_none() {
            let reason = "without a scorer and without --jsonl there is nothing to do".to_owned();
            return Err(Error::Value { key: "uplink.scorer", reason });
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
