//! Serving: starts and owns every task.
//!
//! In: a [`Config`], a loader of models. Out: a running scorer, until it is told to stop. Never: a policy of
//! its own; what is done with a batch or a window is the stages' business.
//!
//! ```text
//! ingest ─room─▶ pipeline (registry: cut, queue) ─▶ inference thread ─reply─▶ registry ◀─ query, status
//!                     ▲ ticks                            ▲ profiles (scan, thresholds)
//! ```
//!
//! The pipeline never waits for the model: windows wait in the registry's queue, which is fair between containers.

use crate::cause::chain;
use crate::config::Config;
use crate::containers::{limits::Limits, registry::Registry, shared::Shared};
use crate::detect::surprisal::{Loader, Surprisal};
use crate::inference::{self, Command, Reply};
use crate::ingest::room::Room;
use crate::ingest::stream::{self, Taken};
use crate::metrics::Metrics;
use crate::profile::{directory::Directory, error::ProfileError, store::Store};
use crate::serve::{admin, profiles, query, status};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use surprisal_proto::v1::{
    ingest_server::IngestServer, profiles_server::ProfilesServer, scores_server::ScoresServer, status_server::StatusServer,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Server, server::TcpIncoming};

/// Batches that may wait for the pipeline, besides the bound in bytes ([`crate::ingest::room`]).
const BATCHES: usize = 8192;
/// Largest archive of a profile, bytes.
const ARCHIVE_MAX: usize = 64 << 20;
/// How often the registry is given the time.
const TICK: Duration = Duration::from_millis(200);
/// How often the profiles' directory is looked at.
const SCAN: Duration = Duration::from_millis(500);
/// How long streams may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// Why serving could not begin, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// An address could not be bound.
    #[error("listening on {address}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The profiles' directory cannot be used.
    #[error("profiles")]
    Profiles(#[from] ProfileError),
    /// A part could not be started.
    #[error("starting")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server failed.
    #[error("serving gRPC")]
    Serve(#[from] tonic::transport::Error),
    /// A task that must run has ended.
    #[error("{0} has ended unexpectedly")]
    Ended(&'static str),
}

/// A scorer that listens but does not serve yet.
#[derive(Debug)]
pub struct App {
    config: Config,
    incoming: TcpIncoming,
    /// Where it listens.
    pub address: SocketAddr,
    admin: Option<TcpListener>,
    store: Directory,
    metrics: Metrics,
}

impl App {
    /// Binds, and opens the directory of profiles.
    pub async fn bind(config: Config) -> Result<Self, AppError> {
        let store = Directory::open(&config.profiles, config.threshold)?;
        let failed = |address| move |source| AppError::Bind { address, source };
        let incoming = TcpIncoming::bind(config.listen).map_err(failed(config.listen))?.with_nodelay(Some(true));
        let address = incoming.local_addr().map_err(failed(config.listen))?;
        let admin = match config.admin {
            None => None,
            Some(address) => Some(TcpListener::bind(address).await.map_err(failed(address))?),
        };
        Ok(Self { config, incoming, address, admin, store, metrics: Metrics::default() })
    }

    /// Serves until `shutdown`.
    pub async fn serve(self, loader: Loader, shutdown: CancellationToken) -> Result<(), AppError> {
        let start_failed = |e: Box<dyn std::error::Error + Send + Sync>| AppError::Start(e);
        let metrics = self.metrics.clone();
        let shared = Arc::new(Shared::new(Registry::new(Limits::default(), metrics.clone())));
        let reply = reply(Arc::clone(&shared), metrics.clone());
        let counts = metrics.clone();
        let detector = move || Surprisal::new(loader, counts);
        let (inference, _thread) = inference::start(detector, reply, metrics.clone()).map_err(|e| start_failed(e.into()))?;
        let (queue, batches) = mpsc::channel(BATCHES);

        let profiles = profiles::Service::new(self.store, Arc::clone(&shared), inference.clone());
        profiles.refresh().await?;
        let ready = Arc::new(AtomicBool::new(true));

        let pipeline = tokio::spawn(pipeline(Arc::clone(&shared), batches, inference.clone()));
        let scanner = tokio::spawn(scan(profiles.clone(), shutdown.clone()));
        if let Some(listener) = self.admin {
            let address = listener.local_addr().map(|a| a.to_string()).unwrap_or_default();
            let router = admin::router(&metrics, Arc::clone(&ready));
            tokio::spawn(async move { axum::serve(listener, router).await });
            tracing::info!(address, "serving metrics");
        }
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<IngestServer<stream::Service>>().await;
        health.set_serving::<ScoresServer<query::Service>>().await;
        health.set_serving::<ProfilesServer<profiles::Service<Directory>>>().await;
        health.set_serving::<StatusServer<status::Service>>().await;
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(surprisal_proto::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let room = Room::new(metrics.clone());
        let ingest = IngestServer::new(stream::Service::new(queue, room.clone(), metrics.clone(), shutdown.clone()))
            .accept_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Zstd)
            .max_decoding_message_size(stream::MESSAGE_MAX);
        let archives = ProfilesServer::new(profiles).max_decoding_message_size(ARCHIVE_MAX).max_encoding_message_size(usize::MAX);
        let server = Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .http2_keepalive_timeout(Some(Duration::from_secs(20)))
            .max_concurrent_streams(256)
            .initial_stream_window_size(stream::AHEAD)
            .initial_connection_window_size(stream::AHEAD)
            .add_service(health_service)
            .add_service(reflection().build_v1().map_err(|e| start_failed(e.into()))?)
            .add_service(reflection().build_v1alpha().map_err(|e| start_failed(e.into()))?)
            .add_service(ingest)
            .add_service(
                ScoresServer::new(query::Service::new(Arc::clone(&shared), shutdown.clone()))
                    .send_compressed(CompressionEncoding::Zstd),
            )
            .add_service(archives)
            .add_service(StatusServer::new(status::Service::new(Arc::clone(&shared), room)))
            .serve_with_incoming_shutdown(self.incoming, shutdown.clone().cancelled_owned());
        tracing::info!(address = %self.address, profiles = %self.config.profiles.display(), "listening");

        let out_of_patience = async {
            shutdown.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            end = server => end?,
            () = out_of_patience => tracing::warn!("connections were still open after {} s", GRACE.as_secs()),
            () = inference.closed() => return Err(AppError::Ended("the inference thread")),
            _ = pipeline => return Err(AppError::Ended("the pipeline")),
            _ = scanner => if !shutdown.is_cancelled() { return Err(AppError::Ended("the profiles' scanner")) },
        }
        ready.store(false, Ordering::Relaxed);
        tracing::info!("stopped");
        Ok(())
    }
}

/// Hands what the model said to the registry.
fn reply(shared: Arc<Shared>, metrics: Metrics) -> Reply {
    Box::new(move |job, finding| {
        let now = shared.now();
        metrics.window_latency.observe(now.mono.saturating_sub(job.cut_at).as_secs_f64());
        shared.registry().judged(job, finding, now);
        shared.finished.notify_one();
    })
}

/// From batches and time to windows, and on to the model as it can have more. Ends when the inference thread or all agents'
/// streams are gone.
async fn pipeline(shared: Arc<Shared>, mut batches: mpsc::Receiver<Taken>, inference: mpsc::Sender<Command>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut more = false;
    loop {
        let taken = tokio::select! {
            taken = batches.recv() => match taken {
                Some(taken) => Some(taken),
                None => return,
            },
            _ = ticks.tick() => {
                let now = shared.now();
                shared.registry().tick(now);
                None
            }
            () = shared.finished.notified(), if more => None,
        };
        match taken {
            None => {}
            Some(Taken::Connected(node, names_left_out)) => {
                let mut registry = shared.registry();
                registry.connected(&node, shared.now());
                registry.leaves_names_out(&node, names_left_out);
            }
            Some(Taken::Disconnected(node)) => shared.registry().disconnected(&node, shared.now()),
            Some(Taken::Batch(node, mut batch, ticket)) => {
                batch.waited = ticket.waited();
                shared.registry().take(&node, *batch, shared.now());
                ticket.passed();
            }
        }
        // Without a place in its queue the model has enough to do for now.
        let place = match inference.try_reserve() {
            Ok(place) => place,
            Err(mpsc::error::TrySendError::Full(())) => {
                more = true;
                continue;
            }
            Err(mpsc::error::TrySendError::Closed(())) => return,
        };
        let jobs = {
            let mut registry = shared.registry();
            let jobs = registry.hand_out(shared.now());
            more = registry.has_waiting();
            jobs
        };
        if !jobs.is_empty() {
            place.send(Command::Judge(jobs));
        }
    }
}

/// Looks at the directory of profiles until shutdown.
async fn scan<S: Store + Send + 'static>(profiles: profiles::Service<S>, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(SCAN);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        match profiles.refresh().await {
            Ok(()) => failing = false,
            // Said once: the directory is looked at twice a second.
            Err(error) if !std::mem::replace(&mut failing, true) => {
                tracing::error!(error = chain(&error), "profiles cannot be looked at; those in force stay");
            }
            Err(_) => {}
        }
    }
}
