//! The service for scores: get, list, watch.
//!
//! In: filters. Out: scores as they are now, and as they change. Never: a change.

use crate::containers::shared::Shared;
use futures::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use surprisal_proto::v1::{self, scores_server::Scores};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// How often a watcher looks for changes: what happens in between is seen as one.
const EVERY: Duration = Duration::from_millis(200);
/// Watchers at once.
const WATCHERS: usize = 256;

/// The service.
#[derive(Clone, Debug)]
pub struct Service {
    shared: Arc<Shared>,
    watchers: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl Service {
    /// Answers from the shared registry.
    pub fn new(shared: Arc<Shared>, shutdown: CancellationToken) -> Self {
        Self { shared, watchers: Arc::new(Semaphore::new(WATCHERS)), shutdown }
    }
}

#[tonic::async_trait]
impl Scores for Service {
    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        if filter == v1::Filter::default() {
            return Err(Status::invalid_argument("say which container: the filter is empty"));
        }
        let mut found = self.shared.registry().find(&filter, 2);
        match (found.pop(), found.pop()) {
            (None, _) => Err(Status::not_found("no container matches")),
            (Some(score), None) => Ok(Response::new(v1::GetResponse { score: Some(score) })),
            (Some(_), Some(_)) => Err(Status::invalid_argument("several containers match: say more, or list them")),
        }
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        let page = self.shared.registry().list(request.get_ref());
        page.map(Response::new).map_err(|e| Status::invalid_argument(e.to_string()))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let permit = Arc::clone(&self.watchers)
            .try_acquire_owned()
            .map_err(|_full| Status::resource_exhausted(format!("{WATCHERS} watchers are connected already")))?;
        let filter = request.into_inner().filter;
        let (shared, shutdown) = (Arc::clone(&self.shared), self.shutdown.clone());
        let (out, answers) = mpsc::channel(16);
        tokio::spawn(async move {
            let _permit = permit;
            let mut ticks = tokio::time::interval(EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut seen = 0;
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = out.closed() => return,
                    () = shutdown.cancelled() => {
                        let _ = out.send(Err(Status::unavailable("the scorer is shutting down"))).await;
                        return;
                    }
                }
                let changed = {
                    let registry = shared.registry();
                    let now = registry.revision();
                    let changed = if now == seen { Vec::new() } else { registry.changed_since(filter.as_ref(), seen) };
                    seen = now;
                    changed
                };
                // A slow reader holds this up; what changes meanwhile is sent once, as it then is.
                for score in changed {
                    if out.send(Ok(v1::WatchResponse { score: Some(score) })).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}
