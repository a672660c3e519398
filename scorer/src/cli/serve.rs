//! Flags of `serve`.
//!
//! In: arguments and the environment. Out: [`Serve`]. Never: a default that `config` has.

use crate::detect::fused::Kernel;
use crate::judge::threshold::Threshold;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Flags of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Address of the gRPC services [default: 127.0.0.1:7676]; with port 0 any free one, which the log names
    #[arg(long, value_name = "ADDR", env = "SURPRISAL_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Directory of profiles; what appears or changes there is in force within a second
    #[arg(long, value_name = "DIR", env = "SURPRISAL_PROFILES")]
    pub profiles: Option<PathBuf>,
    /// Threshold for all workloads that have none of their own, nats a call [default: each profile's calibrated one]
    #[arg(long, value_name = "NATS", env = "SURPRISAL_THRESHOLD")]
    pub threshold: Option<Threshold>,
    /// Address of /metrics, /livez and /readyz [default: not served]
    #[arg(long, value_name = "ADDR", env = "SURPRISAL_ADMIN")]
    pub admin: Option<SocketAddr>,
    /// Configuration, TOML: listen, profiles, threshold, admin
    #[arg(long, value_name = "FILE", env = "SURPRISAL_CONFIG")]
    pub config: Option<PathBuf>,
    /// Cores that judge a batch of windows
    #[arg(long, value_name = "N", default_value_t = 1, env = "SURPRISAL_THREADS")]
    pub threads: u16,
    /// How windows are computed: int8-vnni, f32-avx512, f32-avx2, f32-portable, int8-portable [default: the fastest here]
    #[arg(long, value_name = "KERNEL", env = "SURPRISAL_KERNEL")]
    pub kernel: Option<Kernel>,
}
