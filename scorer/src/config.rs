//! What `serve` is told: defaults, then the file, then the environment, then flags.
//!
//! In: a TOML file and the command line (which clap has merged with the environment). Out: a checked
//! [`Config`]. Never: a default that is not written here.
//!
//! Own code: two sources of four keys each are an `or` a key; see the agent's `config/layer.rs` for the crates.

use crate::judge::threshold::Threshold;
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// What to serve, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Address of the gRPC services; port 0: any free one.
    pub listen: SocketAddr,
    /// Directory of profiles.
    pub profiles: PathBuf,
    /// Threshold for all workloads that have none of their own; `None`: each profile's calibrated one.
    pub threshold: Option<Threshold>,
    /// Address of `/metrics`, `/livez` and `/readyz`; `None`: not served.
    pub admin: Option<SocketAddr>,
}

/// One source of settings; what is absent is left to the source before it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// See [`Config::listen`].
    pub listen: Option<SocketAddr>,
    /// See [`Config::profiles`].
    pub profiles: Option<PathBuf>,
    /// See [`Config::threshold`], nats a call.
    pub threshold: Option<Threshold>,
    /// See [`Config::admin`].
    pub admin: Option<SocketAddr>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("reading {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not understood.
    #[error("{}: {message}", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Something must be said and was not.
    #[error("{0}")]
    Missing(&'static str),
}

impl Config {
    /// Merges a file, if there is one, with what the command line says.
    pub fn load(file: Option<&Path>, flags: Settings) -> Result<Self, ConfigError> {
        let settings = match file {
            None => Settings::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
                let parse = |e: toml::de::Error| ConfigError::Parse { path: path.to_owned(), message: e.message().to_owned() };
                toml::from_str(&text).map_err(parse)?
            }
        };
        Ok(Self {
            listen: flags.listen.or(settings.listen).unwrap_or((Ipv4Addr::LOCALHOST, surprisal_proto::DEFAULT_PORT).into()),
            profiles: flags.profiles.or(settings.profiles).ok_or(ConfigError::Missing(
                "no directory of profiles: give --profiles DIR, or profiles = \"DIR\" in the configuration",
            ))?,
            threshold: flags.threshold.or(settings.threshold),
            admin: flags.admin.or(settings.admin),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, flags: Settings) -> Result<Config, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("scorer.toml");
        std::fs::write(&path, file).expect("writes");
        Config::load(Some(&path), flags).map_err(|e| e.to_string().replace(&*path.to_string_lossy(), "F"))
    }

    #[test]
    fn flags_go_before_the_file_and_the_file_before_defaults() {
        let flags = Settings { profiles: Some("b".into()), ..Settings::default() };
        let config =
            load("profiles = 'a'\nlisten = '127.0.0.1:1'\nthreshold = 2.5\nadmin = '[::1]:2'", flags.clone()).expect("loads");
        assert_eq!((config.profiles.to_str(), config.listen.port()), (Some("b"), 1));
        assert_eq!((config.threshold.map(Threshold::nats), config.admin.map(|a| a.port())), (Some(2.5), Some(2)));
        let config = Config::load(None, flags).expect("loads");
        assert_eq!((config.listen.to_string().as_str(), config.threshold, config.admin), ("127.0.0.1:7676", None, None));
    }

    #[test]
    fn says_what_is_wrong() {
        for (file, message) in [
            ("profile = 'a'", "F: unknown field `profile`, expected one of `listen`, `profiles`, `threshold`, `admin`"),
            ("profiles = 'a'\nthreshold = -1.0", "F: a threshold is a finite number of nats above 0, not -1"),
            ("", "no directory of profiles: give --profiles DIR, or profiles = \"DIR\" in the configuration"),
        ] {
            assert_eq!(load(file, Settings::default()), Err(message.to_owned()));
        }
    }
}
