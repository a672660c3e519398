//! The LSTM, for inference: our own kernel.
//!
//! In: the weights' file, encoded windows. Out: surprisals. Never: learns; the reference that learns is in the crate `surprisal-learn`, and tests pin this to it.
//!
//! In 8 bits where the processor multiplies such in one instruction, else in f32: [`Kernel::fastest`].

use crate::detect::evidence::{CANDIDATES, EXPECTED};
use crate::detect::model::{Encoded, Judged, LanguageModel, ModelError, OWN, Position, Sizes};
use crate::detect::vocab::UNKNOWN;
use crate::profile::weights::{self, TensorData};
use std::num::NonZero;
use surprisal_lstm::{Answer, Ask, Model, Sequence, Weights};

pub use surprisal_lstm::Kernel;

/// Fewest windows for which another thread pays.
const WORTH: usize = 48;

/// A model that judges and does not learn.
#[derive(Debug)]
pub struct Fused {
    model: Model,
    ask: Ask,
    threads: NonZero<usize>,
}

impl Fused {
    /// From a weights' file; what it holds must be a model of these sizes. `unseen`: how many tokens share the unknown class.
    pub fn load(bytes: &[u8], sizes: Sizes, classes: usize, unseen: usize, kernel: Kernel) -> Result<Self, ModelError> {
        let failed = |e: &dyn std::error::Error| ModelError::Weights(e.to_string());
        let tensors = weights::read(bytes, sizes, classes).map_err(|e| failed(&e))?;
        let values = |name: &str| tensors.get(name).map_or(&[][..], |t: &TensorData| &t.values);
        let weights = Weights {
            classes,
            embedding_width: sizes.embedding as usize,
            hidden: sizes.hidden as usize,
            embedding: values("embedding"),
            weight_ih: values("weight_ih"),
            weight_hh: values("weight_hh"),
            bias_ih: values("bias_ih"),
            bias_hh: values("bias_hh"),
            head_weight: values("head_weight"),
            head_bias: values("head_bias"),
        };
        let ask = Ask {
            shared: (UNKNOWN as u16, (unseen.max(1) as f64).ln() as f32),
            places: CANDIDATES,
            from_nats: OWN,
            // More than are shown: the call itself, or a class without a name, may be among them.
            likeliest: EXPECTED + 2,
        };
        Ok(Self { model: Model::new(&weights, kernel).map_err(|e| failed(&e))?, ask, threads: NonZero::<usize>::MIN })
    }

    /// With so many cores for many windows.
    #[must_use]
    pub fn threads(mut self, threads: u16) -> Self {
        self.threads = NonZero::new(usize::from(threads)).unwrap_or(NonZero::<usize>::MIN);
        self
    }

    /// Which kernel computes.
    pub fn kernel(&self) -> Kernel {
        self.model.kernel()
    }

    /// Surprisals alone, without what was expected.
    pub fn surprisals(&self, windows: &[Encoded]) -> Vec<Vec<f32>> {
        let ask = Ask { places: 0, ..self.ask };
        self.answers(windows, &ask).into_iter().map(|a| a.nll).collect()
    }

    fn answers(&self, windows: &[Encoded], ask: &Ask) -> Vec<Answer> {
        let classes: Vec<u16> = windows.iter().flat_map(|w| w.inputs.iter().chain(&w.targets)).map(|c| *c as u16).collect();
        let mut rest = classes.as_slice();
        let mut next = |n| {
            let (first, others) = rest.split_at(n);
            rest = others;
            first
        };
        let sequences: Vec<_> = windows
            .iter()
            .map(|w| Sequence { inputs: next(w.inputs.len()), targets: next(w.targets.len()), scored_from: w.scored_from })
            .collect();
        let threads = self.threads.get().min(windows.len() / WORTH);
        if threads < 2 {
            return self.model.judge(&sequences, ask);
        }
        // Scoped: whoever waits for the answers lends the windows.
        std::thread::scope(|scope| {
            let part = |part| scope.spawn(move || self.model.judge(part, ask));
            let parts: Vec<_> = sequences.chunks(windows.len().div_ceil(threads)).map(part).collect();
            let join = |part: std::thread::ScopedJoinHandle<'_, Vec<Answer>>| {
                part.join().unwrap_or_else(|e| std::panic::resume_unwind(e))
            };
            parts.into_iter().flat_map(join).collect()
        })
    }
}

impl LanguageModel for Fused {
    fn judge(&self, windows: &[Encoded]) -> Result<Vec<Judged>, ModelError> {
        let judged = |answer: Answer| Judged {
            nll: answer.nll,
            top: answer
                .places
                .into_iter()
                .map(|p| Position {
                    index: p.index,
                    expected: p.expected.into_iter().map(|(class, p)| (i64::from(class), p)).collect(),
                })
                .collect(),
        };
        Ok(self.answers(windows, &self.ask).into_iter().map(judged).collect())
    }
}
