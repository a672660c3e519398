//! What can be evaluated: our own scores and the baselines, by one name.
//!
//! In: examples. Out: fitted methods, or why there is none. Never: a score, an attack where only normal is asked for.

use crate::evaluate::baseline::fit;
use crate::evaluate::baseline::method::{Example, FitError, Kind, Method};
use crate::train::progress::Progress;

/// Ways to score with the project's own model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ours {
    /// As shipped.
    Surprisal,
    /// The LSTM's mean surprisal and nothing else.
    Lstm,
}

impl Ours {
    /// Its key on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Surprisal => "surprisal",
            Self::Lstm => "lstm",
        }
    }
}

/// A method by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// The project's own.
    Ours(Ours),
    /// One to compare with.
    Baseline(Kind),
}

impl Name {
    /// All of them, in the order of a table.
    pub fn all() -> Vec<Self> {
        let ours = [Ours::Surprisal, Ours::Lstm].map(Self::Ours);
        ours.into_iter().chain(Kind::ALL.map(Self::Baseline)).collect()
    }

    /// Its key on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ours(ours) => ours.as_str(),
            Self::Baseline(kind) => kind.as_str(),
        }
    }
}

impl std::str::FromStr for Name {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::all().into_iter().find(|n| n.as_str() == text).ok_or_else(|| {
            let names: Vec<_> = Self::all().into_iter().map(Self::as_str).collect();
            format!("the methods are {}", names.join(", "))
        })
    }
}

/// Why a method gives no scores.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It is not made for this protocol.
    #[error("{0}")]
    NotApplicable(String),
    /// It should have worked.
    #[error("fitting")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<FitError> for Unfit {
    fn from(error: FitError) -> Self {
        match error {
            FitError::NotApplicable { why, .. } => Self::NotApplicable(why.to_owned()),
            error => Self::Failed(error.into()),
        }
    }
}

/// Makes methods.
pub trait Fitter {
    /// Its key on the command line and in JSON.
    fn key(&self) -> &str;

    /// Fits to normal examples alone. `seed` is of everything random.
    fn fit(&self, normal: &[Example<'_>], seed: u64, progress: &Progress) -> Result<Box<dyn Method>, Unfit>;

    /// Fits to examples of both kinds.
    fn fit_labelled(
        &self,
        normal: &[Example<'_>],
        attack: &[Example<'_>],
        seed: u64,
        progress: &Progress,
    ) -> Result<Box<dyn Method>, Unfit>;
}

impl Fitter for Kind {
    fn key(&self) -> &str {
        self.as_str()
    }

    fn fit(&self, normal: &[Example<'_>], seed: u64, _: &Progress) -> Result<Box<dyn Method>, Unfit> {
        Ok(fit::fit(*self, normal, seed)?)
    }

    fn fit_labelled(
        &self,
        normal: &[Example<'_>],
        attack: &[Example<'_>],
        seed: u64,
        _: &Progress,
    ) -> Result<Box<dyn Method>, Unfit> {
        Ok(fit::fit_labelled(*self, normal, attack, seed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for name in Name::all() {
            assert_eq!(name.as_str().parse(), Ok(name));
        }
        let refused = "strange".parse::<Name>().expect_err("refused");
        assert!(refused.starts_with("the methods are surprisal, lstm, stide, "), "{refused}");
    }
}
