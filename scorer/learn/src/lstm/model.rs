//! The model: weights, and what they say of windows.
//!
//! In: encoded windows, or a weights' file. Out: surprisals, and at the most surprising calls what was expected. Never: learns.

use crate::lstm::batch::{Batch, floats, ints};
use crate::lstm::failed::Failed;
use std::collections::BTreeMap;
use surprisal_scorer::detect::evidence::{CANDIDATES, EXPECTED};
use surprisal_scorer::detect::model::{Encoded, Judged, LONGEST, LanguageModel, ModelError, OWN, Position, Sizes};
use surprisal_scorer::detect::vocab::UNKNOWN;
use surprisal_scorer::profile::weights::{self, TensorData};
use tch::{Device, Kind, TchError, Tensor, nn};

/// Windows computed at once; more gains nothing on a CPU and costs memory.
const BATCH: usize = 128;
/// A window is padded to the next of these lengths at most, so that short ones stay cheap.
const LENGTHS: [usize; 4] = [16, 32, 48, LONGEST];

/// How many cores one operation may use.
pub fn set_threads(threads: u16) {
    tch::set_num_threads(i32::from(threads.max(1)));
}

/// "cuda" when libtorch has one, else "cpu".
pub fn device() -> &'static str {
    if Device::cuda_if_available().is_cuda() { "cuda" } else { "cpu" }
}

/// What is hidden of each window of a batch, \[windows, 1, width\]: 0, or else what makes up for it.
pub(super) struct Masks {
    pub(super) embedded: Tensor,
    pub(super) hidden: Tensor,
}

/// The model.
#[derive(Debug)]
pub struct Lstm {
    pub(super) vs: nn::VarStore,
    pub(super) embedding: Tensor,
    layer: [Tensor; 4],
    head: [Tensor; 2],
    pub(super) hidden: i64,
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
    pub(super) fn nll(&self, batch: &Batch, hide: Option<&Masks>) -> Result<(Tensor, Tensor, Tensor), TchError> {
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
