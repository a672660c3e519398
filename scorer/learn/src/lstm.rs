//! The LSTM, through libtorch.
//!
//! In: encoded windows; weights as safetensors. Out: surprisals; from training, weights. Serving uses
//! [`surprisal_scorer::detect::fused`], which
//! is pinned to this by tests.
//! Never: a file, a score. The only module that names `tch`.
//!
//! Embedding, one LSTM layer, a linear head over all classes, f32. Each window starts from a zero state:
//! what came before it is shown as context, so a window's score does not depend on what was scored earlier.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::collections::BTreeMap;
use surprisal_scorer::detect::model::{Encoded, Judged, LONGEST, LanguageModel, ModelError, OWN, Position, Sizes};
use surprisal_scorer::detect::vocab::{PAD, UNKNOWN};
use surprisal_scorer::judge::verdict::{CANDIDATES, EXPECTED};
use surprisal_scorer::profile::weights::{self, TensorData};
use tch::nn::{self, OptimizerConfig};
use tch::{Device, Kind, TchError, Tensor};

/// Share of values hidden while a window is learned, the same ones at all of its calls (Gal & Ghahramani 2016): the model then
/// does not lean on single ones.
const DROPOUT: f64 = 0.1;
/// Windows computed at once; more gains nothing on a CPU and costs memory.
const BATCH: usize = 128;
/// A window is padded to the next of these lengths at most, so that short ones stay cheap.
const LENGTHS: [usize; 4] = [16, 32, 48, LONGEST];

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

/// How many cores one operation may use.
pub fn set_threads(threads: u16) {
    tch::set_num_threads(i32::from(threads.max(1)));
}

/// "cuda" when libtorch has one, else "cpu".
pub fn device() -> &'static str {
    if Device::cuda_if_available().is_cuda() { "cuda" } else { "cpu" }
}

/// The model.
#[derive(Debug)]
pub struct Lstm {
    vs: nn::VarStore,
    embedding: Tensor,
    layer: [Tensor; 4],
    head: [Tensor; 2],
    hidden: i64,
    unseen_nats: f64,
}

impl Lstm {
    /// With random weights. `unseen`: how many tokens share the unknown class.
    pub fn new(sizes: Sizes, classes: usize, unseen: usize, seed: i64) -> Result<Self, Failed> {
        tch::manual_seed(seed);
        let vs = nn::VarStore::new(Device::cuda_if_available());
        let (e, h, c) = (i64::from(sizes.embedding), i64::from(sizes.hidden), classes as i64);
        let root = vs.root();
        let bound = 1.0 / (h as f64).sqrt();
        let uniform = |name: &str, dims: &[i64]| root.f_var(name, dims, nn::Init::Uniform { lo: -bound, up: bound });
        let embedding = root.f_var("embedding", &[c, e], nn::Init::Randn { mean: 0.0, stdev: 0.5 })?;
        let layer = [
            uniform("weight_ih", &[4 * h, e])?,
            uniform("weight_hh", &[4 * h, h])?,
            uniform("bias_ih", &[4 * h])?,
            uniform("bias_hh", &[4 * h])?,
        ];
        let head = [uniform("head_weight", &[c, h])?, uniform("head_bias", &[c])?];
        Ok(Self { embedding, layer, head, hidden: h, unseen_nats: (unseen.max(1) as f64).ln(), vs })
    }

    /// From a weights' file; what it holds must be a model of these sizes.
    pub fn load(bytes: &[u8], sizes: Sizes, classes: usize, unseen: usize) -> Result<Self, Failed> {
        let mut model = Self::new(sizes, classes, unseen, 0)?;
        let tensors = weights::read(bytes, sizes, classes).map_err(|e| ModelError::Weights(e.to_string()))?;
        tch::no_grad(|| -> Result<(), Failed> {
            for (name, variable) in &mut model.vs.variables() {
                let data = tensors.get(name.as_str()).ok_or_else(|| ModelError::Weights(format!("{name} is missing")))?;
                variable.f_copy_(&Tensor::f_from_slice(&data.values)?.f_reshape(variable.size())?)?;
            }
            Ok(())
        })?;
        model.vs.freeze();
        Ok(model)
    }

