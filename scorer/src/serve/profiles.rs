//! The service for profiles: list, threshold, reset, export, import.
//!
//! In: requests; a directory that others change too. Out: profiles and thresholds in force, everywhere at once:
//! on disk, in the model's thread, in the verdicts. Never: a threshold in force that is not persisted.

use crate::cause::chain;
use crate::containers::shared::Shared;
use crate::inference::Command;
use crate::judge::threshold::{Judge, Source, Threshold};
use crate::profile::archive::{METADATA, Profile, WEIGHTS};
use crate::profile::error::ProfileError;
use crate::profile::name::check_workload;
use crate::profile::store::{Change, Store};
use crate::profile::wire;
use std::collections::HashMap;
use std::sync::Arc;
use surprisal_proto::v1::{self, profiles_server::Profiles};
use tokio::sync::{Mutex, mpsc};
use tonic::{Request, Response, Status};

/// Profiles in force.
#[derive(Debug)]
pub struct Service<S> {
    store: Arc<Mutex<S>>,
    shared: Arc<Shared>,
    inference: mpsc::Sender<Command>,
}

impl<S> Clone for Service<S> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), shared: Arc::clone(&self.shared), inference: self.inference.clone() }
    }
}

impl<S: Store + Send + 'static> Service<S> {
    /// Serves a store.
    pub fn new(store: S, shared: Arc<Shared>, inference: mpsc::Sender<Command>) -> Self {
        Self { store: Arc::new(Mutex::new(store)), shared, inference }
    }

    /// Looks at the directory, and puts into force what changed. Call a few times a second.
    pub async fn refresh(&self) -> Result<(), ProfileError> {
        let mut store = Arc::clone(&self.store).lock_owned().await;
        // Files are read off the runtime's threads, which have streams to serve.
        let scanned = tokio::task::spawn_blocking(move || {
            let changes = store.scan();
            (store, changes)
        });
        let Ok((store, changes)) = scanned.await else { return Ok(()) };
        for change in changes? {
            let command = match change {
                Change::Loaded(profile) => {
                    let m = &profile.metadata;
                    tracing::info!(workload = %m.workload, version = %m.version, threshold = m.calibration.threshold.nats(), "profile loaded");
                    Command::Install(profile)
                }
                Change::Gone(workload) => {
                    tracing::info!(workload, "profile gone");
                    Command::Remove(workload)
                }
            };
            // Before the judges: a window judged by the new threshold must find the new model.
            if self.inference.send(command).await.is_err() {
                return Ok(());
            }
        }
        self.judge(&store);
        Ok(())
    }

    fn judge(&self, store: &S) {
        let judges: HashMap<_, _> = store
            .iter()
            .filter_map(|p| {
                let (threshold, source) = store.threshold(&p.metadata.workload)?;
                let version = p.metadata.version.as_str().into();
                Some((p.metadata.workload.clone(), Judge { version, threshold, source, seen: p.seen() }))
            })
            .collect();
        self.shared.registry().set_judges(judges);
    }

    async fn refreshed(&self) -> Result<(), Status> {
        self.refresh().await.map_err(|e| failed(&e))
    }
}

fn failed(error: &ProfileError) -> Status {
    tracing::error!(error = chain(error), "profile could not be changed");
    Status::internal(chain(error))
}

fn not_found(workload: &str) -> Status {
    Status::not_found(format!("no profile for workload {workload:?}"))
}

/// The message about a profile of this store.
fn message(store: &impl Store, profile: &Profile) -> v1::Profile {
    let c = &profile.metadata.calibration;
    wire::message(profile, store.threshold(&profile.metadata.workload).unwrap_or((c.threshold, Source::Quantiles)))
}

