//! A model that is ready to judge.
//!
//! In: weights and a kernel, once; then sequences of any lengths, in any order. Out: answers, in the order of the
//! sequences. Never: an answer that depends on the other sequences of a batch.

use crate::{
    kernel::{Kernel, Ready},
    sequence::{Answer, Ask, Sequence},
    weights::{Weights, WeightsError},
};

/// Sequences computed side by side: enough to fill blocks, few enough that their states stay in the nearest caches.
const GROUP: usize = 24;

/// A model.
#[derive(Debug)]
pub struct Model {
    ready: Ready,
    classes: usize,
    kernel: Kernel,
}

impl Model {
    /// Lays the weights out for a kernel. A kernel that this processor lacks is replaced by [`Kernel::portable`].
    pub fn new(weights: &Weights<'_>, kernel: Kernel) -> Result<Self, WeightsError> {
        weights.check()?;
        let kernel = if kernel.is_available() { kernel } else { kernel.portable() };
        Ok(Self { ready: Ready::new(weights, kernel), classes: weights.classes, kernel })
    }

    /// Which kernel computes.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Bytes of memory that its weights take.
    pub fn bytes(&self) -> usize {
        self.ready.bytes()
    }

    /// Judges sequences; one answer for each, in order. A class that the model does not have is taken for class 0.
    pub fn judge(&self, sequences: &[Sequence<'_>], ask: &Ask) -> Vec<Answer> {
        let known = |classes: &[u16]| classes.iter().all(|c| usize::from(*c) < self.classes);
        // Classes come from this model's vocabulary; others must not index outside a table.
        let tamed: Vec<Option<(Vec<u16>, Vec<u16>)>> = sequences
            .iter()
            .map(|s| {
                let tame = |v: &[u16]| v.iter().map(|c| if usize::from(*c) < self.classes { *c } else { 0 }).collect();
                (!known(s.inputs) || !known(s.targets)).then(|| (tame(s.inputs), tame(s.targets)))
            })
            .collect();
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_by_key(|i| std::cmp::Reverse(sequences[*i].len()));
        let mut answers = vec![Answer::default(); sequences.len()];
        let mut said = Vec::with_capacity(GROUP);
        for part in order.chunks(GROUP) {
            let group: Vec<Sequence<'_>> = part
                .iter()
                .map(|i| match &tamed[*i] {
                    Some((inputs, targets)) => Sequence { inputs, targets, ..sequences[*i] },
                    None => sequences[*i],
                })
                .collect();
            said.clear();
            self.ready.run(&group, ask, &mut said);
            for (i, answer) in part.iter().zip(said.drain(..)) {
                answers[*i] = answer;
            }
        }
        answers
    }
}