    /// The weights by name.
    pub fn weights(&self) -> Result<BTreeMap<String, TensorData>, Failed> {
        let export = |(name, tensor): (String, Tensor)| {
            let shape = tensor.size().iter().map(|n| *n as usize).collect();
            Ok((name, TensorData { shape, values: floats(&tensor.f_detach()?)? }))
        };
        self.vs.variables().into_iter().map(export).collect()
    }

    /// Logits of every class after every input; while learning with some embedded and hidden values hidden.
    fn forward(&self, inputs: &Tensor, hide: Option<&Masks>) -> Result<Tensor, TchError> {
        let mut embedded = Tensor::f_embedding(&self.embedding, inputs, -1, false, false)?;
        if let Some(masks) = hide {
            embedded = embedded.f_mul(&masks.embedded)?;
        }
        let state = Tensor::f_zeros([1, inputs.size()[0], self.hidden], (self.embedding.kind(), self.vs.device()))?;
        let layer: Vec<&Tensor> = self.layer.iter().collect();
        let (mut out, _, _) = embedded.f_lstm(&[&state, &state], &layer, true, 1, 0.0, false, false, true)?;
        let [weight, bias] = &self.head;
        if let Some(masks) = hide {
            out = out.f_mul(&masks.hidden)?;
        }
        out.f_linear(weight, Some(bias))
    }

    /// −ln p of each target, with the logits and their normaliser.
    fn nll(&self, batch: &Batch, hide: Option<&Masks>) -> Result<(Tensor, Tensor, Tensor), TchError> {
        let logits = self.forward(&batch.inputs, hide)?.f_to_kind(Kind::Float)?;
        let norm = logits.f_logsumexp([-1], false)?;
        let picked = logits.f_gather(2, &batch.targets.f_unsqueeze(2)?, false)?.f_squeeze_dim(2)?;
        Ok((norm.f_sub(&picked)?, logits, norm))
    }

    /// With weights and states of 16 bits, to compare speeds with; it does not learn any more.
    #[must_use]
    pub fn into_bf16(mut self) -> Self {
        self.vs.bfloat16();
        self
    }

    /// Surprisals alone, without what was expected, of windows of about one length; `batch` of them at once.
    pub fn surprisals(&self, windows: &[Encoded], batch: usize) -> Result<Vec<Vec<f32>>, Failed> {
        let _guard = tch::no_grad_guard();
        let mut all = Vec::with_capacity(windows.len());
        for part in windows.chunks(batch.max(1)) {
            let chosen: Vec<_> = part.iter().collect();
            let batch = Batch::new(&chosen, self.vs.device())?;
            let (nll, _, _) = self.nll(&batch, None)?;
            let unseen = batch.targets.f_eq(UNKNOWN)?.f_to_kind(Kind::Float)?.f_mul_scalar(self.unseen_nats)?;
            let (nll, length) = (floats(&nll.f_add(&unseen)?)?, batch.length as usize);
            all.extend(
                part.iter().enumerate().map(|(w, window)| nll[w * length..][window.scored_from..window.targets.len()].to_vec()),
            );
        }
        Ok(all)
    }