#[tonic::async_trait]
impl<S: Store + Send + 'static> Profiles for Service<S> {
    async fn list(&self, _: Request<v1::ListProfilesRequest>) -> Result<Response<v1::ListProfilesResponse>, Status> {
        let store = self.store.lock().await;
        Ok(Response::new(v1::ListProfilesResponse { profiles: store.iter().map(|p| message(&*store, p)).collect() }))
    }

    async fn get(&self, request: Request<v1::GetProfileRequest>) -> Result<Response<v1::GetProfileResponse>, Status> {
        let workload = request.into_inner().workload;
        let store = self.store.lock().await;
        let profile = store.get(&workload).ok_or_else(|| not_found(&workload))?;
        Ok(Response::new(v1::GetProfileResponse { profile: Some(message(&*store, profile)) }))
    }

    async fn set_threshold(
        &self,
        request: Request<v1::SetThresholdRequest>,
    ) -> Result<Response<v1::SetThresholdResponse>, Status> {
        let v1::SetThresholdRequest { workload, threshold } = request.into_inner();
        let threshold = threshold.map(Threshold::try_from).transpose().map_err(|e| Status::invalid_argument(e.to_string()))?;
        let mut store = self.store.lock().await;
        if !workload.is_empty() && store.get(&workload).is_none() {
            return Err(not_found(&workload));
        }
        let in_force = |store: &S| store.iter().map(|p| message(store, p)).collect::<Vec<_>>();
        let before = in_force(&store);
        store.set_threshold((!workload.is_empty()).then_some(workload.as_str()), threshold).map_err(|e| failed(&e))?;
        self.judge(&store);
        let profiles: Vec<_> = in_force(&store).into_iter().filter(|p| !before.contains(p)).collect();
        tracing::info!(workload, threshold = threshold.map(Threshold::nats), changed = profiles.len(), "threshold set");
        Ok(Response::new(v1::SetThresholdResponse { profiles }))
    }

    async fn reset(&self, request: Request<v1::ResetRequest>) -> Result<Response<v1::ResetResponse>, Status> {
        let workload = request.into_inner().workload;
        let mut store = self.store.lock().await;
        if !store.remove(&workload).map_err(|e| failed(&e))? {
            return Err(not_found(&workload));
        }
        self.judge(&store);
        drop(store);
        tracing::info!(workload, "profile reset");
        let _ = self.inference.send(Command::Remove(workload)).await;
        Ok(Response::new(v1::ResetResponse {}))
    }

    async fn export(&self, request: Request<v1::ExportRequest>) -> Result<Response<v1::ExportResponse>, Status> {
        let workload = request.into_inner().workload;
        let store = self.store.lock().await;
        let profile = store.get(&workload).ok_or_else(|| not_found(&workload))?;
        let metadata = profile.metadata_json().map_err(|e| failed(&e))?;
        let archive = v1::ProfileArchive { metadata, weights: profile.weights.clone() };
        Ok(Response::new(v1::ExportResponse { archive: Some(archive) }))
    }

    async fn import(&self, request: Request<v1::ImportRequest>) -> Result<Response<v1::ImportResponse>, Status> {
        let v1::ImportRequest { archive, workload } = request.into_inner();
        let archive = archive.ok_or_else(|| Status::invalid_argument("there is no archive"))?;
        let refused = |e: ProfileError| Status::invalid_argument(chain(&e));
        let mut profile = Profile::parse(&archive.metadata, archive.weights).map_err(refused)?;
        if !workload.is_empty() {
            check_workload(&workload).map_err(refused)?;
            profile.metadata.workload = workload;
        }
        self.store.lock().await.import(&profile).map_err(|e| failed(&e))?;
        self.refreshed().await?;
        let workload = &profile.metadata.workload;
        let store = self.store.lock().await;
        let taken = store.get(workload).ok_or_else(|| {
            Status::resource_exhausted(format!(
                "{METADATA} and {WEIGHTS} are written, but there are too many profiles to keep them"
            ))
        })?;
        Ok(Response::new(v1::ImportResponse { profile: Some(message(&*store, taken)) }))
    }
}
