//! Asking a scorer from the command line.
//!
//! In: what the command line asks. Out: tables or JSON on standard output. Never: a change that was not asked for.

pub mod advice;
pub mod json;
pub mod table;

use crate::cli::ask::{Ask, AskProfile, Output, Scores, VerdictName, Which};
use crate::judge::threshold::Threshold;
use std::io::{self, Write};
use std::time::Duration;
use surprisal_proto::v1::{self, profiles_client::ProfilesClient, scores_client::ScoresClient, status_client::StatusClient};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// Rows asked for at once.
const PAGE: u32 = 500;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// That is no address.
    #[error("--scorer {0:?} is no URL like http://127.0.0.1:7676")]
    Url(String),
    /// Nobody is there.
    #[error("the scorer at {server} cannot be reached")]
    Unreachable {
        /// The address.
        server: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// The scorer is gone, or going.
    #[error("the scorer at {server} cannot be reached: {message}")]
    Gone {
        /// The address.
        server: String,
        /// Why.
        message: String,
    },
    /// The scorer refused.
    #[error("the scorer refused: {0}")]
    Refused(String),
    /// Output could not be written.
    #[error("writing the answer")]
    Write(#[from] io::Error),
    /// An answer without what it must have.
    #[error("the scorer's answer is empty")]
    Empty,
}

async fn connect(ask: &Ask) -> Result<Channel, ClientError> {
    let endpoint = Endpoint::from_shared(ask.scorer.clone()).map_err(|_source| ClientError::Url(ask.scorer.clone()))?;
    let unreachable = |source| ClientError::Unreachable { server: ask.scorer.clone(), source };
    endpoint.connect_timeout(CONNECT).connect().await.map_err(unreachable)
}

fn refused(ask: &Ask) -> impl Fn(Status) -> ClientError {
    move |status| match status.code() {
        tonic::Code::Unavailable => ClientError::Gone { server: ask.scorer.clone(), message: status.message().to_owned() },
        _ => ClientError::Refused(status.message().to_owned()),
    }
}

/// A request that does not wait for ever.
fn request<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(ANSWER);
    request
}

impl Which {
    fn filter(&self) -> v1::Filter {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let verdict = |name: &VerdictName| match name {
            VerdictName::Normal => v1::Verdict::Normal as i32,
            VerdictName::Anomalous => v1::Verdict::Anomalous as i32,
            VerdictName::Unscored => v1::Verdict::Unscored as i32,
        };
        v1::Filter {
            namespace: text(&self.namespace),
            pod: text(&self.pod),
            container: text(&self.container),
            container_id: text(&self.id),
            workload: text(&self.workload),
            node: text(&self.node),
            verdicts: self.verdict.iter().map(verdict).collect(),
            min_score: self.min_score,
            include_sandboxes: self.sandboxes,
            labels: self.label.iter().cloned().collect(),
        }
    }
}

/// Asks for scores.
pub async fn scores(command: Scores, out: &mut (impl Write + Send)) -> Result<(), ClientError> {
    match command {
        Scores::Get(which) => get(&which, out).await,
        Scores::List(which) => list(&which, out).await,
        Scores::Watch(which) => watch(&which, out).await,
    }
}

async fn get(which: &Which, out: &mut impl Write) -> Result<(), ClientError> {
    let ask = &which.ask;
    let mut client = ScoresClient::new(connect(ask).await?);
    let answer = client.get(request(v1::GetRequest { filter: Some(which.filter()) })).await.map_err(refused(ask))?;
    let score = answer.into_inner().score.ok_or(ClientError::Empty)?;
    match ask.output {
        Output::Table => writeln!(out, "{}", table::score(&score))?,
        Output::Json => writeln!(out, "{}", json::pretty(&json::Score::from(&score)))?,
    }
    Ok(())
}