    fn judge_batch(&self, windows: &[&Encoded]) -> Result<Vec<Judged>, TchError> {
        let batch = Batch::new(windows, self.vs.device())?;
        let (nll, logits, norm) = self.nll(&batch, None)?;
        let unseen = batch.targets.f_eq(UNKNOWN)?.f_to_kind(Kind::Float)?.f_mul_scalar(self.unseen_nats)?;
        let nll = nll.f_add(&unseen)?;
        // No surprisal is negative: with 1 added, context and padding (0) sort last.
        let scored = nll.f_add_scalar(1.0)?.f_mul(&batch.scored)?;
        let top = (CANDIDATES as i64).min(batch.length);
        let (_, at) = scored.f_topk(top, 1, true, true)?;
        let classes = logits.size()[2];
        let wide = at.f_unsqueeze(2)?.f_expand([-1, -1, classes], false)?;
        let p = logits.f_gather(1, &wide, false)?.f_sub(&norm.f_gather(1, &at, false)?.f_unsqueeze(2)?)?.f_exp()?;
        // More than are shown: the call itself, or a class without a name, may be among them.
        let kept = (EXPECTED as i64 + 2).min(classes);
        let (p, class) = p.f_topk(kept, 2, true, true)?;

        let (nll, p) = (floats(&nll)?, floats(&p)?);
        let (at, class) = (ints(&at)?, ints(&class)?);
        let (length, top, kept) = (batch.length as usize, top as usize, kept as usize);
        let judged = windows.iter().enumerate().map(|(w, window)| {
            let nll = nll[w * length + window.scored_from..w * length + window.targets.len()].to_vec();
            let positions = (0..top.min(nll.len())).filter_map(|k| {
                let from = (w * top + k) * kept;
                let index = usize::try_from(at[w * top + k]).ok()?.checked_sub(window.scored_from)?;
                nll.get(index).filter(|n| **n >= OWN)?;
                let expected = class[from..from + kept].iter().copied().zip(p[from..from + kept].iter().copied()).collect();
                Some(Position { index, expected })
            });
            Judged { top: positions.collect(), nll }
        });
        Ok(judged.collect())
    }
}

impl LanguageModel for Lstm {
    fn judge(&self, windows: &[Encoded]) -> Result<Vec<Judged>, ModelError> {
        let mut order: Vec<usize> = (0..windows.len()).collect();
        order.sort_by_key(|i| windows[*i].inputs.len());
        let bucket = |i: usize| LENGTHS.partition_point(|n| *n < windows[i].inputs.len());
        let mut answers: Vec<Option<Judged>> = vec![None; windows.len()];
        let _guard = tch::no_grad_guard();
        for group in order.chunk_by(|a, b| bucket(*a) == bucket(*b)) {
            for part in group.chunks(BATCH) {
                let chosen: Vec<_> = part.iter().map(|i| &windows[*i]).collect();
                for (i, judged) in part.iter().zip(self.judge_batch(&chosen).map_err(Failed::from)?) {
                    answers[*i] = Some(judged);
                }
            }
        }
        answers.into_iter().map(|a| a.ok_or_else(|| ModelError::Compute("a window was left out".into()))).collect()
    }
}

fn floats(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    Vec::try_from(&tensor.f_to_device(Device::Cpu)?.f_contiguous()?.f_view([-1])?)
}

fn ints(tensor: &Tensor) -> Result<Vec<i64>, TchError> {
    Vec::try_from(&tensor.f_to_device(Device::Cpu)?.f_contiguous()?.f_view([-1])?)
}

/// Windows side by side, padded to the longest.
struct Batch {
    inputs: Tensor,
    targets: Tensor,
    /// 1 where a target is scored.
    scored: Tensor,
    /// 1 where a target is no padding.
    real: Tensor,
    length: i64,
}

impl Batch {
    fn new(windows: &[&Encoded], device: Device) -> Result<Self, TchError> {
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

/// What is hidden of each window of a batch, \[windows, 1, width\]: 0, or else what makes up for it.
struct Masks {
    embedded: Tensor,
    hidden: Tensor,
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use surprisal_scorer::detect::vocab::BOS;

    const SIZES: Sizes = Sizes { embedding: 8, hidden: 16 };
    const CLASSES: usize = 9;
    const UNSEEN: usize = 100;

    fn window(calls: &[i64], scored_from: usize) -> Encoded {
        let inputs = std::iter::once(BOS).chain(calls[..calls.len() - 1].iter().copied()).collect();
        Encoded { inputs, targets: calls.to_vec(), scored_from }
    }

    fn saved(model: &Lstm) -> Vec<u8> {
        weights::write(&model.weights().expect("weights"), "v").expect("serialises")
    }

    fn close(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4), "{a:?} is not {b:?}");
    }

