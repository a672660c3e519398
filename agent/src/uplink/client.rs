//! The connection to the scorer, kept up.
//!
//! In: the order to stop. Out: one session (`session`) after another, until everything is delivered or the time is
//! over. Never: gives up before it is told to stop: a scorer that is away, refuses or falls silent is tried again, with
//! growing pauses.
//!
//! HTTP/2's keep-alive finds a connection whose other end vanished (half open) within [`KEEP_ALIVE`] and
//! [`KEEP_ALIVE_TIMEOUT`], 15 s in all; until then the queue holds what is not acknowledged.

use super::{
    address::{self, BadAddress},
    backoff::Backoff,
    options::Options,
    session::{CONNECT_TIMEOUT, Session},
    shared::Shared,
};
use crate::cause::chain;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use tracing::{error, warn};

/// A silent connection is asked whether it lives.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// And is given up without an answer.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What was still here when the time to stop came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undelivered {
    /// Calls not acknowledged.
    pub calls: u64,
}

/// The end that runs in a task.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    options: Options,
    instance: String,
    shared: Arc<Shared>,
}

impl Client {
    pub(super) fn new(options: Options, shared: Arc<Shared>) -> Result<Self, BadAddress> {
        let endpoint = address::check(&options.scorer)?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let instance = format!("{:032x}", rand::random::<u128>());
        Ok(Self { endpoint, options, instance, shared })
    }

    /// Keeps a connection up until `stop`; then delivers what is left, for at most `grace`.
    pub async fn run(self, stop: CancellationToken, grace: Duration) -> Undelivered {
        let given_up = async {
            stop.cancelled().await;
            sleep(grace).await;
        };
        tokio::select! {
            () = self.keep_up(&stop) => {}
            () = given_up => {}
        }
        self.shared.metrics.connected.set(0);
        let left = Undelivered { calls: self.shared.lock().queue.counts().waiting };
        if left.calls > 0 {
            error!(calls = left.calls, scorer = self.options.scorer, "stopping with calls that the scorer did not take");
        }
        left
    }

    /// Ends when it was stopped and everything is delivered.
    async fn keep_up(&self, stop: &CancellationToken) {
        let session =
            Session { endpoint: &self.endpoint, options: &self.options, instance: &self.instance, shared: &self.shared };
        let mut backoff = Backoff::default();
        let mut complained = false;
        loop {
            let lost = match session.run(stop, &mut backoff, &mut complained).await {
                Ok(()) => return,
                Err(lost) => lost,
            };
            self.shared.metrics.connected.set(0);
            if stop.is_cancelled() && self.shared.lock().queue.is_empty() {
                return;
            }
            let cause = chain(&lost);
            let scorer = &self.options.scorer;
            if lost.is_refusal() {
                error!(scorer, cause, "the scorer refuses this agent: are both of one version?");
            } else if !complained {
                warn!(scorer, cause, "no connection to the scorer; keeping what it misses, as far as the queue holds");
            }
            // Once an outage; the metrics tell the rest.
            complained = true;
            sleep(backoff.next(rand::random())).await;
        }
    }
}

#[cfg(test)]
mod tests;
