//! Starts and stops everything, and owns every task.
//!
//! In: a checked [`Config`] and a [`Job`]. Out: nothing until it ends. Never: does the work itself.
//!
//! One capture thread (see [`crate::capture`]), one small runtime for the uplink and the admin endpoint. Whatever ends
//! first ends all: a signal, the recording's duration, or a needed part that failed. Then the capture thread
//! hands on what is still in the kernel, and the uplink gets its grace period to deliver it.

use crate::{
    admin,
    bpf::{self, Kernel, LoadError},
    capture::{self, Capture, Settings, Sink},
    cause,
    config::Config,
    container::Membership,
    exit, jsonl,
    kubernetes::{self, Directory, Source},
    metrics,
    procfs::Procfs,
    status::Sources,
    uplink,
};
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How long the start waits for the Kubernetes API's first lists.
const FIRST_LISTS: Duration = Duration::from_secs(2);

/// What to do with what is captured.
#[derive(Clone, Debug)]
pub enum Job {
    /// Send it to the scorer, write it to a rotating file, or both, as the configuration says, until a signal.
    Run,
    /// Write one recording.
    Record {
        /// The file; must not exist.
        output: PathBuf,
        /// What the calls are.
        label: Option<String>,
        /// When to stop; `None`: at a signal.
        duration: Option<Duration>,
    },
}