    #[test]
    fn what_is_loaded_says_what_was_saved() {
        let model = Lstm::new(SIZES, CLASSES, UNSEEN, 7).expect("a model");
        let windows = [window(&[3, 4, 5, 3], 0), window(&[8, 8], 1)];
        let bytes = saved(&model);
        let again = Lstm::load(&bytes, SIZES, CLASSES, UNSEEN).expect("loads");
        assert_eq!(again.judge(&windows).expect("judges"), model.judge(&windows).expect("judges"));
        assert_eq!(saved(&again), bytes);
        let other =
            Lstm::load(&bytes, SIZES, CLASSES + 1, UNSEEN).map_err(ModelError::from).expect_err("other sizes").to_string();
        assert_eq!(other, "the weights do not fit: tensor embedding: is F32 [9, 8], expected F32 [10, 8]");
    }

    #[test]
    fn an_answer_does_not_depend_on_neighbours() {
        let model = Lstm::new(SIZES, CLASSES, UNSEEN, 7).expect("a model");
        let windows: Vec<_> =
            (1..80).map(|n| window(&(0..n).map(|i| 3 + (i * n) % 6).collect::<Vec<_>>(), usize::from(n > 20) * 16)).collect();
        let together = model.judge(&windows).expect("judges");
        for (window, judged) in windows.iter().zip(&together) {
            let alone = &model.judge(std::slice::from_ref(window)).expect("judges")[0];
            close(&alone.nll, &judged.nll);
            assert_eq!(judged.nll.len(), window.targets.len() - window.scored_from);
            assert!(judged.top.len() == judged.nll.len().min(CANDIDATES));
            let top: Vec<_> = judged.top.iter().map(|p| judged.nll[p.index]).collect();
            assert!(top.is_sorted_by(|a, b| *a >= b - 1e-5), "{top:?}");
            let highest = judged.nll.iter().copied().fold(f32::MIN, f32::max);
            close(&top[..1], &[highest]);
        }
        assert!(model.judge(&[]).expect("nothing").is_empty());
    }

    #[test]
    fn probabilities_sum_to_one_and_the_unknown_share_theirs() {
        let model = Lstm::new(SIZES, CLASSES, UNSEEN, 7).expect("a model");
        // The same place with every class in turn.
        let windows: Vec<_> = (0..CLASSES as i64).map(|class| window(&[3, 4, class], 2)).collect();
        let judged = model.judge(&windows).expect("judges");
        let sum: f64 = (0i64..)
            .zip(&judged)
            .map(|(class, j)| (f64::from(-j.nll[0])).exp() * if class == UNKNOWN { UNSEEN as f64 } else { 1.0 })
            .sum();
        assert!((sum - 1.0).abs() < 1e-4, "{sum}");
        let (class, p) = judged[0].top[0].expected[0];
        assert!(
            (f64::from(-judged[class as usize].nll[0]).exp() * if class == UNKNOWN { UNSEEN as f64 } else { 1.0 } - f64::from(p))
                .abs()
                < 1e-4
        );
    }

    #[test]
    fn a_loop_is_learned_and_what_breaks_it_is_surprising() {
        let mut teacher = Teacher::new(Lstm::new(SIZES, CLASSES, UNSEEN, 7).expect("a model"), 7).expect("a teacher");
        let turn = [3, 4, 5, 6].repeat(12);
        for _ in 0..150 {
            teacher.step(&[(window(&turn, 0), 1.0)], 0.01).expect("learns");
        }
        let mut broken = turn.clone();
        broken[30] = 7;
        let judged = teacher.model.judge(&[window(&turn, 8), window(&broken, 8)]).expect("judges");
        assert!(judged[0].nll.iter().all(|n| *n < 0.5), "{:?}", judged[0].nll);
        let worst = &judged[1].top[0];
        assert_eq!((worst.index, worst.expected[0].0), (22, turn[30]));
        assert!(judged[1].nll[22] > 3.0);
    }
}
