//! Parses, configures, runs, and turns errors into documented exit codes.

use clap::Parser as _;
use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};
use surprisal_agent::{
    app::{self, Job},
    cause,
    cli::{Cli, Command, ContainersArgs, Output, ProbeArgs, StatusArgs},
    config::{self, Config, Flags},
    exit, logging, preflight,
    procfs::Procfs,
    status::{
        ask::{self, ask},
        containers::table,
    },
};

/// An error and the code that says what kind it is.
struct Failure {
    code: u8,
    error: Box<dyn Error + Send + Sync>,
}

impl Failure {
    fn new(code: u8, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code, error: error.into() }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            // Not through the log: its format or filter may be what is wrong.
            let _nobody_listens = writeln!(io::stderr(), "surprisal-agent: {}", cause::chain(failure.error.as_ref()));
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: Cli) -> Result<u8, Failure> {
    let (run, record) = match &cli.command {
        Command::Run(args) => (Some(args), None),
        Command::Record(args) => (None, Some(args)),
        Command::Probe(args) => return probe(args),
        Command::Status(args) => return status(args),
        Command::Containers(args) => return containers(args),
    };
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let config = Config::load(Flags { run, record, log_format: cli.log_format }, &config::Process, &hostname)
        .map_err(|e| Failure::new(exit::CONFIG, e))?;
    logging::start(config.log_format).map_err(|e| Failure::new(exit::CONFIG, format!("RUST_LOG: {e}")))?;
    let job = match cli.command {
        Command::Record(args) => {
            Job::Record { output: args.output, label: args.label, duration: args.duration.map(Duration::from_secs) }
        }
        _ => Job::Run,
    };
    app::run(&config, job).map_err(|e| Failure::new(e.exit_code(), e))?;
    Ok(exit::OK)
}

fn probe(args: &ProbeArgs) -> Result<u8, Failure> {
    let report = preflight::probe(&Procfs::default());
    let text = match args.output {
        Output::Table => report.table(),
        Output::Json => serde_json::to_string_pretty(&report).map_err(|e| Failure::new(exit::FAILED, e))? + "\n",
    };
    say(&text)?;
    Ok(report.verdict.exit_code())
}

fn status(args: &StatusArgs) -> Result<u8, Failure> {
    let address = config::admin_of(args.admin, &config::Process).map_err(|e| Failure::new(exit::CONFIG, e))?;
    let answer = ask(address).map_err(unanswered)?;
    match args.output {
        Output::Table => say(&answer.table())?,
        Output::Json => say(answer.json())?,
    }
    Ok(exit::OK)
}

fn containers(args: &ContainersArgs) -> Result<u8, Failure> {
    let address = config::admin_of(args.admin, &config::Process).map_err(|e| Failure::new(exit::CONFIG, e))?;
    let (json, rows) = ask::containers(address).map_err(unanswered)?;
    match args.output {
        Output::Table => say(&table(&rows))?,
        Output::Json => say(&json)?,
    }
    Ok(exit::OK)
}

fn unanswered(error: ask::Error) -> Failure {
    let code = if matches!(error, ask::Error::Unreachable { .. }) { exit::UNAVAILABLE } else { exit::DATA };
    Failure::new(code, error)
}

fn say(text: &str) -> Result<(), Failure> {
    let written = io::stdout().write_all(text.as_bytes());
    written.map_err(|e| Failure::new(exit::FAILED, format!("cannot write to standard output: {e}")))
}
