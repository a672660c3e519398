//! Why the model cannot be made, taught or asked.
//!
//! In: an error of libtorch's or of the scorer's. Out: [`Failed`]. Never: libtorch's C++ stack in a message for people.

use surprisal_scorer::detect::model::ModelError;
use tch::TchError;

/// Why the model cannot be made, taught or asked.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// libtorch failed.
    #[error("libtorch: {0}")]
    Torch(TchError),
    /// Something else did.
    #[error(transparent)]
    Model(ModelError),
}

impl From<TchError> for Failed {
    fn from(e: TchError) -> Self {
        Self::Torch(e)
    }
}

impl From<ModelError> for Failed {
    fn from(e: ModelError) -> Self {
        Self::Model(e)
    }
}

impl From<Failed> for ModelError {
    fn from(e: Failed) -> Self {
        match e {
            // libtorch appends its C++ stack; the first line says what happened.
            Failed::Torch(e) => Self::Compute(e.to_string().lines().next().unwrap_or_default().to_owned()),
            Failed::Model(e) => e,
        }
    }
}