async fn list(which: &Which, out: &mut impl Write) -> Result<(), ClientError> {
    let ask = &which.ask;
    let mut client = ScoresClient::new(connect(ask).await?).max_decoding_message_size(usize::MAX);
    let mut rows = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = v1::ListRequest { filter: Some(which.filter()), page_size: PAGE, page_token };
        let answer = client.list(request(page)).await.map_err(refused(ask))?.into_inner();
        rows.extend(answer.scores);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    match ask.output {
        Output::Table => writeln!(out, "{}", table::scores(&rows))?,
        Output::Json => writeln!(out, "{}", json::pretty(&rows.iter().map(json::Score::from).collect::<Vec<_>>()))?,
    }
    Ok(())
}

async fn watch(which: &Which, out: &mut impl Write) -> Result<(), ClientError> {
    let ask = &which.ask;
    let mut client = ScoresClient::new(connect(ask).await?);
    let answer = client.watch(v1::WatchRequest { filter: Some(which.filter()) }).await.map_err(refused(ask))?;
    let mut changes = answer.into_inner();
    if ask.output == Output::Table {
        writeln!(out, "{}", table::watch_header())?;
    }
    while let Some(change) = changes.message().await.map_err(refused(ask))? {
        let score = change.score.ok_or(ClientError::Empty)?;
        match ask.output {
            Output::Table => writeln!(out, "{}", table::watch_row(&score))?,
            Output::Json => writeln!(out, "{}", json::line(&json::Score::from(&score)))?,
        }
        out.flush()?;
    }
    Ok(())
}

/// Asks for the status.
pub async fn status(ask: &Ask, out: &mut (impl Write + Send)) -> Result<(), ClientError> {
    let mut client = StatusClient::new(connect(ask).await?).max_decoding_message_size(usize::MAX);
    let status = client.get(request(v1::GetStatusRequest {})).await.map_err(refused(ask))?.into_inner();
    match ask.output {
        Output::Table => writeln!(out, "{}", surprisal_proto::status::table(&status))?,
        Output::Json => writeln!(out, "{:#}", surprisal_proto::status::json(&status))?,
    }
    Ok(())
}

/// Asks for profiles, or sets a threshold.
pub async fn profile(command: AskProfile, out: &mut (impl Write + Send)) -> Result<(), ClientError> {
    match command {
        AskProfile::List(ask) => {
            let mut client = ProfilesClient::new(connect(&ask).await?).max_decoding_message_size(usize::MAX);
            let answer = client.list(request(v1::ListProfilesRequest {})).await.map_err(refused(&ask))?;
            print_profiles(&answer.into_inner().profiles, ask.output, out)
        }
        AskProfile::Show { ask, workload } => {
            let mut client = ProfilesClient::new(connect(&ask).await?);
            let answer = client.get(request(v1::GetProfileRequest { workload })).await.map_err(refused(&ask))?;
            let profile = answer.into_inner().profile.ok_or(ClientError::Empty)?;
            match ask.output {
                Output::Table => writeln!(out, "{}", table::profile(&profile))?,
                Output::Json => writeln!(out, "{}", json::pretty(&json::Profile::from(&profile)))?,
            }
            Ok(())
        }
        AskProfile::Threshold { ask, workload, set, .. } => {
            let mut client = ProfilesClient::new(connect(&ask).await?);
            let change = v1::SetThresholdRequest { workload: workload.unwrap_or_default(), threshold: set.map(Threshold::nats) };
            let answer = client.set_threshold(request(change)).await.map_err(refused(&ask))?;
            print_profiles(&answer.into_inner().profiles, ask.output, out)
        }
    }
}

fn print_profiles(profiles: &[v1::Profile], output: Output, out: &mut impl Write) -> Result<(), ClientError> {
    match output {
        Output::Table => writeln!(out, "{}", table::profiles(profiles))?,
        Output::Json => writeln!(out, "{}", json::pretty(&profiles.iter().map(json::Profile::from).collect::<Vec<_>>()))?,
    }
    Ok(())
}
