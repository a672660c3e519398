//! Two workloads under one name.
//!
//! In: containers as they are named. Out: what speaks for it that a workload's name is that of two: then a profile learns both, and knows
//! neither. Pure. Never: keeps a container from its workload; a person has to decide.
//!
//! Kinds of owners differ (a Deployment and a StatefulSet of one name), or owners are guessed and the images are different ones.

use std::collections::HashMap;
use std::sync::Arc;
use surprisal_proto::v1;

/// Workloads remembered; beyond, all are forgotten, and are learnt again.
const WORKLOADS_MAX: usize = 16_384;

/// Where a workload's containers come from, as the first of them said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    /// Empty: guessed.
    owner_kind: String,
    /// The image without its tag or digest; empty: not known.
    repository: String,
    told: bool,
}

/// All workloads.
#[derive(Debug, Default)]
pub(super) struct Origins(HashMap<Arc<str>, Origin>);

impl Origins {
    /// Takes a container of this workload. What is wrong with it, in words, the first time for each workload.
    pub(super) fn take(&mut self, workload: &Arc<str>, about: &v1::Container) -> Option<String> {
        let (kind, repository) = (about.owner_kind.as_str(), repository(&about.image));
        let Some(known) = self.0.get_mut(workload) else {
            if self.0.len() >= WORKLOADS_MAX {
                self.0.clear();
            }
            let origin = Origin { owner_kind: kind.to_owned(), repository: repository.to_owned(), told: false };
            self.0.insert(Arc::clone(workload), origin);
            return None;
        };
        let differ = |a: &str, b: &str| !a.is_empty() && !b.is_empty() && a != b;
        let guessed = kind.is_empty() || known.owner_kind.is_empty();
        let text = if differ(kind, &known.owner_kind) {
            format!("it is a {}'s and a {kind}'s", known.owner_kind)
        } else if guessed && differ(repository, &known.repository) {
            format!("its owner is guessed, and it has the images {} and {repository}", known.repository)
        } else {
            if known.owner_kind.is_empty() {
                kind.clone_into(&mut known.owner_kind);
            }
            return None;
        };
        (!std::mem::replace(&mut known.told, true)).then_some(text)
    }
}

/// `registry:5000/library/nginx:1.27@sha256:…` without tag and digest.
fn repository(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories() {
        for (image, expect) in [
            ("nginx", "nginx"),
            ("nginx:1.27", "nginx"),
            ("r:5000/a/nginx", "r:5000/a/nginx"),
            ("r:5000/a/nginx:1@sha256:00", "r:5000/a/nginx"),
            ("", ""),
        ] {
            assert_eq!(repository(image), expect);
        }
    }

    #[test]
    fn two_under_one_name_are_said_once() {
        let told = |containers: &[(&str, &str)]| {
            let mut origins = Origins::default();
            let take = |(kind, image): &(&str, &str)| {
                let about = v1::Container { owner_kind: (*kind).into(), image: (*image).into(), ..v1::Container::default() };
                origins.take(&"a/b/c".into(), &about)
            };
            containers.iter().filter_map(take).collect::<Vec<_>>()
        };
        for same in [
            &[("Deployment", "nginx:1"), ("Deployment", "nginx:2"), ("Deployment", "other")][..],
            &[("", "nginx:1"), ("", "nginx:2"), ("Deployment", "nginx:2"), ("Deployment", "other")],
            &[("", ""), ("", "nginx")],
        ] {
            assert_eq!(told(same), Vec::<String>::new(), "{same:?}");
        }
        let kinds = &[("Deployment", "a"), ("StatefulSet", "a"), ("StatefulSet", "a"), ("Job", "a")];
        assert_eq!(told(kinds), ["it is a Deployment's and a StatefulSet's"]);
        assert_eq!(told(&[("", "a:1"), ("", "b:1")]), ["its owner is guessed, and it has the images a and b"]);
        // First guessed, then told: from then on that is what others are compared with.
        assert_eq!(told(&[("", "a"), ("Deployment", "a"), ("Job", "a")]), ["it is a Deployment's and a Job's"]);
    }

    #[test]
    fn bounded() {
        let mut origins = Origins::default();
        for n in 0..=WORKLOADS_MAX {
            origins.take(&n.to_string().into(), &v1::Container::default());
        }
        assert_eq!(origins.0.len(), 1);
    }
}
