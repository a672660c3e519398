//! Which containers are wanted.
//!
//! In: rules as people write them, a container's names. Out: yes or no. Pure.

use super::info::{ContainerInfo, Watch};
use globset::{Glob, GlobMatcher};
use std::{fmt, str::FromStr};

/// What a selection rule looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    Namespace,
    Pod,
    Container,
    Image,
    Id,
    Workload,
    /// Of the pod, by its name.
    Label(String),
}

/// `KEY=GLOB`: namespace, pod, container, image, id, workload or `label:NAME`, and a pattern (`*`, `?`, `[a-z]`, `{a,b}`).
///
/// For a container outside Kubernetes, namespace is its runtime's and container is its id. A label that a pod does not have matches
/// no pattern.
#[derive(Clone, Debug)]
pub struct Rule {
    field: Field,
    glob: GlobMatcher,
    text: String,
}

/// Why a rule is none.
#[derive(Debug, thiserror::Error)]
pub enum BadRule {
    /// No `=`.
    #[error("{0:?} is not KEY=GLOB")]
    Shape(String),
    /// No such key.
    #[error("{0:?} is none of namespace, pod, container, image, id, workload, label:NAME")]
    Key(String),
    /// No such pattern.
    #[error("bad pattern")]
    Glob(#[source] globset::Error),
}

impl FromStr for Rule {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Self, BadRule> {
        let (key, glob) = text.split_once('=').ok_or_else(|| BadRule::Shape(text.to_owned()))?;
        let field = match key {
            "namespace" => Field::Namespace,
            "pod" => Field::Pod,
            "container" => Field::Container,
            "image" => Field::Image,
            "id" => Field::Id,
            "workload" => Field::Workload,
            other => match other.strip_prefix("label:").filter(|name| !name.is_empty()) {
                Some(name) => Field::Label(name.to_owned()),
                None => return Err(BadRule::Key(other.to_owned())),
            },
        };
        let glob = Glob::new(glob).map_err(BadRule::Glob)?.compile_matcher();
        Ok(Self { field, glob, text: text.to_owned() })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Rule {
    fn matches(&self, c: &ContainerInfo) -> bool {
        let names = &c.names;
        let plain = names.pod.is_empty();
        self.glob.is_match(match &self.field {
            Field::Namespace if plain => &names.runtime_namespace,
            Field::Namespace => &names.namespace,
            Field::Pod => &names.pod,
            Field::Container if plain => c.id.as_str(),
            Field::Container => &names.name,
            Field::Image => &names.image,
            Field::Id => c.id.as_str(),
            Field::Workload => &names.workload,
            Field::Label(name) => match names.labels.get(name) {
                Some(value) => value,
                None => return false,
            },
        })
    }
}

/// Whether a container is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Its pod's labels decide, and they are not known yet.
    NotYet,
}

/// Which containers are followed.
///
/// A container is, when its pod and namespace do not opt out of it, no exclude rule matches it and, for each key that include rules name,
/// one of them does. Sandboxes never are. With include rules, a container without names is not (yet).
#[derive(Clone, Debug, Default)]
pub struct Selection {
    include: Vec<Rule>,
    exclude: Vec<Rule>,
    labels_come: bool,
}

impl Selection {
    /// From rules; none: everything but sandboxes.
    pub fn new(include: Vec<Rule>, exclude: Vec<Rule>) -> Self {
        Self { include, exclude, labels_come: false }
    }

    /// Kubernetes is asked: where labels decide, a pod's are worth waiting for.
    #[must_use]
    pub fn with_labels(self) -> Self {
        Self { labels_come: true, ..self }
    }

    /// Whether a rule looks at labels.
    pub fn asks_for_labels(&self) -> bool {
        self.include.iter().chain(&self.exclude).any(|rule| matches!(rule.field, Field::Label(_)))
    }

    /// Is it followed?
    pub fn answer(&self, c: &ContainerInfo) -> Answer {
        if c.names.kind.is_sandbox() || c.watch == Watch::OptedOut {
            return Answer::No;
        }
        let unknown = self.labels_come && c.watch == Watch::Unknown && !c.names.pod.is_empty();
        // `None`: not known yet.
        let holds = |rule: &Rule| match rule.field {
            Field::Label(_) if unknown => None,
            _ => Some(rule.matches(c)),
        };
        let any = |rules: &mut dyn Iterator<Item = &Rule>| {
            let all: Vec<_> = rules.map(holds).collect();
            if all.contains(&Some(true)) { Some(true) } else { all.iter().all(Option::is_some).then_some(false) }
        };
        let excluded = any(&mut self.exclude.iter());
        let included = self.include.iter().map(|rule| any(&mut self.include.iter().filter(|other| other.field == rule.field)));
        let included: Vec<_> = included.collect();
        if excluded == Some(true) || included.contains(&Some(false)) {
            Answer::No
        } else if excluded.is_none() || included.contains(&None) {
            Answer::NotYet
        } else {
            Answer::Yes
        }
    }
}

#[cfg(test)]
mod tests;
