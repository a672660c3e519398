//! Where the API server is.
//!
//! In: what the configuration says, the pod's service account or a kubeconfig file. Out: a client, or the reason for none. Never:
//! connects.

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use std::{env, fmt, path::PathBuf, str::FromStr, time::Duration};

/// How long an answer may take. Watches are open for longer, but hear something every now and then.
const ANSWER: Duration = Duration::from_secs(295);

/// Where the API server is, as the configuration says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// In a pod with a service account's token, the cluster's; else none.
    #[default]
    Auto,
    /// None.
    Off,
    /// That of this kubeconfig file.
    File(PathBuf),
}

impl FromStr for Source {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "auto" => Self::Auto,
            "off" => Self::Off,
            path => Self::File(path.into()),
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum BadSource {
    /// In a pod, but without what a client needs.
    #[error("the pod's service account cannot be used")]
    InCluster(#[source] kube::config::InClusterError),
    /// The file is none.
    #[error("{} is no kubeconfig file", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: kube::config::KubeconfigError,
    },
    /// What is said of the API server makes no client.
    #[error("no client for the Kubernetes API")]
    Client(#[source] kube::Error),
}

impl Source {
    /// Whether this process is in a pod that is told of the API server and has a token for it.
    pub fn in_a_pod() -> bool {
        env::var_os("KUBERNETES_SERVICE_HOST").is_some() && std::path::Path::new(TOKEN).exists()
    }

    /// A client; `None`: there is no API server to ask.
    pub(super) async fn client(&self) -> Result<Option<Client>, BadSource> {
        let mut config = match self {
            Self::Off => return Ok(None),
            Self::Auto if !Self::in_a_pod() => return Ok(None),
            Self::Auto => Config::incluster().map_err(BadSource::InCluster)?,
            Self::File(path) => {
                let failed = |source| BadSource::File { path: path.clone(), source };
                let file = Kubeconfig::read_from(path).map_err(failed)?;
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(failed)?
            }
        };
        config.read_timeout = Some(ANSWER);
        Client::try_from(config).map(Some).map_err(BadSource::Client)
    }
}

/// Where a pod finds its service account's token.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelled_as_read() {
        for (text, source) in [("auto", Source::Auto), ("off", Source::Off), ("/k/config", Source::File("/k/config".into()))] {
            assert_eq!(text.parse(), Ok(source.clone()));
            assert_eq!(source.to_string(), text);
        }
    }

    #[tokio::test]
    async fn no_server_is_no_error_and_a_bad_file_is_one() {
        assert!(Source::Off.client().await.expect("nothing to do").is_none());
        let error = Source::File("/nowhere".into()).client().await.map(|_| ()).expect_err("no such file");
        assert_eq!(error.to_string(), "/nowhere is no kubeconfig file");
    }
}
