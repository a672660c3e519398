//! Windows side by side, as tensors.
//!
//! In: encoded windows. Out: tensors on a device, and values back from it. Never: a model.

use surprisal_scorer::detect::model::Encoded;
use surprisal_scorer::detect::vocab::PAD;
use tch::{Device, TchError, Tensor};

/// A tensor's values.
pub(super) fn floats(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    Vec::try_from(&tensor.f_to_device(Device::Cpu)?.f_contiguous()?.f_view([-1])?)
}

/// A tensor's values.
pub(super) fn ints(tensor: &Tensor) -> Result<Vec<i64>, TchError> {
    Vec::try_from(&tensor.f_to_device(Device::Cpu)?.f_contiguous()?.f_view([-1])?)
}

/// Windows side by side, padded to the longest.
pub(super) struct Batch {
    pub(super) inputs: Tensor,
    pub(super) targets: Tensor,
    /// 1 where a target is scored.
    pub(super) scored: Tensor,
    /// 1 where a target is no padding.
    pub(super) real: Tensor,
    pub(super) length: i64,
}

impl Batch {
    pub(super) fn new(windows: &[&Encoded], device: Device) -> Result<Self, TchError> {
        let length = windows.iter().map(|w| w.inputs.len()).max().unwrap_or(0);
        let n = windows.len() * length;
        let (mut inputs, mut targets, mut scored, mut real) = (vec![PAD; n], vec![PAD; n], vec![0f32; n], vec![0f32; n]);
        for (w, window) in windows.iter().enumerate() {
            let from = w * length;
            let to = from + window.inputs.len();
            inputs[from..to].copy_from_slice(&window.inputs);
            targets[from..to].copy_from_slice(&window.targets);
            real[from..to].fill(1.0);
            scored[from + window.scored_from..to].fill(1.0);
        }
        let shape = [windows.len() as i64, length as i64];
        let ints = |v: &[i64]| Tensor::f_from_slice(v)?.f_reshape(shape)?.f_to_device(device);
        let floats = |v: &[f32]| Tensor::f_from_slice(v)?.f_reshape(shape)?.f_to_device(device);
        Ok(Self {
            inputs: ints(&inputs)?,
            targets: ints(&targets)?,
            scored: floats(&scored)?,
            real: floats(&real)?,
            length: shape[1],
        })
    }
}
