//! Which containers are wanted.
//!
//! In: rules as people write them, a container's names. Out: yes or no. Pure.

use super::info::ContainerInfo;
use globset::{Glob, GlobMatcher};
use std::{fmt, str::FromStr};

/// What a selection rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Namespace,
    Pod,
    Container,
    Image,
    Id,
    Workload,
}

/// `KEY=GLOB`: namespace, pod, container, image, id or workload, and a pattern (`*`, `?`, `[a-z]`, `{a,b}`).
///
/// For a container outside Kubernetes, namespace is its runtime's and container is its id.
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
    #[error("{0:?} is none of namespace, pod, container, image, id, workload")]
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
            other => return Err(BadRule::Key(other.to_owned())),
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
        self.glob.is_match(match self.field {
            Field::Namespace if plain => &names.runtime_namespace,
            Field::Namespace => &names.namespace,
            Field::Pod => &names.pod,
            Field::Container if plain => c.id.as_str(),
            Field::Container => &names.name,
            Field::Image => &names.image,
            Field::Id => c.id.as_str(),
            Field::Workload => &names.workload,
        })
    }
}

/// Which containers are followed.
///
/// A container is, when no exclude rule matches it and, for each key that include rules name, one of them
/// does. Sandboxes never are. With include rules, a container without names is not (yet).
#[derive(Clone, Debug, Default)]
pub struct Selection {
    include: Vec<Rule>,
    exclude: Vec<Rule>,
}

impl Selection {
    /// From rules; none: everything but sandboxes.
    pub fn new(include: Vec<Rule>, exclude: Vec<Rule>) -> Self {
        Self { include, exclude }
    }

    /// Is it followed?
    pub fn wants(&self, c: &ContainerInfo) -> bool {
        !c.names.kind.is_sandbox()
            && !self.exclude.iter().any(|r| r.matches(c))
            && self.include.iter().all(|r| self.include.iter().any(|s| s.field == r.field && s.matches(c)))
    }
}

#[cfg(test)]
mod tests;
