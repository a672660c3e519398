//! The detector on calls: how surprising windows are to the workload's language model.
//!
//! In: windows of one thread's calls; profiles. Out: each window's score, with the calls behind it. Never: a threshold.
//!
//! A window's calls become classes, the model (or its memory, [`crate::detect::memo`]) says the surprisal of each, the known sets of
//! calls say how novel the set is, and [`score::window`] makes one number of it. Models of all workloads share one memory.

use crate::detect::detector::{Detector, Finding};
use crate::detect::evidence::Evidence;
use crate::detect::memo::{self, Memo};
use crate::detect::model::{Encoded, Judged, LanguageModel, ModelError};
use crate::detect::score;
use crate::detect::window::Window;
use crate::metrics::Metrics;
use crate::profile::archive::Profile;
use std::collections::HashMap;
use std::sync::Arc;

/// Makes a model of a profile, on the thread that will own it.
pub type Loader = Box<dyn Fn(&Profile) -> Result<Box<dyn LanguageModel>, ModelError> + Send>;

/// The models of all workloads.
pub struct Surprisal {
    models: HashMap<String, Loaded>,
    memo: Memo,
    installed: u64,
    loader: Loader,
    metrics: Metrics,
}

struct Loaded {
    profile: Arc<Profile>,
    version: Arc<str>,
    model: Box<dyn LanguageModel>,
    /// No other model has or will have it.
    number: u64,
}

impl Surprisal {
    /// Without a model yet; `loader` will make them.
    pub fn new(loader: Loader, metrics: Metrics) -> Self {
        Self { models: HashMap::new(), memo: Memo::new(memo::ENTRIES), installed: 0, loader, metrics }
    }
}

impl Detector for Surprisal {
    type Part = Window;

    fn install(&mut self, profile: Arc<Profile>) -> Result<(), ModelError> {
        let workload = profile.metadata.workload.clone();
        self.models.remove(&workload);
        let model = (self.loader)(&profile)?;
        let version = profile.metadata.version.as_str().into();
        self.installed += 1;
        self.models.insert(workload, Loaded { profile, version, model, number: self.installed });
        Ok(())
    }

    fn remove(&mut self, workload: &str) {
        self.models.remove(workload);
    }

    fn judge(&mut self, workload: &str, windows: &[&Window]) -> Option<Result<Vec<Finding>, ModelError>> {
        let loaded = self.models.get(workload)?;
        let findings = loaded.judge(&mut self.memo, windows);
        self.metrics.memo.tell(self.memo.counts(), self.memo.len());
        Some(findings)
    }
}

impl Loaded {
    fn judge(&self, memo: &mut Memo, windows: &[&Window]) -> Result<Vec<Finding>, ModelError> {
        let vocabulary = &self.profile.vocabulary;
        let all: Vec<_> = windows.iter().map(|window| Encoded::new(window, vocabulary)).collect();
        let judged = memo.judge(self.number, self.model.as_ref(), &all)?;
        let one = |((window, encoded), judged): ((&&Window, &Encoded), &Judged)| {
            let novelty = self.profile.novelty.nats(&window.calls);
            let score = score::window(&judged.nll, &window.calls, novelty);
            let evidence = Evidence::of(window, encoded, judged, (score, novelty), vocabulary);
            Finding { score, evidence, version: Arc::clone(&self.version) }
        };
        Ok(windows.iter().zip(&all).zip(&judged).map(one).collect())
    }
}
