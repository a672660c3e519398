//! The LSTM, through libtorch.
//!
//! In: encoded windows; weights as safetensors. Out: surprisals; from training, weights. Serving uses
//! [`surprisal_scorer::detect::fused`], which tests pin to this.
//! Never: a file, a score. No other module names `tch`.
//!
//! [`model`] is the model, [`teacher`] teaches it, `batch` puts windows side by side.
//!
//! Embedding, one LSTM layer, a linear head over all classes, f32. Each window starts from a zero state:
//! what came before it is shown as context, so a window's score does not depend on what was scored earlier.

mod batch;
pub mod failed;
pub mod model;
pub mod teacher;

#[cfg(test)]
mod tests;
