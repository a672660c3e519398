//! Teaches a model.
//!
//! In: windows with weights. Out: a model that has learned them. Never: says when it is enough.

use crate::lstm::batch::{Batch, floats};
use crate::lstm::failed::Failed;
use crate::lstm::model::{Lstm, Masks};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use surprisal_scorer::detect::model::Encoded;
use tch::nn::{self, OptimizerConfig};
use tch::{Kind, TchError, Tensor};

/// Share of values hidden while a window is learned, the same ones at all of its calls (Gal & Ghahramani 2016): the model then
/// does not lean on single ones.
const DROPOUT: f64 = 0.1;
/// Teaches a model.
#[derive(Debug)]
pub struct Teacher {
    /// What is taught.
    pub model: Lstm,
    optimizer: nn::Optimizer,
    rng: StdRng,
}

impl Teacher {
    /// With Adam. `seed`: of what is hidden in each step.
    pub fn new(model: Lstm, seed: u64) -> Result<Self, Failed> {
        let optimizer = nn::Adam::default().build(&model.vs, 1e-3)?;
        Ok(Self { model, optimizer, rng: StdRng::seed_from_u64(seed) })
    }

    /// One step on windows with weights, at least one; the mean surprisal of each before it, nats a call.
    ///
    /// Context is learned from too: that is where the model learns to go on from few calls.
    pub fn step(&mut self, windows: &[(Encoded, f32)], rate: f64) -> Result<Vec<f32>, Failed> {
        let device = self.model.vs.device();
        let encoded: Vec<_> = windows.iter().map(|(w, _)| w).collect();
        let batch = Batch::new(&encoded, device)?;
        let weights: Vec<f32> = windows.iter().map(|(_, weight)| *weight).collect();
        let weights = Tensor::f_from_slice(&weights)?.f_to_device(device)?.f_unsqueeze(1)?;
        let hide = |rng: &mut StdRng, width: i64| -> Result<Tensor, TchError> {
            let kept = (1.0 - DROPOUT) as f32;
            let n = windows.len() * width as usize;
            let values: Vec<f32> = (0..n).map(|_| if rng.random_bool(DROPOUT) { 0.0 } else { 1.0 / kept }).collect();
            Tensor::f_from_slice(&values)?.f_reshape([windows.len() as i64, 1, width])?.f_to_device(device)
        };
        let width = self.model.embedding.size()[1];
        let masks = Masks { embedded: hide(&mut self.rng, width)?, hidden: hide(&mut self.rng, self.model.hidden)? };
        let (nll, _, _) = self.model.nll(&batch, Some(&masks))?;
        let real = nll.f_mul(&batch.real)?;
        let each = real.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float)?;
        let length = batch.real.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float)?;
        let weights = batch.real.f_mul(&weights)?;
        let loss = nll.f_mul(&weights)?.f_sum(Kind::Float)?.f_div(&weights.f_sum(Kind::Float)?)?;
        self.optimizer.set_lr(rate);
        self.optimizer.backward_step_clip_norm(&loss, 1.0);
        Ok(floats(&each.f_div(&length)?.f_detach()?)?)
    }
}
