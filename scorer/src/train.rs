//! From recordings of normal behaviour to a profile.
//!
//! In: recordings (JSON Lines, see `surprisal_proto::recording`). Out: a [`crate::profile::archive::Profile`] for each
//! workload. Never: a window of a recording that is labelled as anything but normal, unless asked to.
//!
//! [`corpus`] reads [`recording`]s and cuts them by the rule of [`crate::detect::window`], into [`workload`]s; [`split`] holds out
//! contiguous stretches of time; [`select`] bounds what is trained on; the crate `surprisal-learn` trains and calibrates, on what
//! [`timeline`] puts back into the order of time.

pub mod corpus;
pub mod progress;
pub mod recording;
pub mod select;
pub mod split;
pub mod timeline;
pub mod workload;

/// Share of calls that are shown as unknown in training: the probability that the model learns to give
/// to what it never saw.
pub const UNKNOWN_SHARE: f64 = 0.005;
/// What a call costs that training never saw, nats: about what a model that learned [`UNKNOWN_SHARE`] gives it.
pub fn unseen_nats(vocabulary: &crate::detect::vocab::Vocabulary) -> f64 {
    (vocabulary.unseen() as f64).ln() - UNKNOWN_SHARE.ln()
}

/// Share of windows whose context is replaced by a thread's start: an agent may begin in a thread's middle.
pub const START_SHARE: f64 = 0.05;
/// Fewest windows that a profile can be made of.
pub const FEWEST_WINDOWS: usize = 25;

/// How to train.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Sizes of the model.
    pub sizes: crate::detect::model::Sizes,
    /// Windows trained on at most; see [`select`].
    pub max_windows: usize,
    /// Passes at most; 0: as many as fit the budget of who teaches.
    pub epochs: u32,
    /// False alarms per container-day.
    pub budget: f64,
    /// Seed of everything random.
    pub seed: u64,
    /// Cores one operation may use.
    pub threads: u16,
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// There is too little to learn from.
    #[error("{workload}: {windows} windows are too few to train on (at least {FEWEST_WINDOWS}): record longer, or under load")]
    TooFew {
        /// Whose.
        workload: String,
        /// Windows in the recordings.
        windows: usize,
    },
    /// The model failed.
    #[error("{workload}: training failed")]
    Model {
        /// Whose.
        workload: String,
        /// Why.
        #[source]
        source: crate::detect::model::ModelError,
    },
    /// No threshold could be drawn.
    #[error("{workload}: calibration failed")]
    Calibration {
        /// Whose.
        workload: String,
        /// Why.
        #[source]
        source: crate::judge::calibration::CalibrationError,
    },
    /// The weights could not be written.
    #[error("{workload}: the weights could not be serialised")]
    Weights {
        /// Whose.
        workload: String,
        /// Why.
        #[source]
        source: crate::profile::weights::WeightsError,
    },
}
