//! Log lines, on standard error.
//!
//! In: tracing's events, and aya-log's through the `log` crate. Out: text (coloured on a terminal) or JSON. Never: standard output.

use crate::cli::LogFormat;
use std::{
    error::Error,
    io::{self, IsTerminal as _},
};
use tracing_subscriber::{EnvFilter, fmt};

/// From here on what is logged is seen. `RUST_LOG` says which; without it, this project's own from INFO, others' from WARN.
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

/// An error and all that caused it, in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Some foreign errors repeat their source.
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn the_whole_chain_once() {
        let inner = Layer("no space", None);
        let repeated = Layer("cannot write: no space", Some(Box::new(inner)));
        assert_eq!(chain(&Layer("recording", Some(Box::new(repeated)))), "recording: cannot write: no space");
    }
}