/// Why the agent ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The programs are not in the kernel.
    #[error("cannot capture on this host")]
    Load(#[source] LoadError),
    /// Capture failed.
    #[error("capture stopped")]
    Capture(#[from] capture::Error),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] jsonl::Error),
    /// The scorer's address is not one.
    #[error(transparent)]
    Address(#[from] uplink::BadAddress),
    /// The kubeconfig file is none.
    #[error(transparent)]
    Kubernetes(#[from] kubernetes::BadSource),
    /// The admin endpoint.
    #[error("cannot serve the admin endpoint at {address}")]
    Admin {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A thread or a runtime.
    #[error("cannot start")]
    Start(#[source] std::io::Error),
    /// The capture thread panicked.
    #[error("the capture thread panicked")]
    Panicked,
}

impl Error {
    /// Documented exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Load(e) | Self::Capture(capture::Error::Kernel(e)) if e.is_rights() => exit::RIGHTS,
            Self::Load(_) => exit::HOST,
            Self::Address(_) | Self::Kubernetes(_) => exit::CONFIG,
            _ => exit::FAILED,
        }
    }
}

/// Runs until it is told to stop, or its time is over, or something needed fails.
pub fn run(config: &Config, job: Job) -> Result<(), Error> {
    // Capture has a thread of its own; the runtime only serves one connection and the admin endpoint.
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(Error::Start)?;
    runtime.block_on(run_in(config, job))
}

async fn run_in(config: &Config, job: Job) -> Result<(), Error> {
    // Before anything else: a signal during start-up stops it in order, too.
    let signals = Signals::listen().map_err(Error::Start)?;
    let started_at = Timestamp::now();
    let mut registry = metrics::registry();
    // Before the kernel is touched: a bad path or address is reported at once.
    let Sinks { all: sinks, client, uplink, jsonl } = sinks(config, &job, &mut registry)?;
    let (directory, watching) = ask_kubernetes(config).await?;
    let procfs = Procfs::default().with_monitors(config.monitors.clone());
    let kernel = Kernel::load(&bpf::Options {
        ring_bytes: config.ring_bytes,
        capture: config.capture.into(),
        process_only: config.membership == Membership::Process,
        pid_ns: procfs.pid_namespace().unwrap_or(bpf::Options::default().pid_ns),
        monitors: procfs.monitors().for_kernel(),
        names: config.names,
        stats: config.bpf_stats,
        ..bpf::Options::default()
    })
    .map_err(Error::Load)?;
    let method = kernel.capture;
    wait_for_kubernetes(&directory).await;
    let settings = Settings {
        node: config.node.as_str().into(),
        selection: if directory.is_asked() { config.selection.clone().with_labels() } else { config.selection.clone() },
        membership: config.membership,
        procfs,
        directory: directory.clone(),
    };
    let capture = Capture::start(kernel, &settings, sinks)?;
    capture.stats().register(&mut registry);
    kubernetes::register(&directory, &mut registry);
    let ready = Arc::new(AtomicBool::new(true));
    let cancel = CancellationToken::new();
    let sources = Sources {
        node: config.node.clone(),
        started_at,
        ring_bytes: config.ring_bytes,
        capture: capture.stats(),
        containers: capture.listing(),
        directory,
        uplink,
        jsonl,
    };
    let admin = admin(config, registry, &ready, sources).await?;
    info!(node = config.node, ?method, "capturing");

    let stop = Arc::new(AtomicBool::new(false));
    let (ended, capture_ended) = oneshot::channel::<()>();
    let thread = {
        let stop = Arc::clone(&stop);
        let work = move || {
            let result = capture.run(&stop);
            // Nobody listens any more when the agent is stopping already.
            let _ = ended.send(());
            result
        };
        thread::Builder::new().name("capture".into()).spawn(work).map_err(Error::Start)?
    };
    let uplink = client.map(|client| tokio::spawn(client.run(cancel.clone(), config.grace)));
    let duration = match job {
        Job::Record { duration, .. } => duration,
        Job::Run => None,
    };
    until_told(signals, duration, capture_ended).await;
    ready.store(false, Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    let joined = tokio::task::spawn_blocking(move || thread.join()).await;
    let result = joined.map_err(|_panic| Error::Panicked)?.map_err(|_panic| Error::Panicked)?;
    cancel.cancel();
    if let Some(uplink) = uplink {
        // The runtime reports a panic in it; it has logged what was not delivered.
        let _ = uplink.await;
    }
    for task in [admin, watching].into_iter().flatten() {
        task.abort();
    }
    info!("stopped");
    Ok(result?)
}

/// Begins to ask Kubernetes, if there is one to ask.
async fn ask_kubernetes(config: &Config) -> Result<(Directory, Option<JoinHandle<()>>), Error> {
    let (directory, watching) = match (kubernetes::watch(&config.kubernetes, &config.node).await, &config.kubernetes) {
        (Ok(begun), _) => begun,
        (Err(error), Source::Auto) => {
            warn!(error = cause::chain(&error), "Kubernetes is not asked: owners are guessed");
            return Ok((Directory::default(), None));
        }
        (Err(error), _) => return Err(error.into()),
    };
    if config.selection.asks_for_labels() && !directory.is_asked() {
        warn!("rules look at labels, and Kubernetes is not asked for any (--kubernetes): no container has one");
    }
    Ok((directory, watching.map(tokio::spawn)))
}

/// What already runs gets its names right at once where the API server answers soon.
async fn wait_for_kubernetes(directory: &Directory) {
    if tokio::time::timeout(FIRST_LISTS, directory.first_lists()).await.is_err() {
        warn!("the Kubernetes API has not answered yet: owners are guessed until it does");
    }
}

/// Where records go, and what `status` looks at.
struct Sinks {
    all: Vec<Box<dyn Sink>>,
    client: Option<uplink::Client>,
    uplink: Option<uplink::View>,
    jsonl: Option<jsonl::View>,
}

fn sinks(config: &Config, job: &Job, registry: &mut Registry) -> Result<Sinks, Error> {
    let mut out = Sinks { all: Vec::new(), client: None, uplink: None, jsonl: None };
    if let Job::Record { output, label, .. } = job {
        out.all.push(Box::new(jsonl::Recording::create(output, &config.node, label.as_deref())?));
        return Ok(out);
    }
    if let Some(file) = &config.jsonl {
        let file = jsonl::Rotating::create(file.clone(), &config.node, registry)?;
        out.jsonl = Some(file.view());
        out.all.push(Box::new(file));
    }
    if let Some(options) = &config.uplink {
        let (sender, client) = uplink::uplink(options.clone(), registry)?;
        out.uplink = Some(sender.view());
        out.all.push(Box::new(sender));
        out.client = Some(client);
    }
    Ok(out)
}

async fn admin(
    config: &Config,
    registry: Registry,
    ready: &Arc<AtomicBool>,
    status: Sources,
) -> Result<Option<JoinHandle<()>>, Error> {
    let Some(address) = config.admin else { return Ok(None) };
    let failed = |source| Error::Admin { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    info!(address = %bound, "admin endpoint");
    Ok(Some(tokio::spawn(admin::serve(listener, Arc::new(registry), Arc::clone(ready), Arc::new(status)))))
}

/// Orders to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }
}

/// A signal, the end of the time, or the end of capture by itself.
async fn until_told(mut signals: Signals, duration: Option<Duration>, capture_ended: oneshot::Receiver<()>) {
    let over = async {
        match duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = signals.terminate.recv() => info!("SIGTERM: stopping"),
        _ = signals.interrupt.recv() => info!("SIGINT: stopping"),
        () = over => info!("the time is over: stopping"),
        _ = capture_ended => {}
    }
}
