//! The API server: what it says as long as it says it.
//!
//! In: a [`Source`], this node's name. Out: a [`Directory`] that is kept up to date. Never: writes to the API, asks for another node's pods.
//!
//! kube's watcher lists, watches, and begins again with a growing pause when the connection breaks.

use super::{
    directory::{Directory, PODS_MAX, PodName, Watched},
    owner::{self, Above, Between, Owner},
    pod::{self, PodFacts, WATCH},
    source::{BadSource, Source},
};
use crate::cause;
use futures::{Stream, StreamExt as _};
use k8s_openapi::{
    api::{
        apps::v1::ReplicaSet,
        batch::v1::Job,
        core::v1::{Namespace, Pod},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use lru::LruCache;
use std::{collections::HashSet, num::NonZeroUsize, time::Duration};
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

/// ReplicaSets and Jobs whose owners are remembered.
const OWNERS_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");
/// How long a question for one of them may take.
const QUESTION: Duration = Duration::from_secs(3);
/// After one that was not answered, how long owners are told without asking; then pods whose owner was not told are looked at again.
const PAUSE: Duration = Duration::from_secs(30);

/// Begins to watch; the task runs until it is dropped. Without an API server, a directory that knows nobody.
pub async fn watch(source: &Source, node: &str) -> Result<(Directory, Option<impl Future<Output = ()> + use<>>), BadSource> {
    let directory = Directory::default();
    let Some(client) = source.client().await? else { return Ok((directory, None)) };
    directory.asked();
    let watching = Watching {
        client,
        node: node.to_owned(),
        directory: directory.clone(),
        owners: LruCache::new(OWNERS_MAX),
        silent_until: None,
        warned: false,
        untold: HashSet::new(),
        listed: HashSet::new(),
        listed_namespaces: HashSet::new(),
    };
    Ok((directory, Some(watching.run())))
}

/// The task's state.
struct Watching {
    client: Client,
    node: String,
    directory: Directory,
    owners: LruCache<(Between, String, String), Owner>,
    /// The API server did not answer a question: none is asked until then.
    silent_until: Option<Instant>,
    /// That was said.
    warned: bool,
    /// Pods whose owner could not be asked for.
    untold: HashSet<PodName>,
    /// What the list that is being read has brought.
    listed: HashSet<PodName>,
    listed_namespaces: HashSet<String>,
}

/// The API server did not answer, or refused.
struct Unanswered;

impl Watching {
    async fn run(mut self) {
        let of_this_node = watcher::Config::default().fields(&format!("spec.nodeName={}", self.node));
        let mut pods = std::pin::pin!(stream::<Pod>(&self.client, of_this_node));
        let mut namespaces = std::pin::pin!(stream::<PartialObjectMeta<Namespace>>(&self.client, watcher::Config::default()));
        let mut again = tokio::time::interval(PAUSE);
        loop {
            tokio::select! {
                Some(event) = pods.next() => match event {
                    Ok(event) => self.pod(event).await,
                    Err(error) => self.failed(Watched::Pods, &error),
                },
                Some(event) = namespaces.next() => match event {
                    Ok(event) => self.namespace(event),
                    Err(error) => self.failed(Watched::Namespaces, &error),
                },
                _ = again.tick() => self.ask_again().await,
            }
        }
    }

    async fn pod(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.insert(name(&pod.metadata));
                self.put(&pod).await;
            }
            Event::InitDone => {
                self.directory.keep_pods(&self.listed);
                self.untold.retain(|name| self.listed.contains(name));
                self.listed.clear();
                self.answered(Watched::Pods);
                self.directory.listed(Watched::Pods);
                debug!(pods = self.directory.report().pods, "listed this node's pods");
            }
            Event::Apply(pod) => {
                self.answered(Watched::Pods);
                self.put(&pod).await;
            }
            Event::Delete(pod) => {
                let name = name(&pod.metadata);
                self.untold.remove(&name);
                self.directory.remove(&name);
            }
        }
    }

    fn namespace(&mut self, event: Event<PartialObjectMeta<Namespace>>) {
        let said = |meta: &ObjectMeta| meta.annotations.as_ref()?.get(WATCH).and_then(|value| pod::said(value));
        match event {
            Event::Init => self.listed_namespaces.clear(),
            Event::InitApply(namespace) => {
                let name = namespace.metadata.name.clone().unwrap_or_default();
                if let Some(watch) = said(&namespace.metadata) {
                    self.directory.put_namespace(&name, Some(watch));
                    self.listed_namespaces.insert(name);
                }
            }
            Event::InitDone => {
                self.directory.keep_namespaces(&self.listed_namespaces);
                self.listed_namespaces.clear();
                self.answered(Watched::Namespaces);
                self.directory.listed(Watched::Namespaces);
            }
            Event::Apply(namespace) => {
                self.answered(Watched::Namespaces);
                self.directory.put_namespace(namespace.metadata.name.as_deref().unwrap_or_default(), said(&namespace.metadata));
            }
            Event::Delete(namespace) => {
                self.directory.put_namespace(namespace.metadata.name.as_deref().unwrap_or_default(), None);
            }
        }
    }

    async fn put(&mut self, pod: &Pod) {
        let name = name(&pod.metadata);
        let owner = match owner::above(&pod.metadata, &self.node) {
            Above::Owner(owner) => Some(owner),
            Above::Between(between, of) => {
                let told = self.behind(between, &name.0, &of).await;
                // A pod beyond the directory's bound is not looked at again either.
                if told.is_err() && self.untold.len() < PODS_MAX {
                    self.untold.insert(name.clone());
                }
                told.ok().flatten().or_else(|| owner::without_asking(between, &of, &pod.metadata))
            }
        };
        if let Some(value) = pod.metadata.annotations.as_ref().and_then(|a| a.get(WATCH)).filter(|v| pod::said(v).is_none()) {
            warn!(namespace = name.0, pod = name.1, value, "{WATCH} is neither \"true\" nor \"false\", and counts as not said");
        }
        self.directory.put(name, PodFacts::new(pod, owner));
    }

    /// Who owns a ReplicaSet or a Job. `None`: it is gone, and its pods go.
    async fn behind(&mut self, between: Between, namespace: &str, name: &str) -> Result<Option<Owner>, Unanswered> {
        let key = (between, namespace.to_owned(), name.to_owned());
        if let Some(owner) = self.owners.get(&key) {
            return Ok(Some(owner.clone()));
        }
        if self.silent() {
            return Err(Unanswered);
        }
        let question = async {
            let client = self.client.clone();
            match between {
                Between::ReplicaSet => {
                    Api::<ReplicaSet>::namespaced(client, namespace).get_metadata_opt(name).await.map(|o| o.map(|o| o.metadata))
                }
                Between::Job => {
                    Api::<Job>::namespaced(client, namespace).get_metadata_opt(name).await.map(|o| o.map(|o| o.metadata))
                }
            }
        };
        let error = match timeout(QUESTION, question).await {
            Ok(Ok(meta)) => {
                self.warned = false;
                let owner = meta.map(|meta| owner::behind(between, &meta));
                if let Some(owner) = &owner {
                    self.owners.put(key, owner.clone());
                }
                return Ok(owner);
            }
            Ok(Err(error)) => cause::chain(&error),
            Err(_over) => format!("no answer within {} s", QUESTION.as_secs()),
        };
        if !std::mem::replace(&mut self.warned, true) {
            warn!(
                error,
                "cannot ask who owns {between:?} {namespace}/{name}: where pods do not tell themselves, owners are guessed"
            );
        }
        self.silent_until = Some(Instant::now() + PAUSE);
        Err(Unanswered)
    }

    /// No question is asked now.
    fn silent(&self) -> bool {
        self.silent_until.is_some_and(|until| Instant::now() < until)
    }

    /// Looks again at pods whose owner could not be asked for.
    async fn ask_again(&mut self) {
        for (namespace, name) in self.untold.clone() {
            if self.silent() {
                return;
            }
            let pods = Api::<Pod>::namespaced(self.client.clone(), &namespace);
            match timeout(QUESTION, pods.get_opt(&name)).await {
                Ok(Ok(pod)) => {
                    self.untold.remove(&(namespace, name));
                    if let Some(pod) = pod {
                        self.put(&pod).await;
                    }
                }
                Ok(Err(_)) | Err(_) => self.silent_until = Some(Instant::now() + PAUSE),
            }
        }
    }

    fn answered(&self, watched: Watched) {
        if self.directory.answered(watched) {
            info!(?watched, "the Kubernetes API answers again");
        }
    }

    fn failed(&self, watched: Watched, error: &watcher::Error) {
        let what = match watched {
            Watched::Pods => "pods",
            Watched::Namespaces => "namespaces",
        };
        let text = format!("{what}: {}", cause::chain(error));
        if self.directory.failed(watched, text.clone()) {
            warn!(error = text, "the Kubernetes API does not answer: owners are guessed where it has not said them");
        }
    }
}

fn stream<K>(client: &Client, config: watcher::Config) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + use<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    watcher(Api::<K>::all(client.clone()), config).default_backoff()
}

fn name(meta: &ObjectMeta) -> PodName {
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}
