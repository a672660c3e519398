//! Log lines, on standard error.
//!
//! In: tracing's events, and aya-log's through the `log` crate. Out: text (coloured on a terminal) or JSON. Never: standard output.

use crate::choice::LogFormat;
use std::{
    error::Error,
    io::{self, IsTerminal as _},
};
use tracing_subscriber::{EnvFilter, fmt};

/// Starts logging. `RUST_LOG` is the filter; without it, this project logs from INFO, libraries from WARN.
pub fn start(format: LogFormat) -> Result<(), Box<dyn Error + Send + Sync>> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(text)?,
        _ => EnvFilter::new("warn,surprisal_agent=info,surprisal_agent_ebpf=info"),
    };
    let lines = fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => {
            let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            lines.with_ansi(colour).try_init()
        }
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
}
